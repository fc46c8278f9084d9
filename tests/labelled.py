"""Tasks for tests, by their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from squeeze import predict as library
from squeeze.schema import Frozen
from squeeze.stages.export.parity import Validation
from squeeze.tasks import AnyTaskSection, Task, task_of
from squeeze.tasks.text_classification.task import LabelPrediction

__all__ = ["predict", "single_label", "task", "truth"]


class Holder(Frozen):
    task: AnyTaskSection


def task(problem_type: str, labels: Sequence[str] = ("a", "b"), **settings: Any) -> Task:
    """The task of a `[task]` section."""
    section = {"problem_type": problem_type, "labels": list(labels), **settings}
    return task_of(Holder.parse({"task": section}).task)


def single_label(labels: Sequence[str] = ("a", "b")) -> Task:
    """One label a text."""
    return task("single_label_classification", labels)


def predict(*arguments: Any, **settings: Any) -> list[LabelPrediction]:
    """``squeeze.predict`` of one label a text."""
    answers = library.predict(*arguments, **settings)
    assert all(isinstance(answer, LabelPrediction) for answer in answers)
    return cast("list[LabelPrediction]", answers)


def truth(labels: Any, names: int = 2) -> Validation:
    """What conversions are judged by."""
    return Validation(labels, single_label([f"c{i}" for i in range(names)]), {})
