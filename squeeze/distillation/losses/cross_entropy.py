"""Cross-entropy to the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import Loss, ObservedBatch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
    """Answers against labels; text without a label does not count."""

    target = "labels"
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
        from torch.nn.functional import cross_entropy

        total = cross_entropy(student, labels, ignore_index=-1, reduction="sum")
        return total / (labels != -1).sum().clamp(min=1)

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """The value on one batch: a scalar."""
        return self.compare(seen.student.logits, seen.batch["labels"])
