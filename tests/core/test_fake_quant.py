"""Rounding in torch is the rounding of ONNX Runtime's operators, bit for bit, and its gradients are LSQ's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from squeeze.core import fake_quant, rounding


def values(seed: int, *shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * scale + shift


def run(
    nodes: list[Any], outputs: Mapping[str, int], constants: Mapping[str, np.ndarray], **given: np.ndarray
) -> list[np.ndarray]:
    """The outputs of a graph that ONNX Runtime does not optimise."""
    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
    inputs = [
        helper.make_tensor_value_info(name, kinds[str(array.dtype)], array.shape)
        for name, array in given.items()
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, made, stored), opset_imports=opsets, ir_version=10
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), given)


def dynamically(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    kinds = {"y": TensorProto.UINT8, "scale": TensorProto.FLOAT, "zero": TensorProto.UINT8}
    y, scale, zero = run([node], kinds, {}, x=x)
    return y, scale, zero


CASES = {
    "both signs": values(0, 7, 48),
    "positive": values(1, 7, 48).abs() + 0.5,
    "negative": -values(2, 7, 48).abs() - 0.5,
    "zeros": torch.zeros(7, 48),
    "small": values(3, 7, 48, scale=1e-6),
    "one large": torch.cat([values(4, 6, 48), values(5, 1, 48, scale=300.0)]),
    "ties": torch.arange(-64.0, 272.0).view(7, 48) / 4,
}


@pytest.mark.parametrize("name", CASES)
def test_ranges_of_a_text_are_those_of_dynamic_quantize_linear(name):
    x = CASES[name]
    padded = torch.cat([x, torch.full((3, 48), 1e4)])[None].repeat(2, 1, 1)
    real = torch.ones(2, 10, dtype=torch.bool)
    real[:, 7:] = False
    scale, zero = fake_quant.text_ranges(padded, real)
    found = fake_quant.affine(padded, scale, zero)[0, :7]
    y, their_scale, their_zero = dynamically(x.numpy())
    assert np.array_equal(scale[0, 0, 0].numpy(), their_scale)
    assert float(zero[0, 0, 0]) == float(their_zero)
    assert np.array_equal(found.numpy(), y.astype(np.float32) - float(their_zero))


@pytest.mark.parametrize("name", CASES)
def test_ranges_of_a_row_are_those_of_dynamic_quantize_linear(name):
    x = CASES[name]
    scale, zero = fake_quant.row_ranges(x)
    found = fake_quant.affine(x, scale, zero)
    for row in range(len(x)):
        y, their_scale, their_zero = dynamically(x[row : row + 1].numpy())
        assert np.array_equal(scale[row, 0].numpy(), their_scale)
        assert np.array_equal(found[row : row + 1].numpy(), y.astype(np.float32) - float(their_zero))


def test_a_product_of_integers_is_the_runtime_s_in_every_bit():
    x, weight = values(0, 9, 384, scale=2.0), values(1, 32, 384)
    real = torch.ones(1, 9, dtype=torch.bool)
    scale, zero = fake_quant.text_ranges(x[None], real)
    step = fake_quant.column_steps(weight, bits=7)  # 8 saturate in some processors' 16-bit sums
    integers = fake_quant.rounded(weight, step, -63, 63)
    product = functional.linear(fake_quant.affine(x[None], scale, zero)[0], integers)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["y", "w", "zero"], ["p"]),
    ]
    kinds = {"p": TensorProto.INT32, "scale": TensorProto.FLOAT}
    theirs, their_scale = run(nodes, kinds, {"w": integers.T.numpy().astype(np.int8)}, x=x.numpy())
    assert np.array_equal(product.numpy(), theirs.astype(np.float32))
    ours = product * (scale[0] * step.squeeze(-1))
    assert np.array_equal(ours.numpy(), theirs.astype(np.float32) * (their_scale * step[:, 0].numpy()))


@pytest.mark.parametrize(("bits", "high"), [(8, 127), (7, 63)])
def test_columns_are_those_of_the_graphs(bits, high):
    weight = values(3, 24, 48)
    weight[5] = 0
    step = fake_quant.column_steps(weight, bits)
    found = fake_quant.rounded(weight, step, -high, high)
    matrix = weight.numpy().T
    theirs, steps = rounding.columns_to_int8(matrix, bits=bits)
    assert np.array_equal(step[:, 0].numpy(), steps)
    assert np.array_equal(found.numpy().T, theirs)
    assert found.abs().max() == high


def test_static_rounding_is_that_of_quantize_linear():
    x, step = values(4, 5, 48, scale=4.0), np.float32(0.031)
    x[0, 0], x[0, 1] = 99.0, -99.0
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    theirs = run(
        [node], {"y": TensorProto.INT8}, {"s": np.array(step), "z": np.array(0, np.int8)}, x=x.numpy()
    )[0]
    ours = fake_quant.learned(x, torch.tensor(step), -128, 127)
    assert np.array_equal(ours.numpy(), theirs.astype(np.float32))


def packed(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte along the last axis."""
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)]).astype(np.uint8)
    return even[..., 0::2] | (even[..., 1::2] << 4)


@pytest.mark.parametrize("width", [64, 72])
@pytest.mark.parametrize("accuracy", [1, 4])
def test_int4_blocks_give_what_matmulnbits_gives(width, accuracy):
    x, weight = values(5, 3, width), values(6, 16, width, shift=0.3)
    cut = fake_quant.blocks(weight)
    step, zero = fake_quant.block_ranges(cut)
    integers = fake_quant.affine(cut, step, zero, fake_quant.UINT4)
    codes = integers + zero
    assert set(codes.unique().tolist()) <= set(range(16))
    inputs = x
    if accuracy == 4:  # the operator rounds its inputs to int8 too, in the same blocks
        runs = fake_quant.blocks(x)
        steps = fake_quant.column_steps(runs)
        inputs = fake_quant.unblocked(fake_quant.rounded(runs, steps, -127, 127) * steps, width)
        assert (inputs - x).abs().max() > 1e-3
    ours = functional.linear(inputs, fake_quant.unblocked(integers * step, width))
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s", "z"], ["y"], domain="com.microsoft",
        K=width, N=16, bits=4, block_size=32, accuracy_level=accuracy,
    )  # fmt: skip
    # Constants: with weights that come from outside the operator multiplies in float.
    constants = {"w": packed(codes.numpy()), "s": step.flatten().numpy()}
    constants["z"] = packed(zero.squeeze(-1).numpy()).reshape(-1)
    theirs = run([node], {"y": TensorProto.FLOAT}, constants, x=x.numpy())[0]
    assert np.abs(ours.numpy() - theirs).max() < 1e-4


def test_int4_blocks_are_those_of_the_graphs_and_settle():
    weight = values(7, 16, 96)
    cut = fake_quant.blocks(weight)
    step, zero = fake_quant.block_ranges(cut)
    codes = fake_quant.affine(cut, step, zero, fake_quant.UINT4) + zero
    theirs = rounding.blocks_to_int4(weight.T.numpy(), 32, symmetric=False)
    assert np.array_equal(codes.numpy(), theirs.values)
    assert np.array_equal(step.squeeze(-1).numpy(), theirs.steps)
    assert np.array_equal(zero.squeeze(-1).numpy(), theirs.zeros)
    again = (codes - zero) * step
    other, same = fake_quant.block_ranges(again)
    assert torch.allclose(other, step)
    assert torch.equal(fake_quant.affine(again, other, same, fake_quant.UINT4) + same, codes)


def test_symmetric_int4_blocks_are_those_of_the_graphs_and_settle():
    weight = values(7, 16, 96)
    cut = fake_quant.blocks(weight)
    step = fake_quant.block_steps(cut)
    integers = fake_quant.rounded(cut, step, -8, 7)
    theirs = rounding.blocks_to_int4(weight.T.numpy(), 32, symmetric=True)
    assert np.array_equal(integers.numpy() + 8, theirs.values)
    assert np.array_equal(step.squeeze(-1).numpy(), theirs.steps)
    again = integers * step
    assert torch.equal(fake_quant.block_steps(again), step)
    assert torch.equal(fake_quant.rounded(again, step, -8, 7), integers)


def test_the_gradient_of_a_learned_step_is_that_of_the_paper():
    x = torch.tensor([-3.0, -0.26, 0.1, 0.26, 0.74, 9.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    low, high = -4, 3
    (fake_quant.learned(x, step, low, high) * step).sum().backward()
    with torch.no_grad():
        ratio = x / step
        inside = (ratio > low) & (ratio < high)
        wanted = torch.where(inside, ratio.round() - ratio, ratio.clamp(low, high))
        assert step.grad is not None
        assert x.grad is not None
        assert step.grad == pytest.approx(float(wanted.sum()))
        assert torch.equal(x.grad, inside.float())


def test_gradients_of_channel_steps_go_to_their_channel_and_are_scaled():
    x = values(8, 4, 16).requires_grad_()
    start = torch.full((4, 1), 0.1, requires_grad=True)
    step = fake_quant.scaled_gradient(start, 0.25)
    rows = (fake_quant.learned(x, step, -8, 7) * step).sum(1)
    rows[2].backward()
    assert start.grad is not None
    assert (start.grad[[0, 1, 3]] == 0).all()
    ratio = x.detach()[2] / 0.1
    inside = (ratio > -8) & (ratio < 7)
    wanted = torch.where(inside, ratio.round() - ratio, ratio.clamp(-8, 7)).sum() / 4
    assert float(start.grad[2]) == pytest.approx(float(wanted), rel=1e-4)


def test_rounding_lets_gradients_through_whole():
    x = values(9, 3, 8).requires_grad_()
    scale, zero = fake_quant.row_ranges(x)
    upstream = values(10, 3, 8)
    ((fake_quant.affine(x, scale, zero) * scale) * upstream).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, upstream)


def test_the_factor_of_a_step_s_gradient():
    assert fake_quant.gradient_factor(384, 127) == pytest.approx((384 * 127) ** -0.5)
