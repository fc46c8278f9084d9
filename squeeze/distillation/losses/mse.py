"""Squared difference from the labels of a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import LabelLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MSE"]


class MSE(LabelLoss):
    """Values against those of the data; text without values does not count."""

    answer_kinds = frozenset({"real"})

    name: Literal["mse"]

    def compare(self, student: Tensor, labels: Tensor) -> Tensor:
        """Mean over targets and rows, in squared standard deviations of the training values.

        Args:
            student: (B, K) standardised values.
            labels: (B, K) standardised; NaN in a row without values.

        >>> import torch
        >>> MSE(name="mse").compare(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(2.)
        """
        from squeeze.tasks.regression.heads import loss

        return loss(student, labels)
