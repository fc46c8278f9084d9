"""What the outputs of a model stand for: one entry in ``TASKS`` and one folder a task."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import Discriminator, Tag

from squeeze.core.metrics import Metric, Quality
from squeeze.data.dataset import Dataset
from squeeze.tasks.base import AnswerKind, Labels, Outputs, Prediction, State, Task, TaskSection

__all__ = [
    "DEFAULT",
    "METRICS",
    "TASKS",
    "AnswerKind",
    "AnyTaskSection",
    "Labels",
    "Outputs",
    "Prediction",
    "State",
    "Task",
    "TaskSection",
    "qualities",
    "task_of",
]

DEFAULT = "single_label_classification"
CLASSES = {
    DEFAULT: ("text_classification", "SingleLabel"),
    "multi_label_classification": ("multi_label", "MultiLabel"),
    "regression": ("regression", "Regression"),
}
"""By `[task] problem_type`: the folder, and the class in its task.py."""

TASKS: Mapping[str, type[Task]] = {
    name: getattr(import_module(f"{__name__}.{folder}.task"), kind)
    for name, (folder, kind) in CLASSES.items()
}
METRICS: Mapping[str, Metric] = {
    key: metric for task in TASKS.values() for key, metric in task.metrics.items()
}
"""Every score of every task, in the order in which reports show them."""


def task_of(section: TaskSection) -> Task:
    """The task of a `[task]` section."""
    return TASKS[section.problem_type](section)


def qualities(
    task: Task,
    outputs: Mapping[str, Outputs],
    data: Dataset,
    teacher: Mapping[str, Outputs] | None = None,
) -> dict[str, Quality]:
    """Quality of one model by split; what is fitted is fitted on validation.

    Args:
        task: what the outputs stand for.
        outputs: (N, K) by split, validation among them.
        data: the labels.
        teacher: outputs of the teacher by split.
    """
    state = task.fit(outputs["validation"], data.splits["validation"].labels, data.state)
    return {
        name: task.scores(rows, data.splits[name].labels, None if teacher is None else teacher[name], state)
        for name, rows in outputs.items()
    }


def _problem_type(section: Any) -> str:
    """Which section is meant; it may be left out for one label a text."""
    if isinstance(section, dict):
        return str(section.get("problem_type", DEFAULT))
    return getattr(section, "problem_type", DEFAULT)  # anything else is refused as no table


if TYPE_CHECKING:
    AnyTaskSection: TypeAlias = TaskSection
else:
    AnyTaskSection = Annotated[
        Union[tuple(Annotated[task.Section, Tag(name)] for name, task in TASKS.items())],  # noqa: UP007
        Discriminator(_problem_type),
    ]
"""The `[task]` section of whichever task it names."""
