"""Binary cross-entropy to the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import LabelLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(LabelLoss):
    """Each label's probability against whether the text has it; text without labels does not count."""

    answer_kinds = frozenset({"sigmoid"})

    name: Literal["binary_cross_entropy"]

    def compare(self, student: Tensor, labels: Tensor) -> Tensor:
        """Mean over labels and labelled rows.

        Args:
            student: (B, K) logits.
            labels: (B, K) of 0 and 1; NaN in a row without labels.

        >>> import torch
        >>> labels = torch.tensor([[0.0, 1.0], [torch.nan, torch.nan]])
        >>> BinaryCrossEntropy(name="binary_cross_entropy").compare(torch.zeros(2, 2), labels)
        tensor(0.6931)
        """
        from squeeze.tasks.multi_label.heads import loss

        return loss(student, labels)
