"""The chain on tiny stages: what is sound is used, the rest is made again, a kill costs one step."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from squeeze import latest, pipeline
from squeeze.errors import Corrupt, MissingBackend, ProfileError, StageFailed, UsageError
from squeeze.pipeline import RunResult
from squeeze.pipeline.keys import changes
from squeeze.progress import Silent
from squeeze.stage import Check
from tests import fake_stages as fake
from tests.finished_run import reseal

ALL = ["data", "teacher", "gate"]


class Log(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("some text")
    (tmp_path / "runs" / ".cache").mkdir(parents=True)
    return tmp_path


def go(home: Path, stages=fake.STAGES, **changed) -> RunResult:
    options = {name: changed.pop(name) for name in ("until", "fresh", "wait", "progress") if name in changed}
    return pipeline.run(fake.profile(home, **changed), home / "runs", stages=stages, **options)


def digests(result: RunResult) -> dict[str, str]:
    return {done.stage: done.artifact.digest for done in result.steps}


def cached(result: RunResult) -> list[bool]:
    return [done.cached for done in result.steps]


def test_a_second_run_computes_nothing(home):
    first, second = go(home), go(home)
    assert cached(first) == [False] * 3
    assert cached(second) == [True] * 3
    assert fake.calls(home / "runs") == ALL
    assert digests(first) == digests(second)


def test_a_stage_prints_a_line_when_it_starts(home):
    first, second = Log(), Log()
    go(home, progress=first)
    assert [line.split(" in ")[0] for line in first.lines] == [
        f"{stage}: {event}" for stage in ALL for event in ("started", "done")
    ]
    go(home, progress=second)  # a stored stage does not start
    assert not any("started" in line for line in second.lines)


def test_only_what_depends_on_a_change_runs_again(home):
    go(home)
    assert cached(go(home, budget={"accuracy": 0.6})) == [True, True, False]
    # the seed changes both, but the gate's inputs only through the teacher's bytes
    assert cached(go(home, seed=1)) == [False, False, False]
    # a new model changes the teacher; the data stage never saw it
    assert cached(go(home, teacher={"model": "builtin:other"})) == [True, False, False]


def test_equal_bytes_stop_the_wave(home):
    go(home)
    again = go(
        home, data={"train": "text.txt", "validation": "builtin:held", "test": "builtin:out", "text": "body"}
    )
    assert cached(again) == [False, True, True]


def test_a_changed_file_is_a_changed_key_and_a_moved_one_is_not(home, tmp_path_factory):
    go(home)
    (home / "text.txt").write_text("other text")
    assert cached(go(home)) == [False, False, False]
    moved = tmp_path_factory.mktemp("moved")
    (home / "text.txt").rename(moved / "text.txt")
    result = pipeline.run(fake.profile(moved), home / "runs", stages=fake.STAGES)
    assert cached(result) == [True, True, True]


def test_a_raised_version_and_another_machine_are_other_keys(home, monkeypatch):
    go(home)
    newer = (fake.DATA, dataclasses.replace(fake.TEACHER, version=2), fake.GATE)
    assert cached(go(home, newer)) == [True, False, True]
    monkeypatch.setattr("squeeze.pipeline.keys.environment", lambda: {"cpu": "another"})
    assert cached(go(home)) == [True, True, False]


def test_the_version_of_a_library_counts(home, monkeypatch):
    stage = dataclasses.replace(fake.TEACHER, libraries=("torch",))
    version = {"torch": "1.0"}
    for module in ("keys", "walking"):
        monkeypatch.setattr(
            f"squeeze.pipeline.{module}.versions", lambda names: {n: version[n] for n in names}
        )
    assert cached(go(home, (fake.DATA, stage))) == [False, False]
    version["torch"] = "1.1"
    assert cached(go(home, (fake.DATA, stage))) == [True, False]
    version["torch"] = "absent"
    with pytest.raises(MissingBackend, match="stage teacher needs torch") as caught:
        go(home, (fake.DATA, stage))
    assert "squeeze-ondevice[train]" in caught.value.hint


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "sub" / "weights.txt").write_text("0 builtin:none SOME TEXt"),
        lambda folder: (folder / "sub" / "weights.txt").unlink(),
        lambda folder: (folder / "more.txt").write_text("more"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text('{"schema": 1, "files": {}}'),
        lambda folder: edit(folder, files=[]),
        lambda folder: leave_out(folder, "key"),
        lambda folder: edit(folder, key="0" * 64),
        lambda folder: edit(folder, digest="0" * 64),
        lambda folder: edit(folder, kind="encoder"),
        lambda folder: older(folder),
        lambda folder: by_hand(folder, '"letters": 9', '"letters": 8'),
    ],
    ids=[
        "byte",
        "gone",
        "extra",
        "no-manifest",
        "cut",
        "empty",
        "files",
        "no-key",
        "key",
        "digest",
        "kind",
        "no-digest-of-its-own",
        "result",
    ],
)
def test_a_damaged_artefact_is_made_again(home, damage):
    first = go(home)
    damage(first.steps[1].artifact.path)
    log = Log()
    second = go(home, progress=log)
    assert cached(second) == [True, False, True]
    assert digests(second) == digests(first)
    assert any("teacher: made again" in line for line in log.lines)
    assert cached(go(home)) == [True] * 3


def edit(folder: Path, **values) -> None:
    reseal(folder / "manifest.json", lambda manifest: manifest.update(values))


def leave_out(folder: Path, name: str) -> None:
    reseal(folder / "manifest.json", lambda manifest: manifest.pop(name))


def older(folder: Path) -> None:
    """A manifest as it was written before it had a digest of its own."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 1}))


def by_hand(folder: Path, before: str, after: str) -> None:
    text = (folder / "manifest.json").read_text()
    assert before in text
    (folder / "manifest.json").write_text(text.replace(before, after))


def test_what_a_killed_run_left_is_removed(home):
    folder = go(home).folder
    (folder / "teacher-0.partial").mkdir()
    (folder / "stray.partial").touch()
    go(home)
    assert not list(folder.glob("*.partial"))


def test_a_stage_of_another_version_is_no_crash(home):
    folder = go(home).folder
    reseal(
        folder / "latest.json",
        lambda known: known["shown"]["stages"].update(tutor=known["shown"]["stages"].pop("teacher")),
    )
    with pytest.raises(UsageError, match="stage tutor is unknown"):
        pipeline.open_run(folder)


def test_a_holder_that_left_no_name_is_another_process(home):
    folder = home / "runs" / "fake"
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(UsageError, match="another process is working here"):
        go(home)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_the_plan_passes_over_manifests_that_it_cannot_read(home, content):
    made = go(home).steps[0].artifact.path
    (made / "manifest.json").write_text(content)
    step, *_ = pipeline.plan(fake.profile(home), home / "runs", stages=fake.STAGES)
    assert (step.state, step.last_seconds) == ("to run", None)


@pytest.mark.parametrize(
    ("values", "why"), [({"seconds": "soon"}, "config.seed 0 -> 3"), ({"identity": 3}, "never made")]
)
def test_the_plan_passes_over_values_that_it_cannot_use(home, values, why):
    edit(go(home).steps[0].artifact.path, **values)
    step, *_ = pipeline.plan(fake.profile(home, seed=3), home / "runs", stages=fake.STAGES)
    assert (step.state, step.why, step.last_seconds is None) == ("to run", why, "seconds" in values)


def test_a_failure_is_not_stored_and_its_checkpoints_are_kept(home):
    trigger = home / "runs" / ".cache" / "fail-teacher"
    trigger.touch()
    with pytest.raises(StageFailed, match="told to fail"):
        go(home)
    left = [path.name for path in (home / "runs" / "fake").iterdir() if path.name.startswith("teacher")]
    assert all(name.endswith(".partial") for name in left)
    (checkpoint,) = (home / "runs" / "fake" / ".scratch").glob("teacher-*/checkpoint")
    assert checkpoint.read_text() == "x"
    assert list(latest.read(home / "runs" / "fake").last.stages) == ["data"]
    trigger.unlink()
    result = go(home)
    assert cached(result) == [True, False, False]
    assert not checkpoint.exists()
    assert not (result.steps[1].artifact.path / "half.txt").exists()
    assert not list((home / "runs" / "fake").glob("*.partial"))


def test_a_full_disk_is_a_failed_stage_and_a_wrong_result_a_bug(home):
    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(StageFailed, match="stage teacher: no space left"):
        go(home, (fake.DATA, dataclasses.replace(fake.TEACHER, run=full)))
    with pytest.raises(TypeError, match="not Letters"):
        go(home, (fake.DATA, dataclasses.replace(fake.TEACHER, run=lambda *_: fake.Verdict(verdict="x"))))
    assert cached(go(home)) == [True, False, False]


def test_fresh_makes_everything_again(home):
    first = go(home)
    again = go(home, fresh=True)
    assert cached(again) == [False] * 3
    assert digests(again) == digests(first)


def test_until_stops_there_and_names_what_is_wrong(home):
    assert [done.stage for done in go(home, until="teacher").steps] == ["data", "teacher"]
    with pytest.raises(UsageError, match="stage teecher: unknown") as caught:
        go(home, until="teecher")
    assert "did you mean teacher" in caught.value.hint
    with pytest.raises(UsageError, match=r"no section \[budget\]"):
        go(home, until="gate", budget=None)
    with pytest.raises(ProfileError, match="stage gate needs a teacher"):
        go(home, (fake.DATA, fake.GATE))


def test_plan_says_what_is_done_and_why_not(home):
    def states(**changed) -> list[tuple[str, str]]:
        steps = pipeline.plan(fake.profile(home, **changed), home / "runs", stages=fake.STAGES)
        return [(step.state, step.why) for step in steps]

    assert states() == [
        ("to run", "never made"),
        ("needs earlier", "waits for dataset"),
        ("needs earlier", "waits for teacher"),
    ]
    assert not (home / "runs" / "fake").exists()
    result = go(home)
    assert states() == [("cached", "")] * 3
    assert states(seed=3)[0] == ("to run", "config.seed 0 -> 3")
    assert states(budget={"accuracy": 0.75})[2] == ("to run", "config.budget.accuracy 0.5 -> 0.75")
    (result.steps[1].artifact.path / "sub" / "weights.txt").write_text("spoilt")
    state, why = states()[1]
    assert (state, "damaged" in why, states()[2][0]) == ("to run", True, "needs earlier")
    assert (result.steps[1].artifact.path / "sub" / "weights.txt").read_text() == "spoilt"


def test_what_a_stage_may_take_is_given_when_an_earlier_one_makes_it(home):
    taken: list[list[str]] = []

    def judge(config, inputs, work):
        taken.append(sorted(inputs))
        return fake.run_gate(config, inputs, work)

    extra = dataclasses.replace(fake.TEACHER, name="distil", section="distil", gives="encoder")
    gate = dataclasses.replace(fake.GATE, run=judge, may_take={"student": "encoder"})
    go(home, stages=(fake.DATA, fake.TEACHER, gate))
    assert cached(go(home))[-1]  # no key changes by what a stage may take and does not get
    go(home, stages=(fake.DATA, fake.TEACHER, gate, extra))  # a later one is none of its inputs
    assert taken == [["teacher"]]
    chain = (fake.DATA, fake.TEACHER, extra, gate)
    last = pipeline.plan(fake.profile(home), home / "runs", stages=chain)[-1]
    assert (last.state, last.why) == ("to run", "inputs.student has changed")
    shutil.rmtree(next((home / "runs" / "fake").glob("distil-*")))
    last = pipeline.plan(fake.profile(home), home / "runs", stages=chain)[-1]
    assert (last.state, last.why) == ("needs earlier", "waits for encoder")
    go(home, stages=chain)
    assert taken == [["teacher"], ["student", "teacher"]]


class Warned(fake.Letters):
    warnings: tuple[str, ...] = ()


def test_warnings_of_a_result_are_shown_each_time_and_by_plan(home):
    def run(config, inputs, work):
        return Warned(letters=fake.run_data(config, inputs, work).letters, warnings=("few rows", "odd label"))

    check = Check(fake.DataConfig, lambda config, progress: ("few rows in the sample",))
    data = dataclasses.replace(fake.DATA, run=run, result=Warned, at_plan=check)
    stages = (data, fake.TEACHER, fake.GATE)
    (before, *_) = pipeline.plan(fake.profile(home), home / "runs", stages=stages)
    assert before.warnings == ("few rows in the sample",)
    for _ in range(2):
        log = Log()
        go(home, stages, progress=log)
        # what the result has is not said a second time by the check
        assert [line for line in log.lines if line.startswith("warning")] == [
            "warning: few rows",
            "warning: odd label",
        ]
    (after, *_) = pipeline.plan(fake.profile(home), home / "runs", stages=stages)
    assert after.warnings == ("few rows", "odd label")


def test_gates_come_before_anything_is_written(home):
    seen: list[str] = []

    def at_plan(config, progress):
        seen.append(f"plan {config.seed}")
        if config.seed == 9:
            raise ProfileError("refused by plan")
        return ("a guess was made",)

    def preflight(config, progress):
        seen.append(f"preflight {config.seed}")
        if config.seed == 8:
            raise ProfileError("refused by preflight")
        return ("close to the limit",)

    teacher = dataclasses.replace(
        fake.TEACHER,
        at_plan=Check(fake.TeacherConfig, at_plan),
        preflight=Check(fake.TeacherConfig, preflight),
    )
    stages = (fake.DATA, teacher, fake.GATE)
    for seed in (8, 9):
        with pytest.raises(ProfileError, match="refused by"):
            go(home, stages, seed=seed)
    assert not (home / "runs" / "fake").exists()
    seen.clear()
    log = Log()
    go(home, stages, progress=log)
    assert seen == ["plan 0", "preflight 0"]
    assert log.lines[:2] == ["warning: a guess was made", "warning: close to the limit"]
    seen.clear()
    go(home, stages)  # stored: there is nothing to check before it is made
    go(home, stages, fresh=True)
    assert seen == ["plan 0", "plan 0", "preflight 0"]


def test_changes_hide_digests_and_are_cut():
    assert (
        changes({"config": {"train": "a" * 64}}, {"config": {"train": "b" * 64}})
        == "config.train has changed"
    )
    assert changes({"inputs": {"x": "1"}}, {"inputs": {"x": "2"}}) == "inputs.x has changed"
    many = changes({str(i): i for i in range(6)}, {})
    assert many.endswith("and 2 more")


def test_the_verdict_is_data_and_the_run_can_be_opened(home):
    result = go(home, budget={"accuracy": 1.0})
    assert result.verdict == "fail"
    found = pipeline.open_run(result.folder)
    assert {kind: one.digest for kind, one in found.items()} == {
        done.artifact.kind: done.artifact.digest for done in result.steps
    }
    known = latest.read(result.folder).last
    assert (known.verdict, known.complete) == ("fail", True)
    assert json.loads(json.dumps(result.plain()))["verdict"] == "fail"
    assert go(home, until="data").verdict is None
    with pytest.raises(UsageError, match="not the folder of a run"):
        pipeline.open_run(home)
    for nonsense in ("{", "[" * 100_000, "9" * 5000):
        (result.folder / "latest.json").write_text(nonsense)
        with pytest.raises(Corrupt, match="not readable"):
            pipeline.open_run(result.folder)


@contextmanager
def other_process(home: Path, hang: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real second process that stops half-way through a stage."""
    cache = home / "runs" / ".cache"
    (cache / f"hang-{hang}").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, fake.__file__, str(home), str(home / "runs")], env=environment
    )
    try:
        until = time.monotonic() + 120
        while not (cache / "hanging").exists():
            assert process.poll() is None, "the other process ended early"
            assert time.monotonic() < until
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        (cache / f"hang-{hang}").unlink(missing_ok=True)
        (cache / "hanging").unlink(missing_ok=True)


def test_a_second_process_is_refused_or_waits(home):
    with other_process(home, "teacher") as process:
        with pytest.raises(UsageError, match=f"process {process.pid} is working here"):
            go(home)
        log, results = Log(), []
        waiting = threading.Thread(target=lambda: results.append(go(home, wait=True, progress=log)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        (home / "runs" / ".cache" / "hang-teacher").unlink()
        process.send_signal(signal.SIGKILL)
        waiting.join(120)
    assert cached(results[0]) == [True, False, False]
    assert f"waiting for process {process.pid}" in log.lines[0]


@pytest.mark.parametrize("stage", ALL)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(home, stage, tmp_path_factory):
    with other_process(home, stage) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(120) == -signal.SIGKILL
    finished = ALL.index(stage)
    assert not [path for path in (home / "runs" / "fake").glob(f"{stage}-*") if not path.suffix]
    resumed = go(home)
    assert cached(resumed) == [True] * finished + [False] * (3 - finished)
    calm = tmp_path_factory.mktemp("calm")
    (calm / "text.txt").write_text("some text")
    assert digests(resumed) == digests(go(calm))
