"""Cross-entropy to the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import LabelLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossEntropy"]


class CrossEntropy(LabelLoss):
    """Answers against labels; text without a label does not count."""

    answer_kinds = frozenset({"softmax"})

    name: Literal["cross_entropy"]

    def compare(self, student: Tensor, labels: Tensor) -> Tensor:
        """Mean over labelled rows.

        Args:
            student: (B, K) logits.
            labels: (B,) integers; -1 for a row without a label.

        >>> import torch
        >>> CrossEntropy(name="cross_entropy").compare(torch.zeros(2, 4), torch.tensor([1, -1]))
        tensor(1.3863)
        """
        from squeeze.tasks.text_classification.heads import loss

        return loss(student, labels)
