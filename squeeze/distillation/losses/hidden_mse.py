"""Squared difference of the hidden states of paired layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.data.teacher_cache import hidden
from squeeze.distillation.losses.base import LayerLoss, ObservedBatch, StateLoss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

    from squeeze.models.shapes import EncoderShape

__all__ = ["HiddenMSE"]


class HiddenMSE(LayerLoss, StateLoss):
    """States of paired layers (arXiv:1909.10351)."""

    name: Literal["hidden_mse"]
    projection: Literal["pca", "learned"] = "pca"
    """between unequal widths: fixed principal axes, or a matrix trained along"""

    @property
    def fixed_axes(self) -> bool:
        """Unless a matrix is trained."""
        return self.projection == "pca"

    def modules(self, student: EncoderShape, teacher: EncoderShape) -> ModuleDict:
        """The trained matrix, which takes the student's states to the teacher's width.

        Never train a projection of the teacher: it could map everything to one point.
        """
        from torch.nn import Linear

        modules = super().modules(student, teacher)
        if self.projection == "learned" and student.hidden < teacher.hidden:
            modules["projection"] = Linear(student.hidden, teacher.hidden, bias=False)
        return modules

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Mean over real tokens and values of states (B, T, H) (TinyBERT, BiStil).

        >>> import torch
        >>> loss = HiddenMSE(name="hidden_mse")
        >>> loss.compare(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.tensor([[1, 0]]))
        tensor(1.)
        """
        real = mask.bool()
        gap = (student - teacher).masked_fill(~real.unsqueeze(-1), 0.0)
        return gap.square().sum() / (real.sum() * student.shape[-1]).clamp(min=1)

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:
        """The value on one batch: a scalar."""
        import torch

        values = []
        for s, t in self.pairs(*seen.depths):
            ours, theirs = seen.student.hidden[s], seen.batch[hidden(t)]
            if "projection" in modules:
                ours = modules["projection"](ours)
            elif self.fixed_axes:
                theirs = seen.on_axes(theirs)
            values.append(self.compare(ours, theirs, seen.mask))
        return torch.stack(values).mean()
