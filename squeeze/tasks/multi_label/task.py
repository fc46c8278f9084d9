"""Multi-label text classification: a sigmoid for each label, micro-F1 at a threshold fitted on validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from squeeze.core.metrics import Metric, Quality, sigmoid
from squeeze.data.looks import alike
from squeeze.data.table import Label, LabelCells
from squeeze.data.wording import listing
from squeeze.tasks.base import AnswerKind, Labels, Outputs, Prediction, State, TaskSection
from squeeze.tasks.labels import LabelledTask
from squeeze.tasks.multi_label import metrics

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LabelsPrediction", "MultiLabel", "MultiLabelSection"]

RARE = 10
"""Training rows of a label below which it is named as rare."""


class MultiLabelSection(TaskSection):
    """The `[task]` section of multi-label classification."""

    problem_type: Literal["multi_label_classification"]
    """what a text has: any number of labels"""
    separator: str = Field(default="|", min_length=1, max_length=8)
    """what stands between the labels of a text where they are one text; lists need none"""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """probability from which a label is given; fitted to the best micro-F1 on validation by default"""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: fine-tuning weighs the rows that have a label by (rows without it) / (rows with it)"""


class LabelsPrediction(Prediction):
    """The labels of one text."""

    labels: tuple[str, ...]
    """those at or above the threshold, the surest first"""
    probabilities: Mapping[str, float]
    """of all labels, each 0..1, in the order of the model's outputs"""

    def cells(self) -> tuple[str, ...]:
        """The labels with their probabilities."""
        return (", ".join(f"{label} {self.probabilities[label]:.3f}" for label in self.labels) or "-",)


class MultiLabel(LabelledTask):
    """Any number of labels a text."""

    Section: ClassVar[type[TaskSection]] = MultiLabelSection
    answers: ClassVar[AnswerKind] = "sigmoid"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "micro_f1": Metric("micro-F1"),
        "macro_f1": Metric("macro-F1"),
        "map": Metric("mAP"),
        "exact_match": Metric("exact match"),
        "agreement": Metric("agreement"),
    }
    primary: ClassVar[str] = "micro_f1"
    title: ClassVar[str] = "Multi-label text classifier"
    needs: ClassVar[Mapping[str, bool]] = {"threshold": False}

    section: MultiLabelSection

    def cells(self) -> LabelCells:
        """A list of names, or names in one text."""
        return LabelCells("labels", "list", self.section.separator)

    def names(self, label: Label) -> tuple[str, ...]:
        """The labels of one row, each once."""
        return tuple(dict.fromkeys(name for name in label if name))

    def column_question(self) -> str:
        """As for one label, and about the separator."""
        return f"is this the label column, and is {self.section.separator!r} between labels?"

    def looks(self, labels: Sequence[Label], *, partial: bool) -> list[str]:
        """Rows without a label, rare labels, one label a row, and names that look alike."""
        sizes = Counter(len(self.names(label)) for label in labels)
        lines = []
        if sizes[0]:
            lines.append(f"{sizes[0]:,} of {len(labels):,} rows have no label and teach that none applies")
        if len(labels) >= RARE and set(sizes) == {1}:
            lines.append("every row has one label: looks like single_label_classification")
        rare = [f"{label!r} {n}" for label, n in self.counts(labels).items() if 0 < n < RARE]
        if rare and not partial:
            lines.append(f"labels with fewer than {RARE} rows are hardly learned: {listing(rare)}")
        return [*lines, *alike(self.section.labels)]

    def strata(self, labels: Sequence[Label]) -> list[str]:
        """The rarest label of each row, so that rare ones reach every part."""
        counts = self.counts(labels)
        return [min(self.names(label), key=lambda part: counts.get(part, 0), default="") for label in labels]

    def state(self, train: Sequence[Label]) -> State:
        """Weights of the labels where they are asked for."""
        if self.section.class_weights == "none":
            return {}
        with_label = np.array(list(self.counts(train).values()), dtype=np.float64)
        return {"label_weights": tuple(((len(train) - with_label) / with_label.clip(1)).tolist())}

    def encode(self, labels: Sequence[Label], state: State) -> NDArray[np.float32]:  # noqa: ARG002
        """(N, K) of 0 and 1."""
        place = {label: number for number, label in enumerate(self.section.labels)}
        rows = np.zeros((len(labels), len(place)), dtype=np.float32)
        for row, label in enumerate(labels):
            rows[row, [place[part] for part in self.names(label)]] = 1
        return rows

    def fit(self, outputs: Outputs, labels: Labels, state: State) -> State:
        """The threshold with the highest micro-F1, or the profile's."""
        fixed = self.section.threshold
        threshold = metrics.best_threshold(outputs, labels) if fixed is None else fixed
        return {**state, "threshold": threshold}

    def scores(
        self, outputs: Outputs, labels: Labels, teacher: Outputs | None = None, state: State | None = None
    ) -> Quality:
        """Micro- and macro-F1, mean average precision, exact match, recall by label, agreement."""
        state = self.fit(outputs, labels, {}) if state is None else state
        given = self._given(outputs, state)
        scores, recall = metrics.scores(given, outputs, labels)
        if teacher is not None:
            scores["agreement"] = self.agreement(outputs, teacher, state)
        return Quality(rows=len(labels), primary=self.primary, scores=scores, recall=recall)

    def row_scores(self, outputs: Outputs, labels: Labels) -> NDArray[np.float64]:
        """Log-likelihood of each row's labels, mean over the labels, in nats."""
        signed = np.where(labels > 0.5, outputs, -outputs).astype(np.float64)
        return np.asarray(-np.logaddexp(0, -signed).mean(axis=1))

    def agreement(self, one: Outputs, other: Outputs, state: State) -> float:
        """Share of all (text, label) decisions that are the same at one threshold."""
        return float((self._given(one, state) == self._given(other, state)).mean())

    def decode(self, row: NDArray[np.float32], state: State, *, tokens: int, cut: bool) -> LabelsPrediction:
        """Every label whose probability reaches the threshold."""
        probabilities = sigmoid(row)
        given = np.flatnonzero(self._given(row, state))
        order = given[np.argsort(-probabilities[given], kind="stable")]
        return LabelsPrediction(
            labels=tuple(self.section.labels[k] for k in order),
            probabilities=dict(zip(self.section.labels, probabilities.tolist(), strict=True)),
            tokens=tokens,
            cut=cut,
        )

    def explain(self, state: State) -> str:
        """Sigmoid and threshold."""
        return (
            "The sigmoid of each is the probability of its label, which is given from"
            f" {state['threshold']:.4f} on."
        )

    def loss(self, outputs: Tensor, labels: Tensor, state: State) -> Tensor:
        """Binary cross entropy."""
        from squeeze.tasks.multi_label.heads import loss

        weights = state.get("label_weights")
        return loss(outputs, labels, weights if isinstance(weights, tuple | list) else None)

    def _given(self, outputs: Outputs, state: State) -> NDArray[np.bool_]:
        threshold = state["threshold"]
        assert isinstance(threshold, float)
        # Compared as logits: a probability near 1 has no digits left.
        return np.asarray(outputs >= np.float32(metrics.logit(threshold)))
