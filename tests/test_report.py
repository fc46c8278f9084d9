"""Reports: the right figure in the right cell, in every form."""

from __future__ import annotations

import json
import sys

import pytest

from squeeze.core.metrics import Quality
from squeeze.errors import UsageError
from squeeze.report import ModelRow, RunReport, collect, to_markdown, to_text
from squeeze.report.collecting import with_retention
from squeeze.stages.gate.stage import Check, GateResult


def quality(macro_f1: float, recall: tuple[float, ...] = (0.5, 0.75)) -> Quality:
    return Quality(
        rows=10,
        accuracy=macro_f1 + 0.01,
        macro_f1=macro_f1,
        recall=recall,
        ece=0.025,
        label_loyalty=None,
        probability_loyalty=0.9,
    )


def report() -> RunReport:
    rows = [
        ModelRow(
            name="teacher",
            quality={"test": quality(0.8), "validation": quality(0.7), "far": quality(0.6)},
            embedding_parameters=11_720_448,
            other_parameters=10_000_000,
            size_bytes=90_000_000,
        ),
        ModelRow(
            name="int8-dynamic",
            quality={"test": quality(0.76, (0.25, 1.0)), "validation": quality(0.7)},
            size_bytes=3_456_789,
            p50_ms=0.5,
            p95_ms=0.75,
        ),
    ]
    checks = (
        Check(name="p95_ms", value=0.75, limit=5.0, unit="ms", verdict="pass"),
        Check(name="size_mb", value=None, limit=3.0, unit="MB", verdict="fail", note="a | b"),
    )
    return RunReport(
        name="demo",
        labels=("no", "yes"),
        splits=("test", "validation", "far"),
        rows=tuple(with_retention(rows)),
        gate=GateResult(verdict="fail", form="int8-dynamic", checks=checks),
        digests={"teacher": "0" * 64},
    )


def test_markdown_is_as_reviewed(golden):
    golden("report.md", to_markdown(report()))


def test_cells_stand_under_their_headers():
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in to_markdown(report()).splitlines()
    ]
    head = next(line for line in lines if "p95 ms" in line)
    small = next(line for line in lines if line[0] == "int8-dynamic")
    row = dict(zip(head, small, strict=True))
    assert row["macro-F1"] == "76.0"
    assert row["of teacher"] == "95.0"
    assert row["label loy."] == "-"
    assert row["prob. loy."] == "90.0"
    assert (row["size MB"], row["p50 ms"], row["p95 ms"], row["embedding"]) == ("3.46", "0.500", "0.750", "-")


def test_in_a_terminal_it_is_drawn(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    text = to_text(report())
    assert "95.0" in text
    assert "FAIL" in text
    assert "| model" not in text


def test_elsewhere_it_is_markdown():
    assert to_text(report()) == to_markdown(report()).rstrip("\n")


def test_json_can_be_read_again(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report().plain()))
    assert RunReport.read(path) == report()
    path.write_text(json.dumps({**report().plain(), "version": 2}))
    with pytest.raises(UsageError, match="not a run report of version 1"):
        RunReport.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        RunReport.read(tmp_path / "none.json")


def test_a_run_without_figures_has_an_empty_report():
    empty = collect("x", {})
    assert (empty.rows, empty.gate) == ((), None)
    assert to_markdown(empty) == "# x\n"


def test_without_a_teacher_there_is_nothing_to_retain():
    (row,) = with_retention([ModelRow(name="student (torch)", quality={"test": quality(0.8)})])
    assert row.retention is None
    zero = with_retention([ModelRow(name="teacher", quality={"test": quality(0.0)})])
    assert zero[0].retention is None
