"""Multi-label text classification in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["loss"]


def loss(outputs: Tensor, labels: Tensor, label_weights: Sequence[float] | None = None) -> Tensor:
    """Binary cross entropy, mean over labels and over the rows that have an answer.

    Args:
        outputs: (B, K) logits.
        labels: (B, K) of 0 and 1; NaN in a row without an answer.
        label_weights: (K,) factor of the rows that have the label; None: 1.
    """
    known = ~labels.isnan().any(dim=1)
    weights = None if label_weights is None else torch.tensor(label_weights, dtype=outputs.dtype)
    total = functional.binary_cross_entropy_with_logits(
        outputs[known], labels[known], pos_weight=weights, reduction="sum"
    )
    return total / max(1, int(known.sum()) * outputs.shape[1])
