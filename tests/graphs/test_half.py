"""fp16 by casting the graph: same inputs and outputs, nothing infinite, and close to what it was."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from squeeze.errors import StageFailed
from squeeze.graphs.half import LARGEST, NORMS, convert, to_half
from squeeze.graphs.readiness import inspect
from squeeze.models.encoder import MASKED
from tests import tiny_onnx
from tests.graphs.qdq import HIDDEN, Sketch, matrix, save, sound


def run(path, feed):
    """As the graph is written: ONNX Runtime's own int8 kernels may saturate."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, feed)[0]


def rows(count=4):
    return np.random.default_rng(1).standard_normal((count, HIDDEN)).astype(np.float32)


def stored(model):
    """Constants by name."""
    found = ((name, value.const_value) for name, value in model.graph.initializers.items())
    return {name: tensor.numpy() for name, tensor in found if tensor is not None}


def attention(scale=1.0, mask=MASKED):
    """A block as our encoders have it: product, mask, softmax, residual, norm."""
    s = Sketch(20)
    x = s.enter()
    scores = s.node("MatMul", x, s.weight("w", matrix() * scale))
    open_ = s.node(
        "Mul",
        s.node("Sub", s.weight("one", np.float32(1)), s.weight("m", np.float32(0))),
        s.weight("masked", np.float32(mask)),
    )
    y = s.node("Softmax", s.node("Add", scores, open_), axis=-1)
    y = s.node("Sum", x, y)
    y = s.node("LayerNormalization", y, s.weight("gamma", np.ones(HIDDEN, np.float32)), epsilon=1e-12)
    return s.leave(s.node("Gelu", y))


@pytest.mark.parametrize("keep", [(), NORMS])
def test_close_to_what_it_was(tmp_path, keep):
    before, after = save(attention(), tmp_path / "model.onnx"), tmp_path / "half.onnx"
    done = convert(before, after, keep=keep)
    onnx.checker.check_model(str(after), full_check=True)
    assert done.kept == (2 if keep else 0)
    assert done.lost == ()
    wide, half = run(before, {"x": rows()}), run(after, {"x": rows()})
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, wide, atol=5e-3)
    assert (half != wide).any()  # it was computed in half precision
    found = inspect(ir.load(after))
    assert (found.ready, found.precision) == (True, "fp16")


def test_what_is_kept_is_computed_in_fp32(tmp_path):
    s = Sketch(20)
    y = s.node("LayerNormalization", s.enter(), s.weight("gamma", np.ones(HIDDEN, np.float32)))
    before, after = save(s.leave(y), tmp_path / "model.onnx"), tmp_path / "half.onnx"
    convert(before, after, keep=NORMS)
    model = ir.load(after)
    (norm,) = [node for node in model.graph if node.op_type == "LayerNormalization"]
    assert [value and value.dtype for value in norm.inputs] == [ir.DataType.FLOAT] * 2
    np.testing.assert_allclose(run(after, {"x": rows()}), run(before, {"x": rows()}), atol=5e-3)


def test_a_norm_needs_no_fp32_around_it(tmp_path):
    """The squares of its values are beyond fp16, and its statistics are computed in fp32 all the same."""
    s = Sketch(20)
    y = s.node("LayerNormalization", s.enter(), s.weight("gamma", np.ones(HIDDEN, np.float32)))
    before, after = save(s.leave(y), tmp_path / "model.onnx"), tmp_path / "half.onnx"
    assert convert(before, after).kept == 0
    large = rows() * 1000
    np.testing.assert_allclose(run(after, {"x": large}), run(before, {"x": large}), atol=5e-3)


def test_inputs_and_outputs_keep_name_and_type(tmp_path):
    for before in (tiny_onnx.classifier(tmp_path / "text.onnx"), tiny_onnx.vision(tmp_path / "vision.onnx")):
        after = before.with_suffix(".half.onnx")
        convert(before, after)
        old, new = (onnxruntime.InferenceSession(str(path)) for path in (before, after))
        for side in ("get_inputs", "get_outputs"):
            said = [
                [(node.name, node.type, node.shape) for node in getattr(each, side)()] for each in (old, new)
            ]
            assert said[0] == said[1]


def test_values_that_do_not_fit_are_clamped_and_told(tmp_path):
    before = save(attention(mask=-1e30), tmp_path / "model.onnx")
    after = tmp_path / "half.onnx"
    done = convert(before, after)
    assert [(one.name, one.clamped, one.zeroed) for one in done.lost] == [("masked", 1, 0)]
    constants = list(stored(ir.load(after)).values())
    assert min(values.min() for values in constants) == -LARGEST
    assert all(np.isfinite(values).all() for values in constants)
    assert np.isfinite(run(after, {"x": rows()})).all()


def test_the_mask_of_our_encoders_fits():
    assert to_half(attention()).lost == ()


def test_values_that_become_zero_are_told():
    s = Sketch(20)
    model = s.leave(s.node("Add", s.enter(), s.weight("epsilon", np.float32(1e-12))))
    assert [(one.name, one.clamped, one.zeroed) for one in to_half(model).lost] == [("epsilon", 0, 1)]


def test_integers_are_left_alone(tmp_path):
    before = tiny_onnx.classifier(tmp_path / "model.onnx")
    model = ir.load(before)
    numbers = {name: values for name, values in stored(model).items() if values.dtype == np.int64}
    to_half(model)
    assert numbers
    for name, values in numbers.items():
        np.testing.assert_array_equal(stored(model)[name], values)


def test_int8_products_stay_int8_with_fp16_around_them(tmp_path):
    before, after = save(sound(), tmp_path / "model.onnx"), tmp_path / "half.onnx"
    convert(before, after)
    found = inspect(ir.load(after))
    assert found.ready
    assert found.precision == "int8"
    np.testing.assert_allclose(run(after, {"x": rows()}), run(before, {"x": rows()}), atol=0.2)
    model = ir.load(after)
    scales = {v.name for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT16}
    assert {"a.scale", "w.scale"} <= scales
    assert stored(model)["w"].dtype == np.int8


def test_a_constant_that_both_read_is_there_in_both_types(tmp_path):
    s = Sketch(20)
    shared = s.weight("shared", np.ones(HIDDEN, np.float32))
    y = s.node("LayerNormalization", s.node("Mul", s.enter(), shared), shared)
    model = s.leave(y)
    to_half(model, keep=NORMS)
    assert {name: v.dtype for name, v in model.graph.initializers.items()} == {
        "shared": ir.DataType.FLOAT,
        "shared.half": ir.DataType.FLOAT16,
    }
    np.testing.assert_allclose(run(save(model, tmp_path / "half.onnx"), {"x": rows()}).mean(), 0, atol=1e-3)


def test_branches_are_refused():
    s = Sketch(20)
    x = s.enter()
    inner = ir.node("Relu", [x])
    branch = ir.Graph([], inner.outputs, nodes=[inner], opset_imports={"": 20})
    condition = s.weight("c", np.array(True))
    y = s.node("If", condition, then_branch=branch, else_branch=ir.Graph([], [], nodes=[]))
    with pytest.raises(StageFailed, match="branches"):
        to_half(s.leave(y))
