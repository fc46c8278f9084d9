"""`[export] check`: every file of a bundle on emulated cores, here on a stand-in of the emulator."""

from __future__ import annotations

import json
import shutil

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, ParityFailed
from squeeze.stages.export.run import run
from squeeze.stages.export.stage import ExportResult, needs, sources
from squeeze.targets.devices.qemu import PROGRAMS
from tests import tiny
from tests.distilled import export_config as config
from tests.targets.devices import stands

CORES = ["qemu:cortex-a53", "qemu:cortex-a76"]


@pytest.fixture(scope="module")
def student(distilled_chain):
    return distilled_chain


def test_every_file_runs_on_every_core(student, tmp_path, monkeypatch):
    stands.emulator(tmp_path, monkeypatch)
    work = tiny.work(tmp_path)
    result = run(config(check=CORES, ort=True), student, work)
    files = ["model.onnx", "model.ort", "model.int8.onnx", "model.int8.ort"]
    assert [(each.target, each.file) for each in result.checks] == [
        (core, f) for core in CORES for f in files
    ]
    assert {each.form for each in result.checks} == {"fp32", "int8-dynamic"}
    for each in result.checks:
        [difference] = each.differences
        assert difference.output == "logits"
        assert difference.values == each.feeds * len(tiny.LABELS)
        assert difference.scale > 0
        assert difference.largest <= each.limit * difference.scale
    card = (work.out / "MODEL_CARD.md").read_text()
    assert "nothing\nabout how fast" in card
    for file in files:
        assert f"| {file} | cortex-a53 | " in card
        assert f"| {file} | cortex-a76 | " in card
    assert ExportResult.parse(result.plain()) == result


def test_another_answer_there_is_no_bundle(student, tmp_path, monkeypatch):
    stands.emulator(tmp_path, monkeypatch, fault="wrong")
    with pytest.raises(ParityFailed, match=r"qemu:cortex-a53: model\.onnx: output logits differs") as caught:
        run(config(check=CORES[:1]), student, tiny.work(tmp_path))
    assert caught.value.exit_code == 4


def test_without_a_check_nothing_is_asked_for_and_the_card_is_silent(student, tmp_path):
    work = tiny.work(tmp_path)
    assert run(config(forms=["fp32"]), student, work).checks == ()
    assert "arm64" not in (work.out / "MODEL_CARD.md").read_text()


def test_a_setting_at_its_default_leaves_the_key_as_it_was():
    assert "check" not in config().plain()["export"]
    assert sources(config()) == {}


def test_the_key_depends_on_the_runner(tmp_path, monkeypatch):
    stands.emulator(tmp_path / "one", monkeypatch)
    asked = config(check=CORES)
    assert asked.plain()["export"]["check"] == CORES
    first = sources(asked)
    stands.emulator(tmp_path / "two", monkeypatch, fault="other")
    assert first != sources(asked)
    assert list(first) == ["runner"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))
    assert sources(asked) == {"runner": "absent"}


def test_all_is_there(tmp_path, monkeypatch):
    stands.emulator(tmp_path, monkeypatch)
    needs(config(check=CORES))


def test_no_runner_for_these_cores(tmp_path, monkeypatch):
    home = stands.emulator(tmp_path, monkeypatch)
    stands.stand_in(home / "linux-x86_64", abi="linux-x86_64")
    shutil.rmtree(home / "linux-arm64")
    with pytest.raises(MissingBackend, match="no runner for linux-arm64") as caught:
        needs(config(check=CORES))
    assert caught.value.hint == "squeeze device bundle --abi linux-arm64"


@pytest.mark.parametrize(("lacks", "said"), [("emulator", "qemu-user-static"), ("runner", "device bundle")])
def test_what_is_missing_is_found_before_anything_is_spent(lacks, said, tmp_path, monkeypatch, capsys):
    stands.emulator(tmp_path, monkeypatch)
    if lacks == "emulator":
        monkeypatch.setattr("squeeze.targets.devices.qemu.shutil.which", lambda name: None)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))
    out = tmp_path / "runs"
    words = ["run", "profiles/smoke.toml", "--out", str(out), "--set", f"export.check={json.dumps(CORES)}"]
    assert main(words) == 3
    shown = capsys.readouterr().err
    assert "qemu:cortex-a53" in shown
    assert said in shown
    assert not out.exists()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("cpu", "needs an emulated core"),
        ("ssh:pi@board", "needs an emulated core"),
        ("estimate:pixel8", "needs an emulated core"),
        ("qemu:max", "unknown core; one of cortex-a53"),
        ("qemu", "no such target"),
    ],
)
def test_targets_that_cannot_be_checked_on_are_refused_with_the_profile(target, said, tmp_path, capsys):
    words = ["run", "profiles/smoke.toml", "--out", str(tmp_path), "--set", f'export.check=["{target}"]']
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "export.check: " in shown
    assert said in shown


def test_a_core_named_twice_is_refused(tmp_path, capsys):
    twice = json.dumps(CORES[:1] * 2)
    assert (
        main(["plan", "profiles/smoke.toml", "--out", str(tmp_path), "--set", f"export.check={twice}"]) == 2
    )
    assert "named twice" in capsys.readouterr().err


def test_it_runs_on_an_emulated_core(student, tmp_path):
    stands.real_bundles("linux-arm64")
    stands.program(PROGRAMS[0])
    work = tiny.work(tmp_path)
    result = run(config(check=CORES, forms=["fp32", "int8-dynamic", "int8-static"]), student, work)
    assert len(result.checks) == 6
    for each in result.checks:
        assert each.differences[0].share <= 1e-6
