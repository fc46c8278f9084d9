"""What nodes cost, counted by hand, and the nodes that a model really runs."""

from __future__ import annotations

import pytest

from squeeze.errors import StageFailed, UsageError
from squeeze.estimates.trace import Node, Value, read, trace
from squeeze.estimates.work import KINDS, OPERATORS, Part, parts, unknown
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny


def node(operator, *shapes, kind="float"):
    """A node whose last shape is its output."""
    values = tuple(Value(kind, shape) for shape in shapes)
    return Node(operator, values[:-1], values[-1:])


def test_a_product_with_weights():
    found = parts(node("MatMul", (1, 5, 8), (8, 16), (1, 5, 16)))
    assert found == (Part("product", work=2 * 5 * 8 * 16, bytes=4 * (5 * 8 + 8 * 16 + 5 * 16)),)


def test_a_product_of_two_activations_counts_every_head():
    found = parts(node("MatMul", (1, 2, 5, 32), (1, 2, 32, 5), (1, 2, 5, 5)))
    assert found == (Part("attention", 2 * 2 * 5 * 32 * 5, 4 * (2 * 2 * 5 * 32 + 2 * 25)),)


def test_a_transposed_left_side():
    assert parts(node("FusedMatMul", (1, 32, 5), (1, 32, 7), (1, 5, 7)))[0].work == 2 * 5 * 32 * 7


def test_a_product_that_quantizes_what_it_reads():
    inputs = (Value("float", (1, 5, 8)), Value("int8", (8, 16)), Value("float", (16,)))
    found = parts(Node("DynamicQuantizeMatMul", inputs, (Value("float", (1, 5, 16)),)))
    assert found == (
        Part("int8-dynamic", 2 * 5 * 8 * 16, 5 * 8 + 8 * 16 + 4 * 16 + 4 * 5 * 16),
        Part("quantize", 0.0, 4 * 5 * 8 + 5 * 8, nodes=0),
    )


def test_a_static_product():
    inputs = (Value("uint8", (5, 8)), Value("int8", (8, 16)))
    (found,) = parts(Node("MatMulIntegerToFloat", inputs, (Value("float", (5, 16)),)))
    assert (found.kind, found.work, found.bytes) == ("int8-static", 2 * 5 * 8 * 16, 40 + 128 + 320)


def test_a_look_up_reads_its_rows_alone():
    table, ids, rows = Value("int8", (30_000, 64)), Value("int64", (1, 5)), Value("int8", (1, 5, 64))
    assert parts(Node("Gather", (table, ids), (rows,))) == (Part("gather", 0.0, 2 * 5 * 64),)


def test_a_new_name_costs_no_bytes():
    assert parts(node("Reshape", (1, 5, 64), (1, 5, 2, 32))) == (Part("free", 0.0, 0.0),)


def test_an_unknown_operator_is_counted_by_bytes_and_named():
    strange = node("FlashThing", (4, 4), (4, 4))
    assert parts(strange) == (Part("other", 0.0, 4 * 32),)
    assert unknown([strange, node("Add", (1,), (1,))]) == ("FlashThing",)


def test_each_operator_is_of_one_kind():
    names = [name for text in OPERATORS.values() for name in text.split()]
    assert len(names) == len(set(names))
    assert set(OPERATORS) <= set(KINDS)


def test_the_nodes_of_a_model_have_the_shapes_of_the_call(tmp_path):
    (subject,) = find(tiny.classifier(tmp_path / "m.onnx", hidden=8, layers=2))
    found = trace(subject, (6, 9), 1, {})
    assert list(found) == [6, 9]
    for length, nodes in found.items():
        products = [each for each in nodes if each.operator == "MatMul"]
        assert [each.inputs[1].shape for each in products[:2]] == [(8, 8)] * 2
        assert products[0].outputs[0].shape == (1, length, 8)
    assert not unknown(found[6])


def test_batches_and_whole_shapes(tmp_path):
    (subject,) = find(tiny.classifier(tmp_path / "m.onnx", hidden=8, layers=1))
    (nodes,) = trace(subject, (7,), 3, {}).values()
    assert next(each for each in nodes if each.operator == "MatMul").outputs[0].shape == (3, 7, 8)
    (vision,) = find(tiny.vision(tmp_path / "v.onnx"))
    (nodes,) = trace(vision, (128,), 1, {"pixels": (2, 3, 4, 4)}).values()
    assert nodes[0].outputs[0].numbers == 2 * 3 * 4 * 4


def test_what_is_no_model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError):
        trace(find(path)[0], (8,), 1, {})


@pytest.mark.parametrize("events", [[], [{"cat": "Session", "name": "model_run"}]])
def test_a_profile_without_nodes(events):
    with pytest.raises(StageFailed, match="listed no node"):
        read(events, "m")


def test_a_profile_that_cannot_be_read():
    with pytest.raises(StageFailed, match="cannot be read"):
        read([{"cat": "Node", "ts": 0, "args": {"op_name": "Add", "input_type_shape": 3}}], "m")
