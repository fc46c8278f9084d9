"""Whole comparisons in rounds, with real processes: reference units, other machines, relative budgets."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from squeeze.bench import BenchOptions, BenchReport, Judgement, bench, judge, parse_budget
from squeeze.errors import UsageError
from squeeze.progress import Silent
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny

QUICK: dict[str, Any] = {"min_runs": 20, "min_seconds": 0.0, "max_seconds": 10.0, "starts": 1}


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """A stand-in for the reference workload, the same file whenever it is asked for."""
    path = tiny.classifier(tmp_path / "reference.onnx", hidden=64, layers=2, shape=(1, 32))
    made = ModuleType("squeeze.targets.reference")
    made.subject = lambda: Subject(path, "reference", vocabulary=10, fixed=True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "squeeze.targets.reference", made)
    return path


def on_another_machine(path: Path, target: Path) -> Path:
    report = BenchReport.read(path)
    moved = [
        each.model_copy(update={"environment": {**each.environment, "cpu": "another"}})
        for each in report.measurements
    ]
    target.write_text(report.model_copy(update={"measurements": tuple(moved)}).model_dump_json())
    return target


def passed_unless_disturbed(found: Judgement) -> bool:
    """Nothing failed, and what did not pass was taken back because of others on this machine."""
    return all(
        each.verdict == "pass" or (each.verdict == "inconclusive" and "other program" in each.note)
        for each in found.checks
    )


def test_reference_units_and_another_machine(tmp_path, reference):
    model = tiny.classifier(tmp_path / "model.onnx", hidden=64, layers=4)
    budgets = [parse_budget("p50<=100ref")]
    report = bench([model], BenchOptions(within=120.0, **QUICK), Silent(), budgets)
    assert (report.reference, report.baseline) == ("reference", None)
    assert report.comparisons == ()
    assert report.rounds is not None
    assert report.rounds.ended == "decided"
    assert [each.name for each in judge(report, budgets).checks] == ["p50"]
    assert passed_unless_disturbed(judge(report, budgets))
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    there = on_another_machine(path, tmp_path / "there.json")
    relative = [parse_budget("p50<=3x")]
    again = bench([model], BenchOptions(baseline=there, within=120.0, **QUICK), Silent(), relative)
    assert again.comparisons[0].through_reference
    assert again.comparisons[0].other_machine
    assert passed_unless_disturbed(judge(again, relative))


def test_another_machine_without_reference_or_with_another_one(tmp_path, reference):
    model = tiny.classifier(tmp_path / "model.onnx", hidden=64, layers=4)
    path = tmp_path / "report.json"
    path.write_text(bench([model], BenchOptions(**QUICK), Silent()).model_dump_json())
    there = on_another_machine(path, tmp_path / "there.json")
    relative = [parse_budget("p50<=3x")]
    again = bench([model], BenchOptions(baseline=there, **QUICK), Silent(), relative)
    assert again.rounds is None
    assert judge(again, relative).verdict == "inconclusive"
    options = BenchOptions(reference=True, within=8.0, **QUICK)
    path.write_text(bench([model], options, Silent()).model_dump_json())
    on_another_machine(path, there)
    tiny.classifier(reference, hidden=64, layers=3, shape=(1, 32))  # another version
    again = bench([model], BenchOptions(baseline=there, within=8.0, **QUICK), Silent(), relative)
    assert not again.comparisons[0].through_reference
    assert judge(again, relative).verdict == "inconclusive"


def test_a_relative_budget_ends_a_comparison(tmp_path):
    slow = tiny.classifier(tmp_path / "slow.onnx", hidden=256, layers=6)
    fast = tiny.classifier(tmp_path / "fast.onnx")
    budgets = [parse_budget(text) for text in ("p50<=0.8x", "speedup=1.1x", "load<=50x", "p95=1s")]
    report = bench([fast], BenchOptions(baseline=slow, within=120.0, **QUICK), Silent(), budgets)
    assert report.rounds is not None
    assert report.rounds.ended == "decided"
    assert 8 <= report.rounds.count < 16  # the least that can decide; a disturbed round may ask for more
    assert len(report.measurements[1].loads_ms) >= report.rounds.count
    found = judge(report, budgets)
    assert passed_unless_disturbed(found)
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    assert judge(BenchReport.read(path), budgets) == found


def test_what_can_never_be_judged_is_refused_before_measuring(tmp_path):
    none = [tmp_path / "none.onnx"]
    with pytest.raises(UsageError, match="no baseline that it is a multiple of") as caught:
        bench(none, BenchOptions(), Silent(), [parse_budget("p50<=1.05x")])
    assert "--baseline" in caught.value.hint
    with pytest.raises(UsageError, match="runs on the target cpu only"):
        bench(none, BenchOptions(target="gpu"), Silent(), [parse_budget("p50<=2ref")])
    with pytest.raises(UsageError, match="runs on the target cpu only"):
        bench(none, BenchOptions(target="gpu", reference=True), Silent())
