"""Quality of a model from its outputs, and how faithful a student is to its teacher.

Shapes: N rows, K labels. Logits are (N, K), labels are (N,) integers in 0..K-1. All shares are 0..1.
The answer of a row is its largest logit; equal logits go to the lower label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from squeeze.schema import Frozen

__all__ = [
    "Metric",
    "PerClass",
    "Quality",
    "accuracy",
    "agreement",
    "calibration_error",
    "check",
    "confusion",
    "js_distance",
    "log_softmax",
    "macro_f1",
    "per_class",
    "probability_agreement",
    "sigmoid",
    "softmax",
]

Logits: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.float64]


class PerClass(NamedTuple):
    """Precision, recall and F1 of every label, each (K,) and 0..1."""

    precision: Floats
    recall: Floats
    f1: Floats


class Metric(NamedTuple):
    """How a score is shown."""

    title: str
    better: int = 1
    """1 where more is better, -1 where less is"""
    is_share: bool = True
    """whether it is shown in percent"""


class Quality(Frozen):
    """What a model is worth on one set of labelled rows."""

    rows: int
    """rows measured"""
    primary: str
    """key of the score that picks epochs and of which retention is a share"""
    scores: Mapping[str, float]
    """by key of the task's ``metrics``; those against a teacher are absent without one"""
    recall: tuple[float, ...] = Field(default=(), strict=False)  # a list where the validator below came by
    """share of each label's rows that were found, in label order; 0 for a label without rows"""

    @property
    def score(self) -> float:
        """The primary score."""
        return self.scores[self.primary]

    @model_validator(mode="before")
    @classmethod
    def _of_version_0(cls, data: Any) -> Any:
        """Results before 0.2 had one field a score, and were of single-label classification only."""
        if not isinstance(data, dict) or "macro_f1" not in data:
            return data
        names = {"label_loyalty": "agreement", "probability_loyalty": "probability_agreement"}
        keys = ("accuracy", "macro_f1", "ece", *names)
        scores = {names.get(key, key): data[key] for key in keys if data.get(key) is not None}
        recall = tuple(data["recall"])
        return {"rows": data["rows"], "primary": "macro_f1", "scores": scores, "recall": recall}


def log_softmax(logits: Logits) -> Floats:
    """Log of the softmax over the last axis, safe for logits of any size.

    >>> log_softmax(np.array([[1000.0, 1000.0]])).round(4)
    array([[-0.6931, -0.6931]])
    """
    shifted: Floats = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax(logits: Logits) -> Floats:
    """Probabilities over the last axis, each row summing to 1.

    >>> softmax(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """
    exponentials: Floats = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def sigmoid(outputs: NDArray[Any]) -> Floats:
    """Probabilities of logits of any size, elementwise."""
    return np.asarray(np.exp(-np.logaddexp(0, -outputs.astype(np.float64))))


def accuracy(logits: Logits, labels: Labels) -> float:
    """Share of rows whose answer is the label.

    >>> accuracy(np.array([[2.0, 1.0], [2.0, 1.0]]), np.array([0, 1]))
    0.5
    """
    check(logits, labels)
    return float((logits.argmax(axis=1) == labels).mean())


def confusion(predicted: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Count rows by truth and answer.

    Args:
        predicted: (N,) answers, 0..classes-1.
        labels: (N,) truths, 0..classes-1.
        classes: K.

    Returns:
        (K, K) counts; the row is the truth, the column the answer.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), classes=2)
    array([[1, 1],
           [0, 1]])
    """
    for name, values in (("predicted", predicted), ("labels", labels)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            raise ValueError(f"{name} must lie in 0..{classes - 1}, got {values.min()}..{values.max()}")
    cells = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class(counts: NDArray[np.int64]) -> PerClass:
    """Precision, recall and F1 of each label from a confusion matrix.

    Whatever would be 0/0 is 0, as scikit-learn does by default: the precision of a label that was
    never answered, the recall of a label that has no rows, and F1 of a label with neither.

    Args:
        counts: (K, K) from ``confusion``.
    """
    hits = np.diag(counts).astype(np.float64)
    truths, answers = counts.sum(axis=1), counts.sum(axis=0)
    return PerClass(
        precision=_ratio(hits, answers), recall=_ratio(hits, truths), f1=_ratio(2 * hits, truths + answers)
    )


def macro_f1(counts: NDArray[np.int64]) -> float:
    """Mean F1 over all K labels of a confusion matrix.

    A label with neither truths nor answers counts as F1 = 0, as in scikit-learn's
    ``f1_score(average="macro", labels=range(K))``: on a set that lacks a label the score is below 1
    even if every answer is right.

    >>> macro_f1(np.array([[1, 1], [0, 1]]))
    0.6666666666666666
    """
    return float(per_class(counts).f1.mean())


def calibration_error(logits: Logits, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599).

    Rows are put in ``bins`` equal-width bins, open below and closed above, by the probability of
    their answer; the result is the mean over rows of |accuracy - mean confidence| of the row's bin.

    >>> round(calibration_error(np.log(np.array([[0.8, 0.2], [0.8, 0.2]])), np.array([0, 1])), 6)
    0.3
    """
    check(logits, labels)
    confidence = softmax(logits).max(axis=1)
    right = (logits.argmax(axis=1) == labels).astype(np.float64)
    where = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gap = np.bincount(where, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def js_distance(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon distance of each row: the square root of the divergence in bits, 0..1.

    Args:
        p: (N, K) probabilities.
        q: (N, K) probabilities.

    Returns:
        (N,) distances; 0 for equal rows, 1 for rows that share no label.

    >>> js_distance(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    array([1.])
    """
    middle = (p + q) / 2
    divergence = (_bits(p, middle) + _bits(q, middle)) / 2
    return np.asarray(np.sqrt(divergence.clip(0, 1)))


def agreement(logits: Logits, teacher_logits: Logits) -> float:
    """Share of rows that student and teacher answer alike (Xu et al. 2021, arXiv:2109.03228).

    >>> agreement(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([[9.0, 1.0], [1.0, 0.0]]))
    0.5
    """
    _check_pair(logits, teacher_logits)
    return float((logits.argmax(axis=1) == teacher_logits.argmax(axis=1)).mean())


def probability_agreement(logits: Logits, teacher_logits: Logits) -> float:
    """Mean over rows of 1 - Jensen-Shannon distance (Xu et al. 2021, arXiv:2109.03228).

    The root is taken once and the logarithm is base 2, so the result is 0..1: 1 for equal
    probabilities, 0 when student and teacher never share a label. Symmetric.

    >>> probability_agreement(np.array([[3.0, 1.0]]), np.array([[5.0, 3.0]]))
    1.0
    """
    _check_pair(logits, teacher_logits)
    return float(1 - js_distance(softmax(logits), softmax(teacher_logits)).mean())


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """Elementwise part / whole with 0 where the whole is 0."""
    result: Floats = np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)
    return result


def _bits(p: Floats, q: Floats) -> Floats:
    """Row-wise KL(p || q) in bits; q must be positive where p is. Exactly 0 for equal rows."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=-1))


def check(logits: Logits, labels: Labels) -> None:
    """Refuse empty sets, shapes that do not fit and labels outside 0..K-1."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise ValueError(f"need (N, K) logits and (N,) labels, got {logits.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, got {labels.min()}..{labels.max()}")


def _check_pair(logits: Logits, teacher_logits: Logits) -> None:
    """Refuse logits of different rows or labels."""
    if logits.ndim != 2 or logits.shape != teacher_logits.shape or not logits.size:
        raise ValueError(f"need two (N, K) arrays alike, got {logits.shape} and {teacher_logits.shape}")
