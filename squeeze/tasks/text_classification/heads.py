"""Single-label text classification in torch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["loss"]


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over the rows that have a label.

    Args:
        outputs: (B, K) logits.
        labels: (B,) class numbers; -1 for a row without a label.
    """
    total = functional.cross_entropy(outputs, labels, ignore_index=-1, reduction="sum")
    return total / (labels != -1).sum().clamp(min=1)
