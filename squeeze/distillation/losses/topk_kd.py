"""KL over the teacher's best labels and one bucket for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from squeeze.distillation.losses.base import SoftenedLoss, kl_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TopK"]


class TopK(SoftenedLoss):
    """The teacher's best labels apart from the rest, a split of our own."""

    name: Literal["topk_kd"]
    k: int = Field(default=1, ge=1, le=10_000)
    """the teacher's labels that are kept apart from the rest"""

    def faults(self, labels: int) -> Iterator[tuple[str, str]]:
        """`k` is at most the number of labels."""
        if self.k > labels:
            yield "k", f"topk_kd takes {self.k} labels, there are {labels}"

    def compare(self, student: Tensor, teacher: Tensor, rest_weight: float = 1.0) -> Tensor:
        """KL over the teacher's top k labels and one bucket for the rest, plus weighted KL inside the rest.

        Our own form of the idea of TopKLD, whose formula we have not seen; do not quote it as TopKLD. In
        plain KL what happens inside the rest is scaled by the teacher's mass there, often next to
        nothing; here ``rest_weight`` >= 0 sets it. With k = K or K - 1 it is ``kl``. Equal teacher logits go
        to the lower label.

        >>> import math, torch
        >>> loss = TopK(name="topk_kd", k=2)
        >>> loss.compare(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]]))
        tensor(0.1308)
        """
        import torch

        k, labels = self.k, student.shape[-1]
        if k > labels:
            raise ValueError(f"k must be 1..{labels}, got {k}")
        order = teacher.argsort(dim=-1, descending=True, stable=True)
        log_student, log_teacher = (self.log_softened(one).gather(-1, order) for one in (student, teacher))
        if k == labels:
            return kl_rows(log_teacher, log_student).mean() * self.temperature**2
        best, rests = [], []
        for log_p in (log_teacher, log_student):
            mass = log_p[..., k:].logsumexp(dim=-1, keepdim=True)
            best.append(torch.cat([log_p[..., :k], mass], dim=-1))
            rests.append(log_p[..., k:] - mass)
        return (kl_rows(*best) + rest_weight * kl_rows(*rests)).mean() * self.temperature**2
