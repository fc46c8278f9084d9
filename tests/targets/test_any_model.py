"""Models that nobody described, in the real process: pictures, states, defaults, types without numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze.cli import main
from squeeze.errors import StageFailed
from squeeze.targets.process import ask
from tests import tiny_onnx as tiny
from tests.targets import hostile
from tests.targets.test_cpu import request

FLOAT, INT64, UINT8, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL


def info(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def started(path, **more):
    return ask(request(path, models=[{"path": str(path), "bound": None}], **more), 60)


def test_an_input_with_a_default_is_left_out(tmp_path):
    default = numpy_helper.from_array(np.ones(3, dtype=np.float32), "w")
    inputs = [info("x", FLOAT, "n", 3), info("w", FLOAT, 3)]
    path = hostile.model(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], inputs, [default])
    assert list(started(path)["inputs"]) == ["x"]


def test_bytes_of_a_picture_with_colours_last(tmp_path):
    """Cast, turn, and a product that only three colours fit."""
    kernel = numpy_helper.from_array(np.ones((2, 3, 3, 3), dtype=np.float32), "k")
    nodes = [
        helper.make_node("Cast", ["picture"], ["f"], to=FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "k"], ["y"]),
    ]
    path = hostile.model(
        tmp_path / "m.onnx", nodes, [info("picture", UINT8, "N", "height", "width", "channels")], [kernel]
    )
    assert started(path)["first_ms"] > 0


def test_a_recurrent_model_with_its_state_and_a_flag(tmp_path):
    nodes = [
        helper.make_node("Shape", ["h0"], ["s"]),
        helper.make_node("Expand", ["sum", "s"], ["wide"]),
        helper.make_node("Add", ["h0", "wide"], ["added"]),
        helper.make_node("Where", ["on", "added", "h0"], ["y"]),
    ]
    nodes.insert(0, helper.make_node("ReduceSum", ["x"], ["all"], keepdims=0))
    nodes.insert(1, helper.make_node("Cast", ["sr"], ["rate"], to=FLOAT))
    nodes.insert(2, helper.make_node("Div", ["all", "rate"], ["sum"]))
    inputs = [
        info("x", FLOAT, "batch", "samples"),
        info("h0", FLOAT, 2, "batch", 4),
        info("sr", INT64),
        info("on", BOOL),
    ]
    assert started(hostile.model(tmp_path / "m.onnx", nodes, inputs))["first_ms"] > 0


@pytest.mark.parametrize("kind", ["strings", "sequence", "optional"])
def test_a_type_that_cannot_be_made_up_is_one_line(tmp_path, kind):
    path = tmp_path / "m.onnx"
    if kind == "strings":
        tiny.strings(path)
    else:
        inner = helper.make_tensor_type_proto(FLOAT, ["n"])
        types = {"sequence": helper.make_sequence_type_proto, "optional": helper.make_optional_type_proto}
        taken = [helper.make_value_info("x", types[kind](inner))]
        node = {
            "sequence": helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0),
            "optional": helper.make_node("OptionalGetElement", ["x"], ["y"]),
        }[kind]
        hostile.model(path, [node], taken)
    with pytest.raises(StageFailed, match="only numbers can be made up, in tensors") as caught:
        started(path)
    assert "\n" not in caught.value.message


def wanting(path, size):
    """A model that declares any width and takes one."""
    fixed = numpy_helper.from_array(np.ones((size, 2), dtype=np.float32), "w")
    inputs = [info("features", FLOAT, "batch", "width_of_features")]
    return hostile.model(path, [helper.make_node("MatMul", ["features", "w"], ["y"])], inputs, [fixed])


def test_the_line_has_the_option_and_with_it_the_model_runs(tmp_path, capsys):
    path = wanting(tmp_path / "m.onnx", 77)
    quick = ("--min-runs", "10", "--seconds", "0")
    assert main(["bench", str(path), *quick]) == 4
    printed = capsys.readouterr().err
    assert "cannot be run by ONNX Runtime" in printed
    assert "--shape features=1x128" in printed
    assert main(["bench", str(path), *quick, "--shape", "features=1x77"]) == 0
