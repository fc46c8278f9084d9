"""What a profile may not ask of its task, refused when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from squeeze.errors import ProfileError
from squeeze.profile import parse

MULTI = {"problem_type": "multi_label_classification", "labels": ["a", "b"]}
NUMBERS = {"problem_type": "regression", "labels": ["a", "b"]}
PHASE = {"name": "p", "losses": [{"name": "logit_mse"}]}


def profile(task: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "task": task,
        "data": {"train": "a.csv", "validation": "b.csv", "test": "c.csv"},
        "teacher": {"model": "builtin:minilm-l6", "finetune": {}},
        "distil": {"phases": [PHASE]},
        "export": {},
        "bench": {},
        **sections,
    }


@pytest.mark.parametrize(
    ("task", "sections", "message"),
    [
        (MULTI, {"budget": {"accuracy": 0.5}}, "[budget] accuracy: no score of multi_label_classification"),
        (
            NUMBERS,
            {"budget": {"scores": {"micro_f1": 0.5}}},
            "micro_f1: no score of regression",
        ),
        (NUMBERS, {"budget": {"recall": {"a": 0.5}}}, "[budget] recall: regression has no labels to find"),
        (
            MULTI,
            {"quantize": {"against": "labels"}},
            "cross_entropy does not fit the task's outputs; try binary_cross_entropy",
        ),
        (
            MULTI,
            {"search": {"score": {"diswot": 1.0}}},
            "diswot needs one label a text, and [task] problem_type is multi_label_classification",
        ),
        (NUMBERS, {"distil": {"phases": [{"name": "p", "losses": [{"name": "kl"}]}]}}, "kl does not fit"),
    ],
)
def test_what_the_task_does_not_have_is_refused(task, sections, message):
    with pytest.raises(ProfileError) as caught:
        parse(profile(task, **sections), "x.toml", Path())
    assert message in caught.value.message


@pytest.mark.parametrize("task", [MULTI, NUMBERS])
def test_what_it_has_is_accepted(task):
    score = "micro_f1" if task is MULTI else "rmse"
    sections = {"budget": {"scores": {score: 0.5}}, "quantize": {"method": "ptq", "against": "labels"}}
    assert parse(profile(task, **sections), "x.toml", Path()).budget is not None
