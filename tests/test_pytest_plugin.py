"""The fixture `squeeze_budget`, in runs of pytest of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from squeeze.bench import BenchReport
from tests import tiny_onnx as tiny

PLUGIN = ("-p", "squeeze.pytest_plugin", "-p", "no:cacheprovider")
QUICK = "min_runs=20, min_seconds=0.0, max_seconds=10.0, starts=1"


@pytest.fixture
def run(pytester: pytest.Pytester) -> Any:
    """``run(call, *options)``: pytest on one test that makes this call, beside a model."""
    tiny.classifier(pytester.path / "model.onnx")
    (pytester.path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")

    def act(call: str, *options: str, test: str = "") -> pytest.RunResult:
        body = test or f"def test_it(squeeze_budget):\n    squeeze_budget({call})\n"
        pytester.makepyfile(test_model=body)
        return pytester.runpytest_inprocess(*PLUGIN, *options)

    return act


def test_a_budget_that_is_kept_passes_and_its_figures_stand_in_the_xml(run, pytester):
    done = run(f'"model.onnx", "p50=10s", "size=8MB", {QUICK}', "--junitxml=out.xml")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        [
            "*squeeze budgets*",
            "test_model.py::test_it p50: * ms, limit 10000 ms: pass; interval *",
            "test_model.py::test_it size: * MB, limit 8 MB: pass",
        ]
    )
    root = ElementTree.parse(pytester.path / "out.xml").getroot()
    found = [(each.get("name"), each.get("value", "")) for each in root.iter("property")]
    values = dict(found)
    assert float(values["model.onnx p50_ms"]) > 0
    assert int(values["model.onnx shipped_bytes"]) == (pytester.path / "model.onnx").stat().st_size
    assert len([name for name, _ in found if name == "squeeze_check"]) == 2
    report = BenchReport.parse(json.loads(values["squeeze_report"]))
    assert report.measurements[0].p50.value == float(values["model.onnx p50_ms"])
    assert report.measurements[0].samples_ms == ()


def test_a_budget_that_is_exceeded_fails_with_all_checks(run):
    done = run(f'"model.onnx", "size=1B", "p50=10s", {QUICK}')
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["squeeze budget: fail", "size: * MB, limit 1e-06 MB: fail", "p50: * ms, limit 10000 ms: pass; *"]
    )
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")  # the model is at fault, not this file


UNDECIDED = f'"model.onnx", "p99=10s", {QUICK}'  # 20 calls have no interval of p99


def test_what_cannot_be_decided_fails_and_says_so(run):
    done = run(UNDECIDED)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["squeeze budget: inconclusive", "p99: * ms, limit 10000 ms: inconclusive; *"])


def test_what_cannot_be_decided_is_skipped_where_that_was_chosen(run, pytester):
    done = run(UNDECIDED, "--squeeze-inconclusive=skip", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*squeeze budgets*", "test_model.py::test_it p99: *: inconclusive; *"])
    (pytester.path / "pytest.ini").write_text("[pytest]\nsqueeze_inconclusive = skip\n")
    run(UNDECIDED).assert_outcomes(skipped=1)
    run(UNDECIDED, "--squeeze-inconclusive=fail").assert_outcomes(failed=1)


def test_skipping_never_hides_a_failure(run):
    call = f'"model.onnx", "p99=10s", "size=1B", {QUICK}'
    run(call, "--squeeze-inconclusive=skip").assert_outcomes(failed=1)


def test_a_choice_that_is_none(run, pytester):
    assert run(UNDECIDED, "--squeeze-inconclusive=pass").ret == pytest.ExitCode.USAGE_ERROR
    (pytester.path / "pytest.ini").write_text("[pytest]\nsqueeze_inconclusive = pass\n")
    done = run(UNDECIDED)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*squeeze_inconclusive = pass: not one of fail, skip*"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ('"model.onnx"', "*squeeze_budget: nothing to judge*"),
        ('"model.onnx", "p59=3ms"', "*no figure is called p59*"),
        ('"model.onnx", "p50=3ms", thread=2', "*thread: unknown key (nearest: threads)*"),
        ('"model.onnx", "p50=3ms", threads=0', "*threads: must be at least 1, got 0*"),
        ('"model.onnx", "p50=3ms", target="qemu:cortex-a76"', "*emulated, it has no times to judge*"),
        ('"none.onnx", "p50=3ms"', "*none.onnx: no such file or folder*"),
        ('"model.onnx", "p50=3ms", baseline="none.onnx"', "*none.onnx: no such file or folder*"),
    ],
)
def test_wrong_use_fails_before_anything_is_measured(run, call, told):
    done = run(call)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([told])
    done.stdout.no_fnmatch_line("*squeeze budgets*")


def test_a_missing_backend_is_no_skip(run):
    test = f"""
        import pytest
        from squeeze.errors import MissingBackend

        def test_it(squeeze_budget, monkeypatch):
            def lacks(*_):
                raise MissingBackend("onnxruntime is not installed")
            monkeypatch.setattr("squeeze.bench.bench", lacks)
            squeeze_budget("model.onnx", "p50=10s", {QUICK})
    """
    done = run("", "--squeeze-inconclusive=skip", test=test)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*MissingBackend: onnxruntime is not installed*"])


def test_a_baseline_is_measured_along(run, pytester):
    tiny.classifier(pytester.path / "old.onnx", hidden=256, layers=6)
    budgets = '"size<=99x", "rss<=99x"'  # which nothing else on this machine changes
    done = run(f'"model.onnx", {budgets}, baseline="old.onnx", within=8.0, {QUICK}', "--junitxml=out.xml")
    done.assert_outcomes(passed=1)
    names = [each.get("name") for each in ElementTree.parse(pytester.path / "out.xml").iter("property")]
    assert {"old.onnx p50_ms", "model.onnx p50_ms", "model.onnx speedup"} <= set(names)


def test_nothing_is_said_where_nothing_was_measured(run):
    done = run("", test="def test_it():\n    assert True\n")
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*squeeze budgets*")


def test_a_start_of_pytest_loads_nothing_but_this_file():
    code = "import json, sys, pytest; before = set(sys.modules); import squeeze.pytest_plugin; "
    code += "print(json.dumps([name.split('.')[0] for name in set(sys.modules) - before]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "onnxruntime", "pydantic", "rich", "scipy", "torch", "typer"}
    loaded = set(json.loads(done.stdout))
    assert "squeeze" in loaded
    assert heavy & loaded == set()


def test_the_entry_point_is_named_like_its_module():
    """Else `-p squeeze.pytest_plugin` and the entry point register it twice, which pytest refuses."""
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    (entry,) = tomllib.loads(text)["project"]["entry-points"]["pytest11"].items()
    assert entry == ("squeeze.pytest_plugin", "squeeze.pytest_plugin")
