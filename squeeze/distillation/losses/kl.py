"""Kullback-Leibler divergence of the softened probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import SoftenedLoss, kl_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KLDivergence"]


class KLDivergence(SoftenedLoss):
    """Softened probabilities, times T^2 (arXiv:1503.02531)."""

    name: Literal["kl"]

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL(teacher || student), times T^2 (Hinton et al. 2015).

        >>> import math, torch
        >>> KLDivergence(name="kl").compare(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]]))
        tensor(0.1308)
        """
        rows = kl_rows(self.log_softened(teacher), self.log_softened(student))
        return rows.mean() * self.temperature**2
