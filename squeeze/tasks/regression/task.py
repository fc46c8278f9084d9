"""Regression: one or more numbers a text, standardised for training; mean Pearson correlation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from squeeze.core.metrics import Metric, Quality
from squeeze.data.table import Label, LabelCells, Table
from squeeze.data.wording import rows_text, shown
from squeeze.tasks.base import AnswerKind, Labels, Outputs, Prediction, State, Task, TaskSection
from squeeze.tasks.regression import metrics

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Regression", "RegressionSection", "ValuesPrediction"]

LEAST = 10
"""Training rows below which nothing can be learned."""
NEAR = 0.25
"""Standard deviations of the training values within which two answers count as the same."""


class RegressionSection(TaskSection):
    """The `[task]` section of regression."""

    problem_type: Literal["regression"]
    """what a text has: one or more numbers"""


class ValuesPrediction(Prediction):
    """The values of one text."""

    values: Mapping[str, float]
    """in the units of the data, in the order of the model's outputs"""

    def cells(self) -> tuple[str, ...]:
        """The values by name."""
        return (", ".join(f"{name} {value:.4g}" for name, value in self.values.items()),)


class Regression(Task):
    """One or more numbers a text."""

    Section: ClassVar[type[TaskSection]] = RegressionSection
    answers: ClassVar[AnswerKind] = "real"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "pearson": Metric("Pearson"),
        "spearman": Metric("Spearman"),
        "rmse": Metric("RMSE", better=-1, is_share=False),
        "agreement": Metric("agreement"),
    }
    primary: ClassVar[str] = "pearson"
    title: ClassVar[str] = "Text regression"
    needs: ClassVar[Mapping[str, bool]] = {"mean": True, "scale": True}

    def cells(self) -> LabelCells:
        """One column for each target, called as it is."""
        return LabelCells(self.section.labels, "numbers")

    def label_problems(self, name: str, table: Table) -> list[str]:
        """Cells that are no finite number."""
        wrong: dict[str, list[int]] = {}
        example: dict[str, str] = {}
        for row, label in zip(table.rows, table.labels or (), strict=True):
            for target, cell in zip(self.section.labels, label, strict=True):
                if _number(cell) is None:
                    wrong.setdefault(target, []).append(row)
                    example.setdefault(target, cell)
        return [
            f"{name}: {target} is no finite number, such as {shown(example[target])}, in {rows_text(rows)}"
            for target, rows in wrong.items()
        ]

    def train_problems(self, name: str, labels: Sequence[Label]) -> list[str]:
        """Too few rows, or a target that never varies."""
        if len(labels) < LEAST:
            return [f"{name}: {len(labels)} rows, at least {LEAST} are needed"]
        columns = zip(*labels, strict=True)
        constant = [t for t, cells in zip(self.section.labels, columns, strict=True) if len(set(cells)) == 1]
        return [f"{name}: all rows have the same {', '.join(constant)}"] if constant else []

    def looks(self, labels: Sequence[Label], *, partial: bool) -> list[str]:
        """Targets with two values, which look like classes."""
        if len(labels) < LEAST or partial:
            return []
        columns = zip(*labels, strict=True)
        few = [t for t, cells in zip(self.section.labels, columns, strict=True) if len(set(cells)) == 2]
        return [f"{', '.join(few)} has two values: looks like single_label_classification"] if few else []

    def state(self, train: Sequence[Label]) -> State:
        """Mean and standard deviation of every target, in the units of the data."""
        values = _values(train)
        scale = values.std(axis=0)
        return {
            "mean": tuple(values.mean(axis=0).tolist()),
            "scale": tuple(np.where(scale > 0, scale, 1.0).tolist()),
        }

    def encode(self, labels: Sequence[Label], state: State) -> NDArray[np.float32]:
        """(N, K) values less the mean, divided by the scale."""
        values = (_values(labels) - np.asarray(state["mean"])) / np.asarray(state["scale"])
        return np.asarray(values, dtype=np.float32)

    def scores(
        self, outputs: Outputs, labels: Labels, teacher: Outputs | None = None, state: State | None = None
    ) -> Quality:
        """Pearson and Spearman correlation and RMSE, each the mean over targets; agreement.

        RMSE is in the units of the data where there is a state, else in standard deviations.
        """
        scale = np.asarray((state or {}).get("scale", 1.0))
        scores = metrics.scores(outputs, labels, scale)
        if teacher is not None:
            scores["agreement"] = self.agreement(outputs, teacher, state or {})
        return Quality(rows=len(labels), primary=self.primary, scores=scores)

    def row_scores(self, outputs: Outputs, labels: Labels) -> NDArray[np.float64]:
        """Less the mean squared error of each row, in standard deviations."""
        return np.asarray(-np.square(outputs.astype(np.float64) - labels).mean(axis=1))

    def agreement(self, one: Outputs, other: Outputs, state: State) -> float:  # noqa: ARG002
        """Share of values that differ by at most a quarter of a standard deviation."""
        return float((np.abs(one.astype(np.float64) - other) <= NEAR).mean())

    def decode(self, row: NDArray[np.float32], state: State, *, tokens: int, cut: bool) -> ValuesPrediction:
        """The values in the units of the data."""
        values = row.astype(np.float64) * np.asarray(state["scale"]) + np.asarray(state["mean"])
        named = dict(zip(self.section.labels, values.tolist(), strict=True))
        return ValuesPrediction(values=named, tokens=tokens, cut=cut)

    def explain(self, state: State) -> str:
        """Mean and scale."""
        mean, scale = (np.asarray(state[name]).tolist() for name in ("mean", "scale"))
        scales = zip(self.section.labels, mean, scale, strict=True)
        values = "; ".join(f"{name} = {offset:.6g} + {step:.6g} x output" for name, offset, step in scales)
        return f"They are standardised values: {values}."

    def loss(self, outputs: Tensor, labels: Tensor, state: State) -> Tensor:  # noqa: ARG002
        """Mean squared error."""
        from squeeze.tasks.regression.heads import loss

        return loss(outputs, labels)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _values(labels: Sequence[Label]) -> NDArray[np.float64]:
    """(N, K) numbers of checked cells."""
    return np.array([[float(cell) for cell in label] for label in labels], dtype=np.float64)
