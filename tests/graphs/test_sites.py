"""Every product of an exported student is found under its module's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze.errors import StageFailed
from squeeze.graphs import lean, sites
from squeeze.models.encoder import Encoder
from tests import tiny

NAMES = ("dense", "one layer", "many layers", "factorised", "product", "mpnet")


def expected(student: Encoder) -> list[str]:
    """Names in the order of the computation."""
    *whole, last = range(len(student.layers))
    found = ["embedding.project"] if hasattr(student.embedding, "project") else []
    found += ["embedding_projection"] if student.embedding_projection is not None else []
    for layer in whole:
        found += [f"layers.{layer}.{name}" for name in ("qkv", "out", "up", "down")]
    found += [f"layers.{last}.{name}" for name in ("query", "pair", "out", "up", "down")]
    return [*found, "head.dense", "head.output"]


def weights(student: Encoder, site: str) -> Any:
    """(inputs, outputs) weights of a site, from the student itself; the score scale is in the queries."""
    parent, _, name = site.rpartition(".")
    if name not in ("qkv", "query", "pair"):
        return student.get_parameter(f"{site}.weight").detach().numpy().T
    layer: Any = student.get_submodule(parent)
    width = layer.heads * layer.head_size
    whole = layer.qkv.weight.detach().numpy().T.copy()
    whole[:, :width] *= layer.scale
    return {"qkv": whole, "query": whole[:, :width], "pair": whole[:, width:]}[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_product_has_its_modules_name_and_weights(name, exported):
    student, path = exported(name)
    model = ir.load(path)
    found = sites.products(model)
    assert sorted(found) == sorted(expected(student))
    for site, node in found.items():
        assert (node.name, getattr(node.inputs[1], "name", None)) == (site, f"{site}.weight")
        np.testing.assert_allclose(sites.matrix(node), weights(student, site), rtol=1e-6)
    large = [site for site in found if min(sites.matrix(found[site]).shape) >= 16]
    assert list(sites.wide(model)) == large
    assert list(sites.wide(model, keep=("head.dense",))) == [site for site in large if site != "head.dense"]


def test_equal_weights_are_still_sites_of_their_own(tmp_path):
    student = tiny.encoder()
    for layer in student.layers:
        layer.load_state_dict(student.layers[0].state_dict())
    lean.export(student, tmp_path / "model.onnx", 20)
    model = ir.load(tmp_path / "model.onnx")
    assert sorted(sites.products(model)) == sorted(expected(student))
    assert len(set(sites.outputs(model).values())) == len(expected(student))


def test_the_output_of_a_site_has_its_bias(exported):
    model = ir.load(exported("dense")[1])
    made = {value.name: node for node in model.graph for value in node.outputs}
    kinds = {site: made[name].op_type for site, name in sites.outputs(model).items()}
    assert kinds["layers.0.up"] == "Add"
    assert kinds["layers.2.up"] == "Gemm"
    assert sites.outputs(model)["head.output"] == "logits"


def foreign(path: Path, **gemm: Any) -> ir.Model:
    """Two MatMul of one name, a Gemm, and a product of two values."""
    x = ir.val("x", shape=ir.Shape([2, 20]), type=ir.TensorType(ir.DataType.FLOAT))
    square = np.eye(20, dtype=np.float32)
    held = [ir.val(n, const_value=ir.tensor(square + k, name=n)) for k, n in enumerate("abc")]
    first = ir.node("MatMul", [x, held[0]], name="second")
    second = ir.node("MatMul", [first.outputs[0], held[1]], name="second")
    second.outputs[0].name = "middle"
    third = ir.node("Gemm", [second.outputs[0], held[2]], gemm, name="third")
    dynamic = ir.node("MatMul", [third.outputs[0], third.outputs[0]], name="dynamic")
    nodes = [first, second, third, dynamic]
    graph = ir.Graph([x], dynamic.outputs, nodes=nodes, initializers=held, opset_imports={"": 20}, name="g")
    return ir.Model(graph, ir_version=10)


def test_a_graph_of_other_origin_keeps_its_own_names(tmp_path):
    assert list(sites.products(foreign(tmp_path))) == ["second", "middle", "third"]
    assert list(sites.products(foreign(tmp_path, alpha=2.0))) == ["second", "middle"]
    assert list(sites.products(foreign(tmp_path, transA=1))) == ["second", "middle"]


def test_a_site_that_is_not_there_cannot_be_kept(tmp_path):
    with pytest.raises(StageFailed, match=r"no product layers\.9\.up") as caught:
        sites.wide(foreign(tmp_path), keep=("layers.9.up", "third"))
    assert "second, middle, third" in caught.value.hint
