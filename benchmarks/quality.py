"""Quality of single-label answers, measured as squeeze measures it and read from what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.core.metrics import Quality
from squeeze.tasks.text_classification.task import SingleLabel, SingleLabelSection

__all__ = ["macro_f1", "quality", "rows_right", "score"]


def quality(logits: NDArray[Any], labels: NDArray[np.int64]) -> Quality:
    """Quality of (N, K) logits against (N,) labels."""
    names = tuple(f"label {number}" for number in range(logits.shape[1]))
    return SingleLabel(SingleLabelSection(labels=names)).scores(logits, labels)


def macro_f1(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Macro-F1 of (N, K) logits against (N,) labels."""
    return quality(logits, labels).score


def rows_right(logits: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) 1 where the answer is the label, else 0."""
    return np.asarray(logits.argmax(axis=1) == labels, dtype=np.float64)


def score(written: Mapping[str, Any], key: str = "macro_f1") -> float:
    """A score of a quality in a result, written by this version or by one that had a field a score."""
    return float(written.get("scores", written)[key])
