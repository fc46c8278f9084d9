"""Squared difference of the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import AnswerLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LogitMSE"]


class LogitMSE(AnswerLoss):
    """Logits (arXiv:1312.6184)."""

    name: Literal["logit_mse"]

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean squared difference over rows and labels (Ba & Caruana 2014).

        >>> import torch
        >>> LogitMSE(name="logit_mse").compare(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor(2.)
        """
        return (student - teacher).square().mean()
