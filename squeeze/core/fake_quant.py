"""Numbers rounded as an integer runtime rounds them, with gradients that pass through the rounding.

Every function gives integers as floats: a product of two such tensors is the integer product, exactly, as
long as its sums stay below 2^24, and what the runtime multiplies by afterwards is multiplied by afterwards
here too. Rounding is to even everywhere, as in ONNX.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "BLOCK",
    "UINT4",
    "UINT8",
    "affine",
    "block_ranges",
    "block_steps",
    "blocks",
    "column_steps",
    "gradient_factor",
    "learned",
    "rounded",
    "row_ranges",
    "scaled_gradient",
    "text_ranges",
    "unblocked",
]

BLOCK = 32
"""Values that share a step in `int4-weight`: the smallest block of MatMulNBits, and the most exact."""
UINT8, UINT4 = 255, 15
"""Largest integer of a range that starts at 0."""


def column_steps(weight: Tensor, bits: int = 8) -> Tensor:
    """Symmetric step of every row: its largest |w| becomes the largest integer.

    Args:
        weight: (..., N); the steps are those of `squeeze.graphs.int8.columns_to_int8` of the transpose.
        bits: 8 for -127..127, 7 for -63..63, which no 16-bit sum of two uint8 products can overflow.

    Returns:
        (..., 1), no gradient; 1 for a row of zeros.

    >>> column_steps(torch.tensor([[0.0, -2.54], [0.0, 0.0]]))
    tensor([[0.0200],
            [1.0000]])
    """
    low, high = weight.detach().aminmax(dim=-1, keepdim=True)
    step = torch.maximum(-low, high) / (2 ** (bits - 1) - 1)
    return torch.where(step == 0, torch.ones_like(step), step)


def blocks(weight: Tensor, block: int = BLOCK) -> Tensor:
    """(..., K) -> (..., ceil(K / block), block), zeros at the end: as MatMulNBits cuts a product's inputs."""
    short = -weight.shape[-1] % block
    padded = torch.nn.functional.pad(weight, (0, short)) if short else weight
    return padded.reshape(*padded.shape[:-1], -1, block)


def unblocked(cut: Tensor, width: int) -> Tensor:
    """The inverse of `blocks`: (..., n, block) -> (..., width)."""
    return cut.flatten(-2)[..., :width]


def block_steps(cut: Tensor) -> Tensor:
    """Symmetric step of every block of int4 values: its largest |w| becomes -8, which has no counterpart.

    Tables are stored so: (q - 8) * step for q of 0..15, and a step may be negative.

    Args:
        cut: (N, n, block), of `blocks`.

    Returns:
        (N, n, 1), no gradient; 1 for a block of zeros.

    >>> block_steps(torch.tensor([[[1.0, 4.0, -2.0]]]))
    tensor([[[-0.5000]]])
    """
    values = cut.detach()
    step = values.gather(-1, values.abs().argmax(dim=-1, keepdim=True)) / -8
    return torch.where(step == 0, torch.ones_like(step), step)


def block_ranges(cut: Tensor) -> tuple[Tensor, Tensor]:
    """Step and zero-point of every block of uint4 values: 0..15 span its range, widened to hold 0.

    MatMulNBits computes (q - zero) * step.

    Args:
        cut: (N, n, block), of `blocks`.

    Returns:
        Step and zero-point (0..15), (N, n, 1) each, no gradient.

    >>> block_ranges(torch.tensor([[[-1.0, 2.0, 0.5]]]))
    (tensor([[[0.2000]]]), tensor([[[5.]]]))
    """
    return _affine_range(*cut.detach().aminmax(dim=-1, keepdim=True), UINT4)


def row_ranges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero-point of DynamicQuantizeLinear for every row by itself.

    Args:
        x: (..., H).

    Returns:
        Scale and zero-point (0..255), (..., 1) each, no gradient.

    >>> row_ranges(torch.tensor([[-1.0, 1.55]]))
    (tensor([[0.0100]]), tensor([[100.]]))
    """
    return _affine_range(*x.detach().aminmax(dim=-1, keepdim=True), UINT8)


def text_ranges(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero-point of DynamicQuantizeLinear for every text by itself, over its real tokens.

    On the device a call holds one text, so its neighbours in a batch and their padding do not count.

    Args:
        x: (B, T, H).
        real: (B, T), True where there is a token.

    Returns:
        Scale and zero-point, (B, 1, 1) each, no gradient.

    >>> text_ranges(torch.tensor([[[0.0, 2.55], [99.0, 99.0]]]), torch.tensor([[True, False]]))
    (tensor([[[0.0100]]]), tensor([[[0.]]]))
    """
    low, high = (edge.masked_fill(~real, 0.0) for edge in x.detach().aminmax(dim=-1))
    return _affine_range(low.amin(dim=1)[:, None, None], high.amax(dim=1)[:, None, None], UINT8)


def _affine_range(low: Tensor, high: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Scale and zero-point as ONNX DynamicQuantizeLinear takes them: zero is part of the range."""
    low, high = low.float().clamp(max=0), high.float().clamp(min=0)
    scale = (high - low) / most
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return scale, (0 - low / scale).clamp_(0, most).round_()


def affine(x: Tensor, scale: Tensor, zero: Tensor, most: int = UINT8) -> Tensor:
    """Unsigned integers less their zero-point: round(x / scale) + zero, held in 0..most, minus zero.

    The gradient passes straight through: the range holds every value that counts.

    Args:
        x: any shape.
        scale: broadcasts to it.
        zero: likewise, whole numbers 0..most.
        most: the largest integer.

    >>> affine(torch.tensor([-1.0, 0.004, 1.55]), torch.tensor(0.01), torch.tensor(100.0))
    tensor([-100.,    0.,  155.])
    """
    out: Tensor = _Affine.apply(x, scale, zero, most)  # type: ignore[no-untyped-call]
    return out


def rounded(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """round(x / step) held in low..high; the gradient passes straight through (arXiv:1308.3432).

    For steps that follow the values, so that next to nothing is held back.

    >>> rounded(torch.tensor([0.26, -9.0]), torch.tensor(0.5), -8, 7)
    tensor([ 1., -8.])
    """
    out: Tensor = _Rounded.apply(x, step, low, high)  # type: ignore[no-untyped-call]
    return out


def learned(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """round(x / step) held in low..high, differentiable in both (LSQ, Esser et al. 2020, arXiv:1902.08153).

    Times the step, its derivative in the step is the paper's: round(x / step) - x / step inside, `low` or
    `high` beyond; a value beyond has no gradient of its own.

    Args:
        x: any shape.
        step: broadcasts to it; may be negative.
        low: least integer.
        high: largest integer.

    >>> step = torch.tensor(0.5, requires_grad=True)
    >>> (learned(torch.tensor([0.7, 9.0]), step, -8, 7) * step).sum().backward()
    >>> step.grad
    tensor(6.6000)
    """
    out: Tensor = _Learned.apply(x, step, low, high)  # type: ignore[no-untyped-call]
    return out


def scaled_gradient(step: Tensor, factor: float) -> Tensor:
    """The step itself, its gradient times a factor (LSQ, section 2.2)."""
    out: Tensor = _Scaled.apply(step, factor)  # type: ignore[no-untyped-call]
    return out


def gradient_factor(values: int, high: int) -> float:
    """1 / sqrt(values * high): brings a step's gradient to the size of those of what it divides (LSQ, 2.2).

    Args:
        values: how many share the step.
        high: largest integer.
    """
    return float((values * high) ** -0.5)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, most: int) -> Tensor:
        ctx.save_for_backward(scale)
        return (x.float() / scale).round_().add_(zero).clamp_(0, most).sub_(zero)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (scale,) = ctx.saved_tensors
        return grads[0] / scale, None, None, None


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(step)
        return (x.float() / step).round_().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (step,) = ctx.saved_tensors
        return grads[0] / step, None, None, None


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.low, ctx.high = low, high
        return (x.float() / step).round_().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, step = ctx.saved_tensors
        ratio = x.float() / step
        inside = (ratio > ctx.low) & (ratio < ctx.high)
        to_x = torch.where(inside, grads[0], 0.0).div_(step)
        if not ctx.needs_input_grad[1]:
            return to_x, None, None, None
        return to_x, -(to_x * ratio).sum_to_size(step.shape), None, None


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return step.view_as(step)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None
