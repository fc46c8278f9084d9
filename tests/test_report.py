"""Reports: the right figure in the right cell, in every form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from squeeze.artifact import Artifact
from squeeze.budget import BudgetSection
from squeeze.cli import main
from squeeze.core.metrics import Quality
from squeeze.errors import Corrupt, UsageError
from squeeze.report import ModelRow, RunReport, collect, to_markdown, to_text
from squeeze.report.collecting import with_retention
from squeeze.report.coverage import LIMITS, NOTHING, coverage, outcome
from squeeze.report.teacher_time import of_all, of_one
from squeeze.stages.bench.stage import TeacherTime
from squeeze.stages.gate.stage import Check, GateResult
from squeeze.targets.measurement import Estimate
from squeeze.tasks import METRICS


def quality(macro_f1: float, recall: tuple[float, ...] = (0.5, 0.75)) -> Quality:
    return Quality(
        rows=10,
        primary="macro_f1",
        scores={
            "accuracy": macro_f1 + 0.01,
            "macro_f1": macro_f1,
            "ece": 0.025,
            "probability_agreement": 0.9,
        },
        recall=recall,
    )


TEACHER_TIME = TeacherTime(
    runtime="fp32 ONNX",
    size_bytes=90_000_000,
    p50_ms=Estimate(value=9.614),
    p95_ms=Estimate(value=11.0),
    calls=40,
    speedups={"fp32": Estimate(value=0.96), "int8-dynamic": Estimate(value=18.36, low=17.5, high=19.2)},
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
        problem_type="single_label_classification",
        labels=("no", "yes"),
        splits=("test", "validation", "far"),
        rows=tuple(with_retention(rows)),
        teacher_time=TEACHER_TIME,
        gate=GateResult(verdict="fail", form="int8-dynamic", checks=checks, targets=("cpu",)),
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
    assert row["prob. agreement"] == "90.0"
    assert (row["size MB"], row["p50 ms"], row["p95 ms"], row["embedding"]) == ("3.46", "0.500", "0.750", "-")


def test_in_a_terminal_it_is_drawn(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    text = to_text(report())
    assert "95.0" in text
    assert "FAIL" in text
    assert "| model" not in text


def test_warnings_are_in_every_form(monkeypatch):
    lines = ("train: column 'a <b>' holds text and is not used", "teacher ./x: an order\nis assumed")
    found = report().model_copy(update={"warnings": lines})
    end = [line for line in to_markdown(found).splitlines() if line.startswith("- warning: ")]
    assert len(end) == 2
    assert end[0].startswith("- warning: train: column 'a ")
    assert "<b>" not in end[0]
    assert found.plain()["warnings"] == list(lines)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    assert "warning: train: column 'a <b>' holds text" in to_text(found)


def test_elsewhere_it_is_markdown():
    assert to_text(report()) == to_markdown(report()).rstrip("\n")


def judged(*checks: tuple[str, str], targets: tuple[str, ...] = ("cpu",)) -> RunReport:
    made = tuple(
        Check(name=name, value=1.0, limit=1.0, unit="", verdict=verdict)  # type: ignore[arg-type]
        for name, verdict in checks
    )
    gate = GateResult(verdict="pass", form="fp32", checks=made, targets=targets)
    return report().model_copy(update={"gate": gate})


def test_a_verdict_names_what_it_covers_and_what_it_does_not():
    found = judged(("retention", "pass"), ("recall.on hold", "pass"))
    assert list(coverage(found)) == [
        "Judged: quality, recall of each label of fp32.",
        "Not judged, because the budget sets no limit: latency, load time, peak memory, size.",
    ]
    names = ("load_ms", "rss_mb", "size_mb", "accuracy", "recall.yes")
    passes = ((name, "pass") for name in names)
    found = judged(("p95_ms on cpu", "inconclusive"), *passes, targets=("cpu", "gpu"))
    assert list(coverage(found)) == [
        "Judged: latency, load time, peak memory, size, quality, recall of each label of fp32, "
        "timed on cpu and gpu only.",
        "Not decided, because the figures are too noisy: p95_ms on cpu.",
    ]
    (nothing,) = coverage(report().model_copy(update={"gate": None}))
    assert nothing == "Nothing was judged: the run has no budget, or ended before the gate."


def test_each_limit_of_a_budget_is_in_the_coverage():
    settings = {"form", "target", "confidence", "scores"}
    limits = {key for keys in LIMITS.values() for key in keys}
    assert limits == (set(BudgetSection.model_fields) - settings) | set(METRICS)


def test_an_outcome_names_the_limits():
    def of(*checks: tuple[str, str]) -> str:
        gate = judged(*checks).gate
        assert gate is not None
        return outcome(gate)

    passes = (("p50_ms", "pass"), ("size_mb", "pass"))
    assert of(*passes) == "fp32 keeps every limit of its budget: p50_ms, size_mb."
    assert of(*passes, ("p95_ms", "inconclusive")) == "fp32: p95_ms could not be decided."
    assert of(("p95_ms", "inconclusive"), ("size_mb", "fail"), ("agreement", "fail")) == (
        "fp32 misses size_mb, agreement."
    )


def test_the_teacher_is_compared_as_it_was_timed():
    turns = "fp32 ONNX, timed in turns"
    assert of_one(TEACHER_TIME, "fp32") == f"1.0 times as fast as your teacher's 9.61 ms ({turns})"
    assert of_one(TEACHER_TIME, "int4-weight") == ""
    several = TEACHER_TIME.model_copy(update={"members": 3, "runtime": "PyTorch"})
    assert of_one(several, "int8-dynamic") == (
        "18 times as fast as your teacher's 9.61 ms (the first of 3 teachers, PyTorch, not timed in turns)"
    )
    slowed = TEACHER_TIME.model_copy(update={"disturbed": True})
    assert of_one(slowed, "int8-dynamic") == (
        f"up to 18 times as fast as your teacher's 9.61 ms ({turns} while other programs slowed it)"
    )
    assert of_all(TEACHER_TIME) == (
        f"The teacher takes 9.61 ms at the median ({turns}): fp32 is 1.0 times as fast, "
        "int8-dynamic is 18 times as fast (18 to 19)."
    )


def test_json_can_be_read_again(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report().plain()))
    assert RunReport.read(path) == report()
    path.write_text(json.dumps({**report().plain(), "version": 1}))
    with pytest.raises(UsageError, match="not a run report of version 2"):
        RunReport.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        RunReport.read(tmp_path / "none.json")


def test_a_run_without_figures_has_an_empty_report():
    empty = collect("x", {})
    assert (empty.rows, empty.gate) == ((), None)
    assert to_markdown(empty) == f"# x\n\n- {NOTHING}\n"


def test_without_a_teacher_there_is_nothing_to_retain():
    (row,) = with_retention([ModelRow(name="student (torch)", quality={"test": quality(0.8)})])
    assert row.retention is None
    zero = with_retention([ModelRow(name="teacher", quality={"test": quality(0.0)})])
    assert zero[0].retention is None


TEACHER = {
    "family": "bert",
    "layers": 6,
    "hidden": 384,
    "heads": 12,
    "parameters": 30,
    "embedding_parameters": 20,
    "size_bytes": 120,
    "quality": {"test": quality(0.8).plain()},
    "seconds": 1.0,
}
EXPORT = {
    "forms": {
        "int8-dynamic": {
            "file": "model.int8.onnx",
            "size_bytes": 40,
            "parity": {
                "source": "fp32",
                "rows": 4,
                "max_abs": 0.1,
                "mean_abs": 0.1,
                "spread": 0.0,
                "agreement": 1.0,
                "metric_drop": 0.0,
            },
            "quality": {"test": quality(0.6).plain()},
        }
    },
    "tokenizer_bytes": 2,
    "lengths": [3, 4],
}


def artifact(kind: str, result: dict) -> Artifact:
    manifest = {"result": result, "config": {"task": {"labels": ["no", "yes"]}}}
    return Artifact(kind, Path("/none"), "0" * 64, manifest)


def test_figures_come_from_the_results_of_the_stages():
    found = collect("x", {"teacher": artifact("teacher", TEACHER), "bundle": artifact("bundle", EXPORT)})
    teacher, small = found.rows
    assert (teacher.name, teacher.other_parameters, teacher.retention) == ("teacher", 10, 1.0)
    assert (small.name, small.size_bytes, small.p50_ms) == ("int8-dynamic", 42, None)
    assert small.retention == pytest.approx(0.75)
    assert found.labels == ("no", "yes")
    assert found.warnings == ()


def test_warnings_come_from_every_stage_in_their_order():
    data = artifact("dataset", {"splits": {}, "warnings": ["few rows", "no music"]})
    teacher = artifact("teacher", {**TEACHER, "warnings": ["an order is assumed"]})
    found = collect("x", {"dataset": data, "teacher": teacher})
    assert found.warnings == ("few rows", "no music", "an order is assumed")


MOMENTS = {"before": 0.75, "rounded": 0.6, "quality": 0.74}


def pruned(source: str) -> Artifact:
    moment = {"heads": [2, 1], "neurons": [16, 8], "hidden": 8, "pieces": 90, "parameters": 12}
    moment |= {"embedding_parameters": 8, "size_bytes": 48, "predicted_ms": 0.75}
    whole = {**moment, "parameters": 20, "quality": {"test": quality(0.75).plain()}}
    result = {
        "source": source,
        "method": "taylor",
        "before": whole,
        "cut": {**moment, "quality": {"test": quality(0.5).plain()}},
        "layers": [0, 1],
        "parameters": 12,
        "embedding_parameters": 8,
        "size_bytes": 50,
        "sparsity": {"pattern": "2:4", "weights": 4000, "zeros": 0.5},
        "pool": {"labelled": 1, "unlabelled": 0, "augmented": 0}
        | {"replaced_tokens": 0, "dropped_tokens": 0, "spliced_texts": 0},
        "cache": {"texts": 1, "computed": 0, "bytes": 0, "seconds": 0.0},
        "phases": [],
        "quality": {"test": quality(0.7).plain()},
        "transformers_folder": False,
        "seconds": 1.0,
    }
    found = artifact("encoder", result)
    return Artifact("encoder", found.path, found.digest, {**found.manifest, "stage": "prune"})


def test_a_quantized_model_stands_beside_the_float_one():
    result = {
        "scheme": "int8-static",
        "method": "qat",
        "against": "teacher",
        "candidates": [],
        "keep": ["head.dense"],
        "sensitivity": {},
        **{name: {"test": quality(f1).plain()} for name, f1 in MOMENTS.items()},
        "trained": True,
        "parameters": 20,
        "embedding_parameters": 8,
        "size_bytes": 80,
        "pool": {"labelled": 1, "unlabelled": 0, "augmented": 0}
        | {"replaced_tokens": 0, "dropped_tokens": 0, "spliced_texts": 0},
        "cache": None,
        "phases": [],
        "transformers_folder": False,
        "seconds": 1.0,
    }
    made = artifact("encoder", result)
    encoder = Artifact("encoder", made.path, made.digest, {**made.manifest, "stage": "quantize"})
    found = collect("x", {"encoder": encoder, "bundle": artifact("bundle", EXPORT)})
    assert [row.name for row in found.rows] == ["student (torch)", "int8-static (torch)", "int8-dynamic"]
    assert [row.other_parameters for row in found.rows] == [12, 12, 12]
    text = to_markdown(found)
    assert "Quantized to int8-static by qat" in text
    assert [f"{points:.1f}" in text for points in (75.0, 60.0, 74.0)] == [True] * 3
    assert "trained against teacher" in text
    assert "Float: head.dense." in text


def test_a_pruned_model_stands_beside_what_it_was_and_sparsity_is_called_no_speed():
    found = collect("x", {"encoder": pruned("student"), "bundle": artifact("bundle", EXPORT)})
    assert [row.name for row in found.rows] == ["student (torch)", "pruned (torch)", "int8-dynamic"]
    assert [row.other_parameters for row in found.rows] == [12, 4, 4]
    text = to_markdown(found)
    assert "| recovered |  70.0 |" in text
    assert "| cut       |  50.0 |" in text
    assert "50.0 % of 4,000 weights are zero (2:4)" in text
    assert "unstructured sparsity gives no speed in ONNX Runtime" in text
    assert [row.name for row in collect("x", {"encoder": pruned("teacher")}).rows] == ["pruned (torch)"]


def test_a_result_of_another_version_is_refused():
    with pytest.raises(Corrupt, match="not a TeacherResult of this version"):
        collect("x", {"teacher": artifact("teacher", {**TEACHER, "extra": 1})})


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 1), ("inconclusive", 5)])
def test_gate_takes_the_report_of_a_run(verdict, code, tmp_path, capsys):
    found = report()
    assert found.gate is not None
    checks = tuple(check.model_copy(update={"verdict": verdict}) for check in found.gate.checks)
    gate = found.gate.model_copy(update={"verdict": verdict, "checks": checks})
    judged = found.model_copy(update={"gate": gate})
    path = tmp_path / "report.json"
    path.write_text(json.dumps(judged.plain()))
    assert main(["gate", str(path)]) == code
    assert f"verdict on int8-dynamic: {verdict}" in capsys.readouterr().out
    assert main(["gate", str(path), "--json"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict
