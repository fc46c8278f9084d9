"""Jensen-Shannon divergence of the probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import AnswerLoss, kl_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JensenShannon"]


class JensenShannon(AnswerLoss):
    """Probabilities, bounded (arXiv:2103.05959)."""

    answer_kinds = frozenset({"softmax"})

    name: Literal["jensen_shannon"]

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean over rows (SSLD).

        Symmetric and at most ln 2, so a row that the teacher gets badly wrong cannot dominate.

        >>> import torch
        >>> loss = JensenShannon(name="jensen_shannon")
        >>> loss.compare(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))
        tensor(0.6931)
        """
        log_student, log_teacher = student.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
        log_middle = log_student.logaddexp(log_teacher) - math.log(2)
        return (kl_rows(log_teacher, log_middle) + kl_rows(log_student, log_middle)).mean() / 2
