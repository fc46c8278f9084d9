"""Who is held against whom, and what rounds are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from squeeze.budget import parse_budget
from squeeze.core.stats import Quantile
from squeeze.targets.casting import Cast, questions
from squeeze.targets.measurement import Report
from squeeze.targets.paired import Question
from squeeze.targets.subjects import Subject
from tests.measured import measurement


@pytest.fixture
def cast(tmp_path):
    """The parts of models of these names; a name that starts with `ref` is the reference workload."""

    def of(*names: str, report: Report | None = None, has_baseline: bool = False) -> Cast:
        subjects = []
        for name in names:
            path = tmp_path / name
            path.write_bytes(b"reference" if name.startswith("ref") else name.encode())
            subjects.append(Subject(path, name, fixed=name.startswith("ref")))
        return Cast.of(subjects, report, has_baseline=has_baseline)

    return of


def earlier(path: Path, digest: str) -> Report:
    old, unit = measurement("m", blocks=[[3.0] * 20] * 12), measurement("reference", blocks=[[1.5] * 20] * 12)
    return Report(measurements=(unit.model_copy(update={"sha256": digest}), old), reference="reference")


def asked(found: Cast, *texts: str):
    return questions(found, [parse_budget(text) for text in texts])


def test_relative_budgets_are_asked_and_others_are_not(cast):
    found = cast("base", "m", has_baseline=True)
    texts = ("p95=5ms", "size<=1x", "load<=1.2x", "p95<=1.05x", "speedup=2x")
    assert asked(found, *texts) == (Question(1, 0, 0.95, 1.05), Question(1, 0, 0.5, 0.5))
    assert found.judged == (1,)


def test_without_a_relative_budget_ratios_of_medians_are_asked(cast):
    assert asked(cast("a", "b", "c"), "p95=5ms") == (Question(1, 0), Question(2, 0))
    assert asked(cast("a", "ref")) == (Question(0, 1),)
    both = asked(cast("a", "b", "ref", has_baseline=True))
    assert both == (Question(1, 0), Question(1, 2))


def test_the_first_of_several_is_what_speed_is_counted_from(cast):
    assert asked(cast("a", "b"), "speedup=2x") == (Question(1, 0, 0.5, 0.5),)


def test_reference_units_are_asked_of_every_model(cast):
    found = cast("base", "m", "ref", has_baseline=True)
    assert asked(found, "p50<=1.8ref", "p50<=1.1x") == (Question(1, 2, 0.5, 1.8), Question(1, 0, 0.5, 1.1))


def test_an_earlier_report_is_asked_through_the_reference_they_share(cast, tmp_path):
    from squeeze.artifact import digest_file

    cast("ref")
    digest = digest_file(tmp_path / "ref")
    found = cast("m", "ref", report=earlier(tmp_path, digest))
    assert found.shared
    (question,) = asked(found, "p50<=1.1x")
    assert question == Question(0, 1, 0.5, 1.1, Quantile(value=2.0, low=2.0, high=2.0))
    other = cast("m", "ref", report=earlier(tmp_path, "f" * 64))
    assert not other.shared
    assert asked(other, "p50<=1.1x") == (Question(0, 1),)
    several = cast("m", "n", report=earlier(tmp_path, digest))
    assert asked(several, "p50<=1.1x") == (Question(1, 0),)
