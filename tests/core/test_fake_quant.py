"""Rounding in torch is the rounding of ONNX Runtime's operators, bit for bit, and its gradients are LSQ's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional

from squeeze.core import fake_quant


def values(seed: int, *shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * scale + shift


def run(nodes: list[Any], outputs: dict[str, int], **given: np.ndarray) -> list[np.ndarray]:
    """The outputs of a graph that ONNX Runtime does not optimise."""
    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
    inputs = [
        helper.make_tensor_value_info(name, kinds[str(array.dtype)], array.shape)
        for name, array in given.items()
    ]
    made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, made), opset_imports=opsets, ir_version=10
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), given)


def dynamically(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    kinds: dict[str, int] = {"y": TensorProto.UINT8, "scale": TensorProto.FLOAT, "zero": TensorProto.UINT8}
    y, scale, zero = run([node], kinds, x=x)
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
    kinds: dict[str, int] = {"p": TensorProto.INT32, "scale": TensorProto.FLOAT}
    theirs, their_scale = run(nodes, kinds, x=x.numpy(), w=integers.T.numpy().astype(np.int8))
    assert np.array_equal(product.numpy(), theirs.astype(np.float32))
    ours = product * (scale[0] * step.squeeze(-1))
    assert np.array_equal(ours.numpy(), theirs.astype(np.float32) * (their_scale * step[:, 0].numpy()))


@pytest.mark.parametrize(("bits", "high"), [(8, 127), (7, 63)])
def test_columns_are_rounded_as_numpy_rounds_them(bits, high):
    weight = values(3, 24, 48)
    weight[5] = 0
    step = fake_quant.column_steps(weight, bits)
    found = fake_quant.rounded(weight, step, -high, high)
    matrix = weight.numpy().T
    scale = np.abs(matrix).max(axis=0) / high
    safe = np.where(scale == 0, 1, scale).astype(np.float32)
    assert np.array_equal(step[:, 0].numpy(), safe)
    assert np.array_equal(found.numpy().T, np.rint(matrix / safe))
    assert found.abs().max() == high


def test_static_rounding_is_that_of_quantize_linear():
    x, step = values(4, 5, 48, scale=4.0), np.float32(0.031)
    x[0, 0], x[0, 1] = 99.0, -99.0
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    theirs = run([node], {"y": TensorProto.INT8}, x=x.numpy(), s=np.array(step), z=np.array(0, np.int8))[0]
    ours = fake_quant.learned(x, torch.tensor(step), -128, 127)
    assert np.array_equal(ours.numpy(), theirs.astype(np.float32))


@pytest.mark.parametrize("width", [64, 72])
def test_int4_blocks_give_what_matmulnbits_gives(width):
    x, weight = values(5, 3, width), values(6, 16, width)
    cut = fake_quant.blocks(weight)
    step = fake_quant.block_steps(cut)
    integers = fake_quant.rounded(cut, step, -8, 7)
    assert set(integers.unique().tolist()) <= set(range(-8, 8))
    ours = functional.linear(x, fake_quant.unblocked(integers * step, width))
    codes = (integers + 8).numpy().astype(np.uint8)
    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft",
        K=width, N=16, bits=4, block_size=32, accuracy_level=1,
    )  # fmt: skip
    given = {"x": x.numpy(), "w": packed, "s": step.squeeze(-1).numpy()}
    theirs = run([node], {"y": TensorProto.FLOAT}, **given)[0]
    assert np.abs(ours.numpy() - theirs).max() < 1e-4


def test_int4_rounding_is_within_half_a_step_but_for_the_far_end_and_settles():
    weight = values(7, 16, 96)
    cut = fake_quant.blocks(weight)
    step = fake_quant.block_steps(cut)
    integers = fake_quant.rounded(cut, step, -8, 7)
    inside = cut / step <= 7
    assert ((integers * step - cut).abs() <= step.abs() / 2 + 1e-6)[inside].all()
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
