"""Kullback-Leibler divergence of each label's softened probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from squeeze.distillation.losses.base import AnswerLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BinaryKL"]


class BinaryKL(AnswerLoss):
    """Each label's probability against the teacher's, as a choice between yes and no."""

    answer_kinds = frozenset({"sigmoid"})

    name: Literal["binary_kl"]
    temperature: float = Field(default=1.0, gt=0, le=1000)
    """softens both sides; the loss is multiplied by its square"""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL(teacher || student) of Bernoulli distributions, mean over rows and labels, times T^2.

        The binary form of the softened divergence of Hinton et al. 2015 (arXiv:1503.02531). With p of the
        teacher, log p = -softplus(-logit) and log(1 - p) = -softplus(logit), which no logit overflows.

        >>> import math, torch
        >>> teacher = torch.tensor([[math.log(3)]])
        >>> BinaryKL(name="binary_kl").compare(torch.zeros(1, 1), teacher)
        tensor(0.1308)
        """
        from torch.nn.functional import softplus

        ours, theirs = student / self.temperature, teacher / self.temperature
        yes = theirs.sigmoid() * (softplus(-ours) - softplus(-theirs))
        no = (-theirs).sigmoid() * (softplus(ours) - softplus(theirs))
        return (yes + no).mean() * self.temperature**2
