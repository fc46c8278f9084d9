"""A restructuring changes names and no number."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tools import golden

RECORD: dict[str, Any] = {
    "cpu_capability": "AVX2",
    "torch": "2.13.0+cpu",
    "student": "a",
    "graphs": {"fp32": "b"},
    "logits": {"fp32": [[0.5, -1.0]]},
}


def graph(suffix: str = "", *, weight: float = 1.0, axis: int = 1, swap: bool = False) -> onnx.ModelProto:
    """Two layers whose inner names end with the suffix; the layers' weights may change places."""
    names = [f"w{suffix}", f"v{suffix}"]
    weights = [np.eye(2, dtype=np.float32) * weight, np.full((2, 2), 2, np.float32)]
    nodes = [
        helper.make_node("MatMul", ["x", names[swap]], [f"h{suffix}"], f"first{suffix}"),
        helper.make_node("MatMul", [f"h{suffix}", names[not swap]], [f"g{suffix}"], f"second{suffix}"),
        helper.make_node("Softmax", [f"g{suffix}"], ["y"], axis=axis),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(*pair) for pair in zip(weights, names, strict=True)]
    body = helper.make_graph(
        nodes, f"graph{suffix}", ends[:1], ends[1:], initializers[:: 1 if suffix else -1]
    )
    return helper.make_model(body, producer_name=suffix, opset_imports=[helper.make_opsetid("", 20)])


def test_names_and_the_order_of_initializers_are_no_part_of_a_graph():
    assert golden.digest_graph(graph()) == golden.digest_graph(graph("_other"))


@pytest.mark.parametrize("change", [{"weight": 1.0001}, {"axis": 0}, {"swap": True}])
def test_what_a_graph_computes_is_part_of_it(change):
    assert golden.digest_graph(graph(**change)) != golden.digest_graph(graph())


def test_the_names_that_callers_use_are_part_of_a_graph():
    other = graph()
    other.graph.input[0].name = other.graph.node[0].input[0] = "ids"
    assert golden.digest_graph(other) != golden.digest_graph(graph())


@pytest.mark.parametrize(
    "other",
    [np.array([1, 3], np.float32), np.array([1, 2], np.float64), np.array([[1, 2]], np.float32)],
    ids=["a value", "the type", "the shape"],
)
def test_what_a_tensor_holds_is_part_of_it(other):
    one = {"a": np.array([1, 2], np.float32), "b": np.array([0], np.float32)}
    assert golden.digest_tensors({"b": one["a"], "a": one["b"]}) == golden.digest_tensors(one)
    assert golden.digest_tensors({**one, "a": other}) != golden.digest_tensors(one)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("student", "other", ["student: other tensors"]),
        ("graphs", {"fp32": "other"}, ["fp32: another graph"]),
        ("graphs", {}, ["graphs: [], recorded were ['fp32']"]),
        ("logits", {"fp32": [[9.0, 9.0]]}, []),  # of one student and one graph: rounding in the runtime
    ],
)
def test_digests_are_compared_where_the_instructions_are_the_same(key, value, said):
    assert golden.compare(RECORD, RECORD) == []
    assert golden.compare(RECORD, {**RECORD, key: value}) == said


def test_logits_are_compared_elsewhere():
    other = copy.deepcopy(
        {**RECORD, "cpu_capability": "NO AVX", "student": "other", "graphs": {"fp32": "other"}}
    )
    assert golden.compare(RECORD, other) == []
    other["logits"]["fp32"][0][1] = -1.001
    assert golden.compare(RECORD, other) == ["fp32: logits differ by 0.001"]
    other["logits"]["fp32"][0][1] = float("nan")
    assert golden.compare(RECORD, other) == ["fp32: logits differ by nan"]


@pytest.mark.timeout(900)
def test_the_smallest_run_computes_what_was_recorded(smoke_run: Path):
    recorded = json.loads(golden.path_of("smoke").read_text(encoding="utf-8"))
    assert golden.compare(recorded, golden.fingerprint(smoke_run)) == []
