"""What a task is to the rest of squeeze. Each task is a folder beside this file and one entry in ``TASKS``.

Shapes: N rows, K outputs. Outputs are (N, K) floats as the model gives them: logits, or values of a
regression. Labels are (N,) class numbers, or (N, K) numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from squeeze.core.metrics import Metric, Quality, sigmoid, softmax
from squeeze.data.table import Label, LabelCells, Table
from squeeze.schema import Frozen

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnswerKind", "Labels", "Outputs", "Prediction", "State", "Task", "TaskSection"]

AnswerKind: TypeAlias = Literal["softmax", "sigmoid", "real"]
"""How outputs become answers: one class, a probability for each label, or values as they are."""
Outputs: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[Any]
State: TypeAlias = Mapping[str, float | tuple[float, ...]]
"""What was fitted and is needed to read the outputs, by name; it lies in the bundle."""


class TaskSection(Frozen):
    """What every `[task]` section has; each task's own section extends it."""

    problem_type: str

    type: Literal["text-classification"] = "text-classification"
    """kind of task"""
    labels: tuple[str, ...] = Field(min_length=1, max_length=10_000)
    """names of the model's outputs, in their order"""
    label_map: Mapping[str, str] = Field(default_factory=dict)
    """the teacher's label, by name or number, to one of `labels`; several may have one; `"*"`: all others"""
    max_length: int = Field(default=128, ge=8, le=4096)
    """longest input in tokens; longer texts are cut"""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        twice = sorted(name for name, count in Counter(self.labels).items() if count > 1)
        if twice:
            raise ValueError(f"labels stand twice: {', '.join(twice)}")
        return self


class Prediction(Frozen):
    """The answer for one text; each task adds its own fields."""

    tokens: int
    """tokens the model saw"""
    cut: bool
    """whether the text was longer than the model reads"""

    def cells(self) -> tuple[str, ...]:
        """The answer in words, for a line of a terminal."""
        raise NotImplementedError


@dataclass(frozen=True)
class Task(ABC):
    """One task, bound to its `[task]` section.

    Attributes:
        Section: its `[task]` table.
        answers: how its outputs become answers.
        metrics: every score that ``scores`` gives, in the order in which reports show them.
        primary: key of the score that picks epochs, and of which retention is a share.
        title: what a model of it is called on a card.
        needs: what a state must hold for outputs to be read: one number, or (True) one for each output.
    """

    Section: ClassVar[type[TaskSection]]
    answers: ClassVar[AnswerKind]
    metrics: ClassVar[Mapping[str, Metric]]
    primary: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[Mapping[str, bool]] = {}

    section: TaskSection

    def cells(self) -> LabelCells:
        """How the labels stand in a source."""
        return LabelCells()

    def hint(self) -> str:
        """What the labels are held against."""
        return f"[task] labels: {', '.join(self.section.labels)}"

    @abstractmethod
    def label_problems(self, name: str, table: Table) -> list[str]:
        """What no row may have, one line each."""

    @abstractmethod
    def train_problems(self, name: str, labels: Sequence[Label]) -> list[str]:
        """Why nothing can be learned from these labels, one line each."""

    def test_warnings(self, name: str, table: Table) -> list[str]:  # noqa: ARG002
        """What a held-out split lacks, one line each."""
        return []

    def looks(self, labels: Sequence[Label], *, partial: bool) -> list[str]:  # noqa: ARG002
        """Signs that the labels are of another task, one line each; `partial`: of the first rows only."""
        return []

    def counts(self, labels: Sequence[Label]) -> dict[str, int]:  # noqa: ARG002
        """Rows by label; empty for a task without classes."""
        return {}

    def strata(self, labels: Sequence[Label]) -> list[str]:
        """(N,) one name a row; a random split gives each part its share of every name."""
        return [""] * len(labels)

    def state(self, train: Sequence[Label]) -> State:  # noqa: ARG002
        """What the labels of the training split fix, such as the scale of a regression."""
        return {}

    @abstractmethod
    def encode(self, labels: Sequence[Label], state: State) -> Labels:
        """Labels of checked rows as the numbers that a model learns."""

    def fit(self, outputs: Outputs, labels: Labels, state: State) -> State:  # noqa: ARG002
        """The state with what is fitted to a model's outputs on the validation split, such as a threshold."""
        return state

    @abstractmethod
    def scores(
        self, outputs: Outputs, labels: Labels, teacher: Outputs | None = None, state: State | None = None
    ) -> Quality:
        """Quality of one model on one labelled set.

        Args:
            outputs: (N, K), N >= 1.
            labels: of the same rows.
            teacher: (N, K) outputs of the teacher on the same rows.
            state: from ``fit``; None: it is fitted to these rows.
        """

    def activate(self, outputs: Outputs) -> NDArray[np.float64]:
        """(N, K) probabilities, or values of a regression."""
        if self.answers == "softmax":
            return softmax(outputs)
        return sigmoid(outputs) if self.answers == "sigmoid" else outputs.astype(np.float64)

    @abstractmethod
    def row_scores(self, outputs: Outputs, labels: Labels) -> NDArray[np.float64]:
        """(N,) how right each row is; more is better."""

    @abstractmethod
    def agreement(self, one: Outputs, other: Outputs, state: State) -> float:
        """Share of answers that are the same, 0..1."""

    @abstractmethod
    def decode(self, row: NDArray[np.float32], state: State, *, tokens: int, cut: bool) -> Prediction:
        """The answer of one row of outputs, (K,)."""

    @abstractmethod
    def explain(self, state: State) -> str:
        """How the outputs become answers, in a sentence for a model card."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor, state: State) -> Tensor:
        """Supervised loss, a scalar; a row without a label (-1, or NaN) is left out."""
