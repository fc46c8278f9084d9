"""Linear maps that compute as the integer products of a runtime do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.core import fake_quant
from squeeze.quantization.plan import Plan

__all__ = ["FakeLinear", "Reading", "Step"]

INT8 = (-128, 127)
BLOCK_HIGH = 127
"""MatMulNBits (accuracy_level 4) rounds its inputs to int8 as well, in the blocks of its weights."""
Watcher = Callable[[Tensor], None]


class Reading:
    """Which tokens of the batch in hand are real; one object, shared by all products of an encoder.

    Attributes:
        real: (B, T); set at the start of every forward pass.
    """

    real: Tensor


class Step(nn.Module):
    """A step that may be learned.

    What is learned is the logarithm of its growth: Adam moves every parameter by about the learning rate,
    which is little for a logarithm and would be much of a step of 0.003 (TQT, Jain et al. 2019,
    arXiv:1903.08066, learns a logarithm for the same reason). The gradient is that of LSQ.

    Args:
        start: any shape that broadcasts to what it divides.
        sharing: how many values share one step.
        high: largest integer.
    """

    start: Tensor

    def __init__(self, start: Tensor, sharing: int, high: int) -> None:
        super().__init__()
        self.register_buffer("start", start.clone())
        self.growth = nn.Parameter(torch.zeros(start.numel()))  # one dimension: it must not decay
        self.factor = fake_quant.gradient_factor(sharing, high)

    def forward(self) -> Tensor:
        """The step, in the shape of its start."""
        step = self.start * self.growth.exp().view_as(self.start)
        return fake_quant.scaled_gradient(step, self.factor)


class FakeLinear(nn.Module):
    """A linear map whose weights, and in int8 also its inputs, are rounded to integers.

    Integers are multiplied, and scales and bias follow, as in the graph.

    Args:
        linear: what it computes in float; its parameters are taken over.
        plan: scheme and bits.
        reading: real tokens of the batch.
        alone: whether every row has a range of its own; else all real tokens of a text share one. On the
            device the last layer is computed for the first token only, which so has the range to itself.
    """

    def __init__(self, linear: nn.Linear, plan: Plan, reading: Reading, *, alone: bool = False) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias: nn.Parameter | None = linear.bias  # an embedding's projection has none
        self.plan, self.reading, self.alone = plan, reading, alone
        self.on = True
        self.watcher: Watcher | None = None
        self.weight_step: Step | None = None
        if plan.learn_steps and not self._narrow:
            step = fake_quant.column_steps(self.weight, plan.weight_bits)
            self.weight_step = Step(step, self.weight.shape[1], self._high)
        self.input_step: Step | None = None
        if plan.scheme == "int8-static":
            self.set_input(1.0)

    def set_input(self, step: float) -> None:
        """Give the input its step: what a calibration has found; a training may move it."""
        start = torch.tensor(step, dtype=torch.float32)
        self.input_step = Step(start, self.weight.shape[1], INT8[1])
        self.input_step.growth.requires_grad_(self.plan.learn_steps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        if self.watcher is not None:
            self.watcher(self._seen(x))
        if not self.on:
            return F.linear(x, self.weight, self.bias)
        if self._narrow:
            return F.linear(_in_blocks(x), self._four_bits(), self.bias)
        values, step = self._integers()
        inputs, scale = self._inputs(x)
        out = F.linear(inputs, values) * (scale * step.squeeze(-1))
        return out if self.bias is None else out.add_(self.bias)

    def snapped(self) -> Tensor:
        """(outputs, inputs) the weights that the integers stand for; as they are where it is switched off."""
        if not self.on:
            return self.weight.detach()
        if self._narrow:
            return self._four_bits().detach()
        values, step = self._integers()
        return (values * step).detach()

    def steps(self) -> Tensor | None:
        """(outputs,) of int8 weights; those of int4 follow the weights, and are found again from them."""
        return None if self._narrow else self._integers()[1].detach().squeeze(-1)

    @property
    def _narrow(self) -> bool:
        return self.plan.scheme == "int4-weight"

    @property
    def _high(self) -> int:
        return int(2 ** (self.plan.weight_bits - 1)) - 1

    def _four_bits(self) -> Tensor:
        cut = fake_quant.blocks(self.weight)
        step, zero = fake_quant.block_ranges(cut)
        values = fake_quant.affine(cut, step, zero, fake_quant.UINT4)
        return fake_quant.unblocked(values * step, self.weight.shape[1])

    def _integers(self) -> tuple[Tensor, Tensor]:
        """Weights as integers, and their steps."""
        if self.weight_step is None:
            step = fake_quant.column_steps(self.weight, self.plan.weight_bits)
            return fake_quant.rounded(self.weight, step, -self._high, self._high), step
        step = self.weight_step()
        return fake_quant.learned(self.weight, step, -self._high, self._high), step

    def _inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs as integers, and their scale."""
        if self.input_step is not None:
            step = self.input_step()
            return fake_quant.learned(x, step, *INT8), step
        shared = x.dim() == 3 and not self.alone
        scale, zero = fake_quant.text_ranges(x, self.reading.real) if shared else fake_quant.row_ranges(x)
        return fake_quant.affine(x, scale, zero), scale

    def _seen(self, x: Tensor) -> Tensor:
        """(rows, inputs) what the device will see of a batch."""
        if x.dim() == 2:
            return x
        return x[:, 0] if self.alone else x[self.reading.real]


def _in_blocks(x: Tensor) -> Tensor:
    cut = fake_quant.blocks(x)
    step = fake_quant.column_steps(cut)
    values = fake_quant.rounded(cut, step, -BLOCK_HIGH, BLOCK_HIGH)
    return fake_quant.unblocked(values * step, x.shape[-1])
