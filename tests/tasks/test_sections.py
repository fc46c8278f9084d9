"""`[task]`: which section is read, and what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from squeeze.schema import Frozen
from squeeze.tasks import METRICS, TASKS, AnyTaskSection, task_of
from squeeze.tasks.text_classification.task import SingleLabel


class Holder(Frozen):
    task: AnyTaskSection


def section(**settings):
    return Holder.parse({"task": settings}).task


def test_one_label_a_text_is_the_default():
    found = section(labels=["a", "b"])
    assert isinstance(task_of(found), SingleLabel)
    assert found.problem_type == "single_label_classification"
    assert Holder.parse(Holder(task=found).plain()).task == found


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_found_by_its_problem_type(name):
    found = section(problem_type=name, labels=["a", "b"])
    assert type(task_of(found)) is TASKS[name]
    assert TASKS[name].primary in TASKS[name].metrics
    assert set(TASKS[name].metrics) <= set(METRICS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"problem_type": "multi", "labels": ["a", "b"]}, "regression"),
        ({"labels": ["a", "a"]}, "labels stand twice: a"),
        ({"labels": ["a"]}, "at least 2"),
        ({"labels": ["a", "b"], "threshold": 0.5}, "threshold"),
        ({"problem_type": "regression", "labels": ["a"], "separator": ";"}, "separator"),
        ({"problem_type": "regression", "labels": []}, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        section(**settings)
