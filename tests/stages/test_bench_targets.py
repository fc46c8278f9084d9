"""`[bench] targets` and `[budget] target`: several targets in one run, on a stand-in of an Android device."""

from __future__ import annotations

import json
import os

import pytest

from squeeze.budget import BudgetSection
from squeeze.cli import main
from squeeze.errors import Inconclusive, MissingBackend
from squeeze.report.collecting import exported_rows
from squeeze.stage import Work
from squeeze.stages.bench.stage import STAGE, BenchConfig, needs, sources
from squeeze.stages.gate.run import judge
from squeeze.targets.devices import bundle as bundles
from squeeze.targets.measurement import MEASUREMENTS, Report
from tests import tiny_onnx as tiny
from tests.measured import measurement
from tests.targets.devices import stands

SECTION = {"min_runs": 40, "min_seconds": 0.0, "max_seconds": 10.0, "starts": 1}
SMOKE = "profiles/smoke.toml"


def config(*targets, **more):
    return BenchConfig.parse({"seed": 3, "bench": {**SECTION, "targets": list(targets), **more}})


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A phone behind the program `adb`, and the runner for it."""
    monkeypatch.setenv("FAKE_ADB", str(tmp_path / "phone"))
    found = stands.Phone(tmp_path / "phone")
    program = tmp_path / "bin/adb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(stands.FAKE_ADB)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stands.stand_in(bundles.home() / stands.ABI)
    return found


def measured(asked, folder):
    out = folder / "out"
    out.mkdir()
    work = Work(out=out, scratch=folder, cache=folder)
    result = STAGE.run(asked, {"bundle": tiny.bundle(folder / "bundle")}, work)
    return result, Report.read(out / MEASUREMENTS)


def test_every_form_is_measured_on_every_target(phone, tmp_path):
    result, report = measured(config("cpu", "adb"), tmp_path)
    assert [(each.target, each.file) for each in result.measurements] == [
        ("cpu", "model.onnx"),
        ("cpu", "model.int8.onnx"),
        ("adb:0A1B2C", "model.onnx"),
        ("adb:0A1B2C", "model.int8.onnx"),
    ]
    assert result.measurements[3].name == "model.int8.onnx on adb:0A1B2C"
    assert len({each.name for each in result.measurements}) == 4
    assert [(each.name, each.baseline) for each in report.comparisons] == [
        ("model.int8.onnx on cpu", "model.onnx on cpu"),
        ("model.int8.onnx on adb:0A1B2C", "model.onnx on adb:0A1B2C"),
    ]
    assert result.measurements[2].environment["model"] == "Test Board"
    assert list(phone.store.iterdir()) == []


def test_one_target_keeps_the_names_of_files(phone, tmp_path):
    result, _ = measured(config("adb:0A1B2C", threads=64), tmp_path)
    assert [each.name for each in result.measurements] == ["model.onnx", "model.int8.onnx"]
    for each in result.measurements:  # the stand-in has two cores
        assert each.threads == 2
        assert "64 threads were asked for, 2 cores are usable" in each.notes


def test_a_device_that_slows_down_gives_no_figures(phone, tmp_path):
    stands.stand_in(tmp_path / "slowing", fault="slowing")
    home = bundles.home() / stands.ABI
    home.rename(tmp_path / "unused")
    (tmp_path / "slowing").rename(home)
    with pytest.raises(Inconclusive, match="slowed down"):
        measured(config("adb"), tmp_path)


def test_a_device_that_is_there_is_enough(phone):
    needs(config("cpu", "adb"))
    assert list(phone.store.iterdir()) == []


def test_a_device_that_is_not_there(phone):
    phone.lists("")
    with pytest.raises(MissingBackend, match="adb sees no device") as caught:
        needs(config("cpu", "adb"))
    assert caught.value.exit_code == 3


def test_a_device_without_a_runner(phone, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingBackend, match="no runner for any device yet"):
        needs(config("adb"))


def test_a_gpu_that_is_not_there():
    with pytest.raises(MissingBackend, match="CUDAExecutionProvider is not part of"):
        needs(config("gpu"))
    assert sources(config("gpu")) == {"device behind gpu": "not reachable"}


def test_this_machine_needs_nothing_and_is_in_the_key_already():
    needs(config("cpu"))
    assert sources(config("cpu")) == {}


def test_the_key_knows_which_device_stands_behind_a_name(phone):
    phone.has("getprop", "case $1 in ro.serialno) echo ONE;; esac")
    [(name, first)] = sources(config("cpu", "adb")).items()
    assert name == "device behind adb"
    assert sources(config("adb")) == {name: first}
    phone.has("getprop", "case $1 in ro.serialno) echo TWO;; esac")
    assert sources(config("adb"))[name] != first
    phone.lists("")
    assert sources(config("adb")) == {name: "not reachable"}


@pytest.mark.parametrize("sign", ["machine-id", "modalias"])
def test_an_installation_or_a_processor_is_another_device(phone, sign):
    said = 'for f; do case $f in *%s) echo "%s  $f";; */machine-id) echo "0  $f";; esac; done'
    phone.has("sha256sum", said % (sign, "a" * 64))
    first = sources(config("adb"))
    assert sources(config("adb")) == first
    phone.has("sha256sum", said % (sign, "b" * 64))
    assert sources(config("adb")) != first


def test_a_device_without_a_number_of_its_own_is_known_until_it_starts_again(phone):
    phone.has("getprop", "exit 127")
    said = 'for f; do case $f in */boot_id) echo "%s  $f";; */version) echo "0  $f";; esac; done'
    phone.has("sha256sum", said % "one")
    first = sources(config("adb"))
    assert sources(config("adb")) == first
    phone.has("sha256sum", said % "two")
    assert sources(config("adb")) != first
    phone.has("sha256sum", "exit 127")
    assert sources(config("adb")) != sources(config("adb"))


def test_an_unreachable_device_ends_a_run_before_anything_is_spent(phone, tmp_path, capsys):
    phone.lists("0A1B2C\toffline\n")
    out = tmp_path / "runs"
    assert main(["run", SMOKE, "--out", str(out), "--set", 'bench.targets=["cpu", "adb"]']) == 3
    assert "adb:0A1B2C: is offline" in capsys.readouterr().err
    assert not out.exists()


def test_a_plan_can_be_looked_at_without_the_device(phone, tmp_path, capsys):
    phone.lists("")
    words = ["plan", SMOKE, "--out", str(tmp_path / "runs"), "--set", 'bench.targets=["adb"]', "--json"]
    assert main(words) == 0
    assert "bench" in [step["stage"] for step in json.loads(capsys.readouterr().out)["steps"]]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["qemu:cortex-a53"], "no latency, [export] check takes it"),
        (["estimate:pixel8"], "nothing is measured there, so it has no latency"),
        (["npu"], "no such target"),
        (["cpu", "cpu"], "named twice"),
        ([], "bench.targets"),
    ],
)
def test_targets_without_latencies_are_refused_in_one_line(targets, said, tmp_path, capsys):
    words = ["run", SMOKE, "--out", str(tmp_path), "--set", f"bench.targets={json.dumps(targets)}"]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "bench.targets: " in shown
    assert said in shown


def judged(target=None, **limits):
    budget = BudgetSection.parse({**limits, **({"target": target} if target else {})})
    from squeeze.stages.gate.run import _is_judged

    rows = [measurement(), measurement(target="adb:0A1B2C", blocks=[[9.0] * 20] * 20)]
    chosen = [each for each in rows if _is_judged(each, budget.target)]
    found = judge(budget, chosen, quality=None, teacher=None, labels=())
    return {each.name: each.verdict for each in found}


def test_the_budget_is_judged_on_every_target_or_on_one():
    assert judged(p95_ms=2.0) == {"p95_ms on cpu": "pass", "p95_ms on adb:0A1B2C": "fail"}
    assert judged("cpu", p95_ms=2.0) == {"p95_ms": "pass"}
    assert judged("adb", p95_ms=2.0) == {"p95_ms": "fail"}
    assert judged("adb:0A1B2C", p95_ms=2.0, load_ms=31.0) == {"p95_ms": "fail", "load_ms": "pass"}


def test_a_target_that_was_not_measured_fails():
    budget = BudgetSection.parse({"p95_ms": 2.0, "target": "ssh:pi@board"})
    [found] = judge(budget, [], quality=None, teacher=None, labels=())
    assert (found.verdict, found.note) == ("fail", "this form was not measured on ssh:pi@board")


def test_a_budget_of_a_target_that_is_not_measured_is_refused(tmp_path, capsys):
    words = ["plan", SMOKE, "--out", str(tmp_path), "--set", "budget.target=ssh:pi@board"]
    assert main(words) == 2
    assert "must be one of [bench] targets cpu, got 'ssh:pi@board'" in capsys.readouterr().err


def test_a_setting_that_is_not_set_leaves_keys_as_they_were():
    assert "target" not in BudgetSection().plain()


def test_reports_show_the_first_target():
    from squeeze.stages.export.stage import ExportResult

    parity = {"source": "torch", "rows": 1, "max_abs": 0.0, "mean_abs": 0.0, "agreement": 1.0}
    form = {"file": "model.onnx", "size_bytes": 1, "quality": {}, "parity": {**parity, "metric_drop": 0.0}}
    made = ExportResult.parse({"forms": {"fp32": form}, "tokenizer_bytes": 1, "lengths": [3]})
    timed = [measurement(), measurement(target="adb:0A1B2C", blocks=[[9.0] * 20] * 20)]
    [row] = exported_rows(made, None, timed)
    assert row.p50_ms == 1.0


def test_a_search_knows_the_latency_of_this_machine_only(tmp_path, capsys):
    words = ["plan", "profiles/bert_crisis_budget.toml", "--out", str(tmp_path)]
    words += ["--set", 'bench.targets=["cpu", "adb"]', "--set", "budget.target=adb"]
    assert main(words) == 2
    assert "a search predicts latency on this machine's cpu only, got 'adb'" in capsys.readouterr().err
