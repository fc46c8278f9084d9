"""Scores of values. Shapes: N rows, K targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["scores"]


def scores(outputs: NDArray[Any], labels: NDArray[Any], scale: NDArray[np.float64]) -> dict[str, float]:
    """Correlations and error, each the mean over targets.

    A correlation with values that do not vary is undefined and counts as 0.

    Args:
        outputs: (N, K) standardised.
        labels: (N, K) standardised.
        scale: (K,) units of the data in a standard deviation.

    >>> values = np.array([[0.0], [1.0], [2.0]])
    >>> scores(2 * values, values, np.array([1.0]))["pearson"]
    1.0
    """
    from scipy.stats import rankdata  # slow to import, and no start-up needs it

    ours, theirs = outputs.astype(np.float64), labels.astype(np.float64)
    error = np.sqrt(np.square(ours - theirs).mean(axis=0)) * scale
    return {
        "pearson": _correlation(ours, theirs),
        "spearman": _correlation(rankdata(ours, axis=0), rankdata(theirs, axis=0)),
        "rmse": float(error.mean()),
    }


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's, mean over columns."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    norm = np.sqrt(np.square(one).sum(axis=0) * np.square(other).sum(axis=0))
    products = (one * other).sum(axis=0)
    return float(np.divide(products, norm, out=np.zeros_like(norm), where=norm > 0).mean())
