"""Single-label text classification: softmax over the labels, macro-F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from squeeze.core import metrics
from squeeze.core.metrics import Metric, Quality
from squeeze.data.looks import alike, label_lines
from squeeze.data.table import Label
from squeeze.data.wording import shown
from squeeze.tasks.base import AnswerKind, Labels, Outputs, Prediction, State, TaskSection
from squeeze.tasks.labels import LEAST_PER_LABEL, LabelledTask

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LabelPrediction", "SingleLabel", "SingleLabelSection"]


class SingleLabelSection(TaskSection):
    """The `[task]` section of single-label classification."""

    problem_type: Literal["single_label_classification"] = "single_label_classification"
    """what a text has: one label"""
    labels: tuple[str, ...] = Field(min_length=2, max_length=10_000)
    """label names as they stand in the data; their order is the order of the model's outputs"""


class LabelPrediction(Prediction):
    """The label of one text."""

    label: str
    probability: float
    """of the label, 0..1"""
    probabilities: Mapping[str, float]
    """of all labels, in the order of the model's outputs"""

    def cells(self) -> tuple[str, ...]:
        """The label and its probability."""
        return self.label, f"{self.probability:.3f}"


@dataclass(frozen=True)
class SingleLabel(LabelledTask):
    """One label a text."""

    Section: ClassVar[type[TaskSection]] = SingleLabelSection
    answers: ClassVar[AnswerKind] = "softmax"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy"),
        "macro_f1": Metric("macro-F1"),
        "ece": Metric("ECE", better=-1),
        "agreement": Metric("agreement"),
        "probability_agreement": Metric("prob. agreement"),
    }
    primary: ClassVar[str] = "macro_f1"
    title: ClassVar[str] = "Text classifier"

    def names(self, label: Label) -> tuple[str, ...]:
        """The one label."""
        return (str(label),)

    def train_problems(self, name: str, labels: Sequence[Label]) -> list[str]:
        """Too few rows, one class, or a label without rows."""
        present = [label for label, count in self.counts(labels).items() if count]
        if len(present) == 1 and len(labels) >= LEAST_PER_LABEL * len(self.section.labels):
            rows = self.counts(labels)[present[0]]
            return [f"{name}: all {rows} rows with a known label have {shown(present[0])}"]
        return super().train_problems(name, labels)

    def looks(self, labels: Sequence[Label], *, partial: bool) -> list[str]:
        """Signs of several labels a text, of numbers, or of another column; names that look alike."""
        return [*label_lines([str(label) for label in labels], partial=partial), *alike(self.section.labels)]

    def strata(self, labels: Sequence[Label]) -> list[str]:
        """The label itself."""
        return [str(label) for label in labels]

    def encode(self, labels: Sequence[Label], state: State) -> NDArray[np.int64]:  # noqa: ARG002
        """(N,) class numbers in the order of `labels`."""
        place = {label: number for number, label in enumerate(self.section.labels)}
        return np.array([place[str(label)] for label in labels], dtype=np.int64)

    def scores(
        self,
        outputs: Outputs,
        labels: Labels,
        teacher: Outputs | None = None,
        state: State | None = None,  # noqa: ARG002
    ) -> Quality:
        """Accuracy, macro-F1, calibration, recall by label, and agreement with the teacher."""
        metrics.check(outputs, labels)
        counts = metrics.confusion(outputs.argmax(axis=1), labels, classes=outputs.shape[1])
        scores = {
            "accuracy": metrics.accuracy(outputs, labels),
            "macro_f1": metrics.macro_f1(counts),
            "ece": metrics.calibration_error(outputs, labels),
        }
        if teacher is not None:
            scores["agreement"] = metrics.agreement(outputs, teacher)
            scores["probability_agreement"] = metrics.probability_agreement(outputs, teacher)
        recall = tuple(metrics.per_class(counts).recall.tolist())
        return Quality(rows=len(labels), primary=self.primary, scores=scores, recall=recall)

    def row_scores(self, outputs: Outputs, labels: Labels) -> NDArray[np.float64]:
        """1 where the label is right, else 0."""
        return np.asarray(outputs.argmax(axis=1) == labels, dtype=np.float64)

    def agreement(self, one: Outputs, other: Outputs, state: State) -> float:  # noqa: ARG002
        """Share of texts with the same label."""
        return metrics.agreement(one, other)

    def decode(
        self,
        row: NDArray[np.float32],
        state: State,  # noqa: ARG002
        *,
        tokens: int,
        cut: bool,
    ) -> LabelPrediction:
        """The label of highest probability."""
        probabilities = metrics.softmax(row)
        best = int(probabilities.argmax())
        return LabelPrediction(
            label=self.section.labels[best],
            probability=float(probabilities[best]),
            probabilities=dict(zip(self.section.labels, probabilities.tolist(), strict=True)),
            tokens=tokens,
            cut=cut,
        )

    def explain(self, state: State) -> str:  # noqa: ARG002
        """Softmax."""
        return "Their softmax is the probability of each label."

    def loss(self, outputs: Tensor, labels: Tensor, state: State) -> Tensor:  # noqa: ARG002
        """Cross entropy."""
        from squeeze.tasks.text_classification.heads import loss

        return loss(outputs, labels)
