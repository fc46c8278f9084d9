"""The library behind `squeeze bench`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze import bench_formats
from squeeze.bench import BenchOptions, BenchReport, bench, judge, parse_budget, parse_shape
from squeeze.errors import Corrupt, UsageError
from squeeze.progress import Silent
from squeeze.targets.compare import against_report, interleaved
from squeeze.targets.subjects import find, vocabulary_size
from tests import finished_run
from tests import tiny_onnx as tiny
from tests.measured import measurement

ROOT = Path(__file__).resolve().parents[1]
QUICK: dict[str, Any] = {"min_runs": 20, "min_seconds": 0.0, "max_seconds": 10.0, "starts": 1}
SLOW = measurement("slow", blocks=[[10.0] * 20] * 20)
FAST = measurement("fast")
BOTH = BenchReport(measurements=(SLOW, FAST), comparisons=(interleaved(SLOW, FAST),), baseline="slow")


@pytest.mark.parametrize(
    ("text", "figure", "limit", "unit"),
    [
        ("p95=5ms", "p95", 5.0, "ms"),
        ("p50 = 2 MS", "p50", 2.0, "ms"),
        ("p99=800us", "p99", 0.8, "ms"),
        ("load=.3s", "load", 300.0, "ms"),
        ("first=1ms", "first", 1.0, "ms"),
        ("size=8MB", "size", 8.0, "MB"),
        ("size=8MiB", "size", 8.388608, "MB"),
        ("rss=0.2GB", "rss", 200.0, "MB"),
        ("throughput=100/s", "throughput", 100.0, "/s"),
        ("throughput>=100/s", "throughput", 100.0, "/s"),
        ("speedup=55x", "speedup", 55.0, "x"),
        ("speedup >= 2X", "speedup", 2.0, "x"),
        ("p95<=5ms", "p95", 5.0, "ms"),
        ("p50<=1.05x", "p50", 1.05, "x"),
        ("rss=1.2X", "rss", 1.2, "x"),
        ("p50<=1.8ref", "p50", 1.8, "ref"),
    ],
)
def test_budgets(text, figure, limit, unit):
    found = parse_budget(text)
    assert (found.figure, found.unit) == (figure, unit)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("p95", "not NAME=NUMBER UNIT", "p95=5ms"),
        ("p95=fastms", "not NAME=NUMBER UNIT", "p95=5ms"),
        ("p95=-5ms", "not NAME=NUMBER UNIT", "p95=5ms"),
        ("p96=5ms", "no figure is called p96", "did you mean p9"),
        ("colour=5ms", "no figure is called colour", "one of p50"),
        ("p95=5", "no unit", "takes us, ms, s"),
        ("p95=5MB", "unknown unit MB", "takes us, ms, s"),
        ("size=0MB", "must be above 0", ""),
        ("p95>=5ms", "p95 must be at most its limit", "write p95=..."),
        ("speedup<=2x", "speedup must be at least its limit", "write speedup=..."),
        ("throughput=1.05x", "unknown unit x", "takes /s"),
        ("load=2ref", "unknown unit ref", "takes us, ms, s, x"),
        ("speedup=2ref", "unknown unit ref", "takes x"),
        (f"size={'9' * 400}MB", "above 0 and finite", ""),
    ],
)
def test_wrong_budgets(text, told, hint):
    with pytest.raises(UsageError, match=told) as caught:
        parse_budget(text)
    assert text[:30] in caught.value.message
    assert hint in caught.value.hint


@given(st.text(max_size=20))
def test_any_budget_is_read_or_refused(text):
    try:
        assert parse_budget(text).limit > 0
    except UsageError as error:
        assert error.exit_code == 2  # noqa: PT017 - hypothesis draws both kinds


def test_shapes():
    assert parse_shape("input_ids=1x128") == ("input_ids", (1, 128))
    for wrong in ("input_ids", "=1x2", "a=0x2", "a=1x", "a=1,2"):
        with pytest.raises(UsageError, match="not NAME=SIZExSIZE"):
            parse_shape(wrong)


def verdicts(report, *texts, **options):
    return {
        each.name: each.verdict
        for each in judge(report, [parse_budget(text) for text in texts], **options).checks
    }


def test_one_model_is_judged_by_plain_names():
    report = BenchReport(measurements=(FAST,))
    assert verdicts(
        report, "p95=2ms", "size=2MB", "rss=90MB", "load=18ms", "first=3ms", "throughput=1200/s"
    ) == {
        "p95": "pass",
        "size": "fail",  # the tokenizer counts
        "rss": "pass",
        "load": "inconclusive",
        "first": "pass",
        "throughput": "fail",
    }


def test_the_baseline_is_not_judged():
    assert verdicts(BOTH, "p95=2ms", "speedup=8x") == {"p95": "pass", "speedup": "pass"}
    assert verdicts(BOTH, "speedup=12x") == {"speedup": "fail"}


def test_a_speedup_that_other_programs_may_have_made_is_inconclusive():
    slowed = measurement("slow", blocks=[[10.0] * 20] * 20, preemptions=200)  # of 400 calls
    report = BOTH.model_copy(update={"comparisons": (interleaved(slowed, FAST),)})
    assert verdicts(report, "speedup=8x") == {"speedup": "inconclusive"}  # the baseline was not as slow
    assert verdicts(report, "speedup=12x") == {"speedup": "fail"}  # and was faster than it looks
    hindered = measurement("fast", preemptions=200)
    report = BenchReport(
        measurements=(SLOW, hindered), comparisons=(interleaved(SLOW, hindered),), baseline="slow"
    )
    assert verdicts(report, "speedup=12x") == {"speedup": "inconclusive"}
    assert verdicts(report, "speedup=8x") == {"speedup": "pass"}
    assert "took the core from fast" in judge(report, [parse_budget("speedup=12x")]).checks[0].note


def test_a_disturbed_baseline_is_also_seen_in_an_earlier_report():
    before = measurement("fast", blocks=[[10.0] * 20] * 20, preemptions=200)
    report = BenchReport(measurements=(FAST,), comparisons=(against_report(before, FAST),))
    assert verdicts(report, "speedup=8x") == {"speedup": "inconclusive"}


def test_a_model_is_judged_against_its_own_earlier_self():
    before = measurement("fast", blocks=[[10.0] * 20] * 20)
    report = BenchReport(measurements=(FAST,), comparisons=(against_report(before, FAST),))
    assert verdicts(report, "speedup=8x") == {"speedup": "pass"}
    assert verdicts(report, "speedup=12x") == {"speedup": "fail"}


def test_two_models_are_both_judged_but_speed_is_counted_from_the_first():
    report = BOTH.model_copy(update={"baseline": None})
    assert verdicts(report, "p95=2ms", "speedup=8x") == {
        "slow p95": "fail",
        "fast p95": "pass",
        "fast speedup": "pass",
    }


def test_speedup_without_anything_to_compare_with_fails():
    judgement = judge(BenchReport(measurements=(FAST,)), [parse_budget("speedup=2x")])
    assert judgement.verdict == "fail"
    assert "give a baseline" in judgement.checks[0].note


def test_nothing_judged_is_no_pass():
    assert judge(BOTH, []).verdict == "inconclusive"


def test_junit_counts_and_parses():
    judgement = judge(
        BenchReport(measurements=(FAST,)),
        [parse_budget(text) for text in ("p95=2ms", "size=1MB", "load=20ms")],
    )
    root = ElementTree.fromstring(bench_formats.junit(judgement))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "size: 2.5 MB, limit 1 MB: fail"


def test_junit_has_no_control_characters():
    check = judge(BenchReport(measurements=(FAST,)), [parse_budget("size=1MB")]).checks[0]
    odd = judge(BOTH, []).model_copy(update={"checks": (check.model_copy(update={"note": "a\x00b"}),)})
    assert ElementTree.fromstring(bench_formats.junit(odd)).findtext(".//failure", "").endswith("\na\\u0000b")


def test_markdown_has_the_figures_the_ratio_and_the_verdict():
    text = bench_formats.markdown(BOTH, judge(BOTH, [parse_budget("p95=2ms")]))
    assert "| `fast` | 1 [1, 1] |" in text
    assert "`fast` is **10** times as fast as `slow` (10 to 10 at 95%, 20 blocks, in turns)" in text
    assert "Verdict: **pass**" in text


def test_a_report_is_read_back_equal(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(BOTH.plain()))
    assert BenchReport.read(path) == BOTH


@pytest.mark.parametrize(
    "content", ["{}", "nonsense", '{"kind": "bench-report", "version": 2, "measurements": []}']
)
def test_what_is_no_report(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="not a bench report of version 1"):
        BenchReport.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        BenchReport.read(tmp_path / "none.json")


def test_a_file_stands_for_itself_and_a_bundle_for_its_last_form(tmp_path):
    bundle = tiny.bundle(tmp_path / "bundle").path
    (shipped,) = find(bundle)
    assert (shipped.form, shipped.vocabulary, shipped.lengths) == (
        "int8-dynamic",
        len(tiny.WORDS),
        (3, 4, 4, 5, 9),
    )
    assert [each.form for each in find(bundle, "all")] == ["fp32", "int8-dynamic"]
    assert find(bundle, "fp32")[0].path == bundle / "model.onnx"
    assert find(bundle / "model.onnx")[0].form is None


def test_what_cannot_be_measured(tmp_path):
    bundle = tiny.bundle(tmp_path / "bundle").path
    with pytest.raises(UsageError, match=r"no form int4; it holds fp32, int8-dynamic"):
        find(bundle, "int4")
    with pytest.raises(UsageError, match="from a bundle only"):
        find(bundle / "model.onnx", "fp32")
    with pytest.raises(UsageError, match="no such file or folder"):
        find(tmp_path / "none.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"neither model.onnx nor model.int8.onnx") as caught:
        find(tmp_path / "empty")
    assert "runs/NAME/export" in caught.value.hint
    (bundle / "model.onnx").write_bytes(b"changed")
    with pytest.raises(Corrupt, match="has changed"):
        find(bundle)


@pytest.mark.parametrize("result", [{}, {"forms": []}, {"forms": {"fp32": 3}}, {"forms": {}}])
def test_a_bundle_whose_manifest_names_no_forms(tmp_path, result):
    bundle = tiny.bundle(tmp_path / "bundle").path
    finished_run.reseal(bundle / "manifest.json", lambda manifest: manifest.update(result=result))
    with pytest.raises(Corrupt, match=r"manifest\.json: .*form"):
        find(bundle)


@pytest.mark.parametrize(
    ("document", "size"),
    [
        ({"model": {"vocab": {"a": 0, "b": 7}}}, 8),
        ({"model": {"vocab": [["a", -1.0], ["b", -2.0]]}, "added_tokens": [{"id": 5}]}, 6),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": None}, 1),
    ],
)
def test_vocabulary_size(tmp_path, document, size):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    assert vocabulary_size(path) == size


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": {"vocab": {}}}', "nonsense", "[" * 100_000])
def test_no_vocabulary(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(Corrupt, match="not a readable tokenizer"):
        vocabulary_size(path)


def test_no_model_and_the_same_model_twice(tmp_path):
    with pytest.raises(UsageError, match="no model given"):
        bench([], BenchOptions(), Silent())
    path = tiny.classifier(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="given twice"):
        bench([path, path], BenchOptions(), Silent())


def test_a_model_against_a_baseline_model_and_then_against_the_report(tmp_path):
    slow = tiny.classifier(tmp_path / "slow.onnx", hidden=256, layers=6)
    fast = tiny.classifier(tmp_path / "fast.onnx")
    report = bench([fast], BenchOptions(baseline=slow, within=8.0, **QUICK), Silent())
    assert (report.baseline, [each.name for each in report.measurements]) == (
        "slow.onnx",
        ["slow.onnx", "fast.onnx"],
    )
    assert report.comparisons[0].interleaved
    assert report.comparisons[0].speedup > 1
    assert report.rounds is not None
    assert report.rounds.ended in ("narrow", "time")
    assert len(report.measurements[1].rounds()) == report.rounds.count
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    again = bench([fast], BenchOptions(baseline=path, **QUICK), Silent())
    assert again.baseline is None
    assert again.comparisons[0].baseline == "fast.onnx"  # its own earlier self
    assert not again.comparisons[0].interleaved


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "transformers", "datasets", "accelerate"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
ACT = """
import sys
from pathlib import Path
from squeeze.bench import BenchOptions, bench
from squeeze.predict import predict
from squeeze.progress import Silent
try:
    import torch
except ModuleNotFoundError:
    bundle = Path(sys.argv[1])
    options = BenchOptions(min_runs=10, min_seconds=0.0, starts=1)
    print(bench([bundle], options, Silent()).measurements[0].form, len(predict(bundle, ["river"])))
"""


def test_it_works_without_torch_and_without_onnx(tmp_path):
    bundle = tiny.bundle(tmp_path / "bundle").path
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)  # also in the measuring processes
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", ACT, str(bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout == "int8-dynamic 1\n", done.stderr
