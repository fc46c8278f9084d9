"""Regression in torch."""

from __future__ import annotations

from torch import Tensor

__all__ = ["loss"]


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error over targets and over the rows that have values.

    Args:
        outputs: (B, K) standardised values.
        labels: (B, K) standardised; NaN in a row without values.
    """
    known = ~labels.isnan().any(dim=1)
    total = (outputs[known] - labels[known]).square().sum()
    return total / max(1, int(known.sum()) * outputs.shape[1])
