"""Measuring real, tiny models in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from squeeze.artifact import digest_file
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.targets import ort, process, subjects, worker
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.process import ask
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny

ROOT = Path(__file__).resolve().parents[2]
QUICK = Settings(min_runs=40, min_seconds=0.0, max_seconds=20.0, starts=1)


def subject(path: Path, **known) -> Subject:
    return Subject(path=path, name=path.name, **known)


def request(path: Path, **changed):
    facts = {
        "role": "start",
        "models": [{"path": str(path), "bound": 5}],
        "provider": ort.CPU,
        "threads": 1,
        "spinning": True,
        "cores": [],
        "shapes": {},
        "batch": 1,
        "lengths": None,
        "seed": 0,
        "even": True,
        "min_runs": 10,
        "min_seconds": 0.0,
        "max_seconds": 10.0,
    }
    return {**facts, **changed}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A model of many and one of few operations, measured in turns."""
    folder = tmp_path_factory.mktemp("models")
    slow = tiny.classifier(folder / "slow.onnx", hidden=256, layers=6)
    fast = tiny.classifier(folder / "fast.onnx")
    lengths = (5, 9, 9, 30, 64)
    return measure([subject(slow, lengths=lengths, vocabulary=10), subject(fast)], QUICK, Silent()), (
        slow,
        fast,
    )


def test_a_measurement_is_complete(pair):
    (slow, _), (path, _) = pair
    assert slow.runs == len(slow.samples_ms) >= 40
    assert slow.sha256 == digest_file(path)
    assert slow.size_bytes == path.stat().st_size
    assert 0 < slow.rss_baseline_bytes < slow.rss_bytes < 10**9
    assert slow.load_ms > 0
    assert slow.first_ms > 0
    assert slow.warmup_runs >= 2
    assert min(slow.samples_ms) <= slow.p50.low <= slow.p50.value <= slow.p50.high <= slow.p95.value
    assert slow.throughput_per_s == pytest.approx(1e3 / np.mean(slow.samples_ms))
    assert (slow.sequence.minimum, slow.sequence.maximum) == (5, 64)
    assert slow.cores == tuple(sorted(os.sched_getaffinity(0))[-1:])
    assert slow.inputs["input_ids"] == "tensor(int64) [batch, sequence]"
    assert slow.environment["onnxruntime"].count(".") == 2
    assert {"cpu", "load_average", "governor", "provider", "seed"} <= slow.environment.keys()


def test_all_models_get_the_same_lengths_and_about_the_same_time(pair):
    (slow, fast), _ = pair
    assert slow.block_widths == fast.block_widths
    assert slow.passes == 1 < fast.passes
    assert len(slow.blocks()) == len(fast.blocks()) >= 2
    assert sum(map(len, fast.blocks())) == fast.runs == slow.runs * fast.passes
    assert fast.p50.value < slow.p50.value


def test_the_manifest_copy_has_no_samples_and_the_same_figures(pair):
    (slow, _), _ = pair
    bare = slow.without_samples()
    assert (bare.samples_ms, bare.block_widths) == ((), ())
    assert bare.p95 == slow.p95


def test_unknown_vocabulary_is_found_by_trying(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", vocabulary=12)
    answer = ask(request(path, models=[{"path": str(path), "bound": None}]), 60)
    assert answer["bound"] == 10


def test_a_model_without_length_and_with_a_batch(tmp_path):
    (found,) = measure(
        [subject(tiny.vision(tmp_path / "v.onnx"))], Settings(**{**vars(QUICK), "batch": 3}), Silent()
    )
    assert found.sequence is None
    assert found.throughput_per_s == pytest.approx(3e3 / np.mean(found.samples_ms))


def test_time_that_runs_out_is_noted(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", hidden=256, layers=6)
    hurried = Settings(min_runs=1_000_000, min_seconds=0.0, max_seconds=0.5, starts=1)
    (found,) = measure([subject(path, vocabulary=10)], hurried, Silent())
    assert 0 < found.runs < 1_000_000
    assert any("stopped at max_seconds" in note for note in found.notes)


def test_external_weights_count(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"12345")
    path.with_name("m.onnx.data").write_bytes(b"123")
    assert subjects.model_bytes(path) == 8


def test_more_threads_than_cores_are_refused(tmp_path):
    with pytest.raises(UsageError, match=f"may use {usable_cores()} cores"):
        measure([subject(tmp_path / "m.onnx")], Settings(threads=usable_cores() + 1), Silent())


def test_an_unknown_input_is_refused_with_the_known_ones(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="shape of typo") as caught:
        measure([subject(path)], Settings(**{**vars(QUICK), "shapes": {"typo": (1, 2)}}), Silent())
    assert "input_ids" in caught.value.hint


def broken_files(folder: Path):
    (folder / "text.onnx").write_text("this is not a model")
    (folder / "empty.onnx").write_bytes(b"")
    whole = tiny.classifier(folder / "whole.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("text.onnx", UsageError, "not a readable ONNX model"),
        ("empty.onnx", UsageError, "empty file"),
        ("cut.onnx", UsageError, "not a readable ONNX model"),
        ("missing.onnx", UsageError, "no such file"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, name, error, told):
    path = broken_files(tmp_path) / name
    with pytest.raises(error, match=told) as caught:
        ort.open_session(path, threads=1)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (tiny.unknown_operator, "cannot be opened by ONNX Runtime"),
        (tiny.reshaping, "cannot be run by ONNX Runtime"),
        (tiny.strings, "only numbers can be made up"),
    ],
)
def test_a_model_that_cannot_run(tmp_path, build, told):
    path = build(tmp_path / "m.onnx")
    with pytest.raises(StageFailed, match=told) as caught:
        ask(request(path), 60)
    assert "\n" not in caught.value.message
    assert ("--shape values=1x7" in caught.value.hint) == (build is tiny.reshaping)


def test_a_missing_provider(tmp_path):
    with pytest.raises(MissingBackend, match="NoSuchProvider is not part") as caught:
        ort.open_session(tiny.classifier(tmp_path / "m.onnx"), threads=1, provider="NoSuchProvider")
    assert "CPUExecutionProvider" in caught.value.hint


def test_a_missing_library():
    with pytest.raises(MissingBackend, match="no_such_library is not installed"):
        ort.installed("no_such_library.part")


def test_a_dead_worker_is_told_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('no room for this')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StageFailed, match=r"ended with status 1: .*no room for this"):
        ask(request(tmp_path / "m.onnx"), 60)


def test_a_killed_worker_is_told(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os; os.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StageFailed, match="ended by SIGKILL"):
        ask(request(tmp_path / "m.onnx"), 60)


def test_a_worker_that_hangs_is_stopped(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(StageFailed, match="no answer after 1 s"):
        ask(request(tmp_path / "m.onnx"), 1)
    assert time.monotonic() - began < 120


def test_an_answer_that_is_no_json(tmp_path):
    with pytest.raises(StageFailed, match="gave no answer"):
        process._answer(b"Segmen", request(tmp_path / "m.onnx"))


def test_the_worker_ends_with_its_parent(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", vocabulary=10)
    asked = request(path, role="time", min_runs=10**9, max_seconds=600.0)
    parent = (
        "import json, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'squeeze.targets.worker'], stdin=subprocess.PIPE)\n"
        f"child.stdin.write({json.dumps(asked)!r}.encode() + b'\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=ROOT) as process_:
        assert process_.stdout is not None
        pid = int(process_.stdout.readline())
        time.sleep(1.0)
        assert alive(pid)
        process_.kill()
    end = time.monotonic() + 120
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_memory_is_that_of_the_worker_and_not_of_its_parent(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    ballast = np.ones(400 * 2**20 // 8)
    answer = ask(request(path), 60)
    assert ballast.sum() > 0
    assert 10 * 2**20 < answer["rss_baseline_bytes"] <= answer["rss_bytes"] < 300 * 2**20


def test_a_model_that_is_never_steady_stops_warming_up(monkeypatch):
    times = iter(1.5**step for step in range(10_000))
    monkeypatch.setattr(worker, "_timed", lambda session, values: next(times))
    model = worker.Model(Path("m"), None, (), 1)
    worker.warm_up(model, {}, most_seconds=0.001)
    assert not model.warm
    assert model.warmup_runs >= 2


def test_warming_up_ends_when_the_times_agree(monkeypatch):
    times = iter([50.0] * 3 + [2.0] * 1000)
    monkeypatch.setattr(worker, "_timed", lambda session, values: next(times))
    model = worker.Model(Path("m"), None, (), 1)
    worker.warm_up(model, {}, most_seconds=10)
    assert (model.warm, model.warmup_runs, model.typical_s) == (True, 20, 0.002)


@pytest.mark.parametrize(
    ("seconds", "min_runs", "budget", "calls", "passes"),
    [
        ([0.001], 200, 60, 20, [1]),
        ([0.001], 10, 60, 1, [1]),
        ([0.1, 0.002], 200, 60, 20, [1, 50]),
        ([0.1, 0.0001], 200, 60, 20, [1, 64]),
        ([5.0], 200, 60, 1, [1]),
    ],
)
def test_balance(seconds, min_runs, budget, calls, passes):
    models = [worker.Model(Path("m"), None, (), 1, typical_s=each) for each in seconds]
    assert worker.balance(models, min_runs, budget) == calls
    assert [model.passes for model in models] == passes
    worker.balance(models, min_runs, budget, even=False)
    assert {model.passes for model in models} == {1}
