"""The static check for TensorRT: sound graphs pass, and each broken one is found by its own rule."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze.errors import MissingBackend, UsageError
from squeeze.graphs.readiness import RULES, Readiness, examine, inspect
from squeeze.graphs.readiness.facts import OPERATORS, REFUSED
from squeeze.graphs.readiness.view import called
from tests import tiny_onnx
from tests.graphs.qdq import HIDDEN, Sketch, int4, matrix, pair, save, sound, to_int8, widened


def rules(found: Readiness, *severities: str) -> set[str]:
    return {issue.rule for issue in found.issues if issue.severity in (severities or ("error", "warning"))}


def test_a_quantized_graph_as_tensorrt_likes_it_is_ready(tmp_path):
    path = save(sound(), tmp_path / "model.onnx")
    onnx.checker.check_model(str(path), full_check=True)  # the graph itself is sound ONNX
    found = examine(path)
    assert found.ready
    assert rules(found) == set()
    assert (found.precision, found.opset, found.ir_version) == ("int8", 21, 10)
    assert [(i.severity, i.rule, i.node) for i in found.issues] == [("note", "dynamic", "x")]
    assert "0 (batch)" in found.issues[0].what


def test_a_float_graph_is_ready(tmp_path):
    found = examine(tiny_onnx.classifier(tmp_path / "model.onnx"))
    assert found.ready
    assert found.precision == "fp32"
    assert rules(found) == set()


def test_a_half_graph_is_ready():
    s = Sketch()
    x = s.enter(kind=ir.DataType.FLOAT16)
    w = s.weight("w", matrix().astype(np.float16))
    found = inspect(s.leave(s.node("MatMul", x, w, to=ir.DataType.FLOAT16)))
    assert found.precision == "fp16"
    assert rules(found) == set()


def test_int4_weights_in_blocks_are_ready():
    found = inspect(int4())
    assert found.precision == "int4"
    assert rules(found) == set()


def product(change):
    """A graph of one product whose parts the change makes."""
    s = Sketch()
    return s.leave(change(s, s.enter()))


def plain(s, x):
    return s.node("MatMul", x, s.weight("w", matrix()))


BROKEN = {
    "zero-point": lambda s, x: s.node("MatMul", pair(s, x, zero=np.int8(3)), widened(s, matrix())),
    "quantized-type": lambda s, x: s.node(
        "MatMul", pair(s, x, zero=np.uint8(0), to=ir.DataType.UINT8), widened(s, matrix())
    ),
    "constant-scale": lambda s, x: s.node(
        "MatMul",
        s.node(
            "DequantizeLinear",
            s.node(
                "QuantizeLinear", x, low := s.node("ReduceMax", x), None, output_dtype=3, to=ir.DataType.INT8
            ),
            low,
        ),
        widened(s, matrix()),
    ),
    "scale": lambda s, x: s.node(
        "MatMul", pair(s, x), widened(s, matrix(), scale=np.zeros(HIDDEN, np.float32))
    ),
    "activation-scale": lambda s, x: s.node(
        "MatMul",
        pair(s, x, scale=np.ones(HIDDEN, np.float32), zero=np.zeros(HIDDEN, np.int8), axis=1),
        widened(s, matrix()),
    ),
    "weight-axis": lambda s, x: s.node("MatMul", pair(s, x), widened(s, matrix(), axis=0)),
    "dequantized": lambda s, x: s.node(
        "DequantizeLinear",
        s.node(
            "Gather",
            s.weight("table", to_int8(matrix())[0]),
            s.node("Cast", x, to=ir.DataType.INT64),
            to=ir.DataType.INT8,
        ),
        s.weight("table.scale", np.float32(1)),
    ),
    "pair": lambda s, x: s.node(
        "Relu",
        s.node(
            "QuantizeLinear", x, s.weight("q", np.float32(1)), s.weight("z", np.int8(0)), to=ir.DataType.INT8
        ),
    ),
    "bias": lambda s, x: s.node(
        "Gemm",
        pair(s, x),
        widened(s, matrix()),
        s.node("DequantizeLinear", s.weight("b", np.ones(HIDDEN, np.int32)), s.weight("b.s", np.float32(1))),
    ),
    "domain": lambda s, x: s.node("MatMulNBits", x, s.weight("w", matrix()), domain="com.microsoft"),
    "operator": lambda s, x: s.node("DynamicQuantizeLinear", x, outputs=3),
    "constant-input": lambda s, x: s.node("ReduceMean", x, s.node("Shape", x, to=ir.DataType.INT64)),
    "attribute": lambda s, x: s.node("TopK", x, s.weight("k", np.array([1])), outputs=2, sorted=0),
    "mixed-types": lambda s, x: s.node("Add", x, s.weight("h", np.ones(HIDDEN, np.float16))),
    "type": lambda s, x: s.node("Gather", s.weight("codes", np.zeros((4, 2), np.uint8)), x),
    "before-function": lambda s, x: s.node("Softmax", pair(s, x)),
    "residual": lambda s, x: s.node("Add", x, pair(s, x)),
    "moved": lambda s, x: s.node(
        "MatMul", s.node("Transpose", pair(s, x), perm=[1, 0]), widened(s, matrix())
    ),
    "product-output": lambda s, x: s.node("Mul", pair(s, plain(s, x)), x),
    "half-quantized": lambda s, x: s.node("MatMul", x, widened(s, matrix())),
    "small": lambda s, x: s.node("MatMul", pair(s, x), widened(s, matrix(columns=3))),
    "unfolded": lambda s, x: s.node("MatMul", pair(s, x), pair(s, s.weight("w", matrix()), name="w")),
}
SLOWER = {"before-function", "residual", "moved", "product-output", "half-quantized", "small", "unfolded"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_graph_is_found_by_its_own_rule(rule):
    found = inspect(product(BROKEN[rule]))
    severity = "warning" if rule in SLOWER else "error"
    assert rule in rules(found, severity)
    assert found.ready is (rule in SLOWER)
    (issue, *_) = [each for each in found.issues if each.rule == rule]
    assert issue.what
    assert issue.limit
    assert issue.node


@pytest.mark.parametrize("rule", sorted({*BROKEN} - {"dequantized", "constant-scale"}))
def test_no_other_rule_speaks_where_one_thing_is_wrong(rule):
    """So that a reader sees one line a fault; what comes along by nature is listed."""
    along = {
        "operator": {"type"},  # its output is uint8 by definition where the file says so
        "pair": set(),
        "weight-axis": set(),
        "moved": set(),
        "product-output": set(),
    }
    assert rules(inspect(product(BROKEN[rule]))) - along.get(rule, set()) == {rule}


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"block": 32}, "warning"),
        ({"scales": (1, HIDDEN)}, "error"),
        ({"kind": np.int8}, "error"),
        ({"rows": 100}, "error"),
    ],
)
def test_blocks_that_tensorrt_does_not_take(change, severity):
    found = inspect(int4(**change))
    assert ("block", severity) in {(issue.rule, issue.severity) for issue in found.issues}


def test_scales_that_do_not_fit_their_axis():
    found = inspect(
        product(
            lambda s, x: s.node("MatMul", pair(s, x), widened(s, matrix(columns=48), axis=1, given_axis=0))
        )
    )
    (issue,) = [each for each in found.issues if each.rule == "weight-axis"]
    assert "48 scales for axis 0" in issue.what


@pytest.mark.parametrize(
    ("build", "axis", "ready"),
    [
        (lambda s, x, w: s.node("Gemm", x, w, transB=1), 0, True),
        (lambda s, x, w: s.node("Gemm", x, w, transB=1), 1, False),
        (lambda s, x, w: s.node("Gemm", x, w), 1, True),
        (lambda s, x, w: s.node("Gemm", x, w), 0, False),
        (lambda s, x, w: s.node("MatMul", x, s.node("Transpose", w, perm=[1, 0])), 0, True),
        (lambda s, x, w: s.node("MatMul", x, s.node("Transpose", w, perm=[1, 0])), 1, False),
        (lambda s, x, w: s.node("MatMul", w, x), 0, True),
        (lambda s, x, w: s.node("MatMul", w, x), 1, False),
    ],
)
def test_the_axis_of_the_outputs_is_known_for_every_form_of_product(build, axis, ready):
    found = inspect(product(lambda s, x: build(s, pair(s, x), widened(s, matrix(), axis=axis))))
    assert found.ready is ready
    assert ("weight-axis" in rules(found)) is not ready


@pytest.mark.parametrize(
    ("opset", "severity"), [(8, "error"), (9, None), (20, None), (24, None), (25, "warning"), (26, "error")]
)
def test_operator_sets(opset, severity):
    s = Sketch(opset)
    found = inspect(s.leave(plain(s, s.enter())))
    assert {i.severity for i in found.issues if i.rule == "opset"} == ({severity} if severity else set())


def test_a_new_file_format_is_a_warning():
    model = sound()
    model.ir_version = 13
    assert rules(inspect(model), "warning") == {"ir-version"}


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (ir.DataType.DOUBLE, "warning"),
        (ir.DataType.UINT8, "warning"),
        (ir.DataType.BFLOAT16, "warning"),
        (ir.DataType.INT8, "error"),
        (ir.DataType.INT16, "error"),
        (ir.DataType.STRING, "error"),
        (ir.DataType.INT64, None),
        (ir.DataType.FLOAT16, None),
    ],
)
def test_types_of_inputs(kind, severity):
    s = Sketch()
    found = inspect(s.leave(s.node("Cast", s.enter(kind=kind), to=ir.DataType.FLOAT)))
    assert {i.severity for i in found.issues if i.rule == "type"} == ({severity} if severity else set())


def test_an_input_without_axes():
    s = Sketch()
    assert "shape" in rules(inspect(s.leave(plain(s, s.enter(shape=None)))), "error")


def test_only_the_first_output_of_a_norm():
    s = Sketch()
    y = s.node("LayerNormalization", s.enter(), s.weight("g", np.ones(HIDDEN, np.float32)), outputs=3)
    assert rules(inspect(s.leave(y))) == set()
    producer = y.producer()
    assert producer is not None
    s.graph.outputs.append(producer.outputs[1])
    assert rules(inspect(ir.Model(s.graph, ir_version=10))) == {"output"}


def test_weights_in_another_file(tmp_path):
    path = tmp_path / "model.onnx"
    ir.save(sound(), path, external_data="model.onnx.data", size_threshold_bytes=0)
    found = examine(path)
    assert found.ready
    assert "external-data" in rules(found, "note")
    (tmp_path / "model.onnx.data").write_bytes(b"")
    lost = examine(path)
    assert not lost.ready
    assert "external-data" in rules(lost, "error")
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(MissingBackend, match=r"its weights lie in model\.onnx\.data, which is not there"):
        examine(path)


def test_a_graph_that_reads_what_nobody_makes_is_refused(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    ir.save(sound(), path)
    model = onnx.load(path)
    model.graph.node[0].input[0] = "a\n::error::x"
    onnx.save(model, path)
    with pytest.raises(UsageError, match="not a valid ONNX model \\(Input ") as caught:
        examine(path)
    assert "\n" not in caught.value.message
    assert capsys.readouterr().err == ""


def test_a_file_without_a_graph_is_no_model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(
        b"\x80\x02." * 9
    )  # a pickle, which protobuf takes for unknown fields
    with pytest.raises(UsageError, match=r"not a valid ONNX model \(it holds no graph\)"):
        examine(tmp_path / "model.onnx")


def test_a_node_without_a_name_and_outputs_is_called_something():
    assert called(ir.Node("", "Relu", [], num_outputs=0)) == "Relu -> nothing"


def test_functions_of_the_model_are_looked_into_and_not_taken_for_foreign():
    s = Sketch()
    x = s.enter()
    inner = ir.val("inner")
    body = ir.node("Det", [inner])
    function = ir.Function(
        "own",
        "Fn",
        graph=ir.Graph([inner], body.outputs, nodes=[body], opset_imports={"": 21}),
        attributes=[],
    )
    model = s.leave(s.node("Fn", x, domain="own"))
    model.functions[function.identifier()] = function
    assert rules(inspect(model)) == {"operator"}


def test_what_is_refused_is_not_supported():
    assert set(REFUSED) & OPERATORS == set()
    legacy = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # taken out of ONNX long ago, still parsed
    assert {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain} | legacy >= OPERATORS


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 64])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"model\.onnx"):
        examine(path)


def test_checking_changes_nothing(tmp_path):
    path = save(sound(), tmp_path / "model.onnx")
    model = ir.load(path)
    before = ir.to_proto(model).SerializeToString()
    for rule in RULES:
        list(rule(model))
    assert ir.to_proto(model).SerializeToString() == before


def test_result_is_plain_json():
    found = inspect(product(BROKEN["domain"]))
    assert Readiness.parse(json.loads(json.dumps(found.plain()))) == found


def test_int4_is_a_type_of_weights_only():
    assert np.dtype(ml_dtypes.int4).itemsize == 1  # one a byte in memory, two a byte in the file
    s = Sketch()
    found = inspect(s.leave(pair(s, s.enter(), zero=np.zeros((), ml_dtypes.uint4), to=ir.DataType.UINT4)))
    assert "quantized-type" in rules(found, "error")
