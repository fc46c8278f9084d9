"""Scores of multi-label answers. Shapes: N rows, K labels; labels are (N, K) of 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.core.metrics import sigmoid

__all__ = ["best_threshold", "logit", "scores"]


def logit(probability: float) -> float:
    """The output at which a probability is reached."""
    return float(np.log(probability) - np.log1p(-probability))


def best_threshold(outputs: NDArray[np.float32], labels: NDArray[Any]) -> float:
    """The probability at which micro-F1 is highest, halfway between the two outputs that it parts.

    With the outputs of all rows and labels in falling order, F1 of the first n is 2 hits / (n + positives).

    >>> round(best_threshold(np.array([[2.0, -2.0]], dtype=np.float32), np.array([[1, 0]])), 6)
    0.5
    """
    order = np.argsort(-outputs, axis=None, kind="stable")
    values = outputs.ravel()[order].astype(np.float64)
    hits = np.cumsum(labels.ravel()[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + labels.sum())
    ends = np.append(values[1:] < values[:-1], True)  # equal outputs are given together
    last = int(np.where(ends, f1, -1).argmax())
    below = values[last + 1] if last + 1 < len(values) else values[last] - 1
    return float(sigmoid(np.array((values[last] + below) / 2)).clip(1e-6, 1 - 1e-6))


def scores(
    given: NDArray[np.bool_], outputs: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Scores by key, and recall by label.

    What would be 0/0 is 0, as in scikit-learn; a label without rows has no average precision and is left
    out of the mean.

    Args:
        given: (N, K) which labels are given.
        outputs: (N, K) by which rows are ranked.
        labels: (N, K).
    """
    from sklearn.metrics import average_precision_score, f1_score, recall_score

    right = labels > 0.5
    present = np.flatnonzero(right.any(axis=0))
    precision = [average_precision_score(right[:, k], outputs[:, k]) for k in present]
    recall = recall_score(right, given, average=None, zero_division=0)
    return {
        "micro_f1": float(f1_score(right, given, average="micro", zero_division=0)),
        "macro_f1": float(f1_score(right, given, average="macro", zero_division=0)),
        "map": float(np.mean(precision)) if precision else 0.0,
        "exact_match": float((right == given).all(axis=1).mean()),
    }, tuple(np.atleast_1d(recall).tolist())
