"""The independent timing that the bench is compared with, on a tiny model."""

from __future__ import annotations

import pytest

from benchmarks import agreement, witness
from benchmarks.agreement_section import agreement as section
from benchmarks.agreement_section import within
from squeeze.targets.ort import config
from tests import tiny_onnx as tiny


def request(path, **changed):
    facts = {"path": str(path), "config": config(), "cores": [], "tokens": 5, "vocabulary": 10, "warmup": 3}
    return {**facts, "calls": 15, "seconds": 0.0, "profile": False, "seed": 0, **changed}


def test_a_plain_loop(tmp_path):
    found = witness.answer(request(tiny.classifier(tmp_path / "m.onnx")))
    assert len(found["loop"]) == 15
    assert min(found["loop"]) > 0
    assert found["preemptions"] >= 0


def test_the_loop_goes_on_for_its_seconds(tmp_path):
    found = witness.answer(request(tiny.classifier(tmp_path / "m.onnx"), seconds=0.05))
    assert len(found["loop"]) > 15
    assert sum(found["loop"]) < 60


def test_the_profiler_sees_the_same_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tiny.classifier(tmp_path / "m.onnx", hidden=256, layers=6)
    before = set(tmp_path.iterdir())
    found = witness.answer(request(path, profile=True))
    assert len(found["loop"]) == len(found["profiler"]) == 15
    # Both clocks see one call; the loop's also sees how Python calls it.
    assert all(inner <= outer * 1.01 for inner, outer in zip(found["profiler"], found["loop"], strict=True))
    assert set(tmp_path.iterdir()) == before


def said(bench: float, loop: float):
    return {
        "bench": [bench] * 5,
        "loop": [loop] * 5,
        "profiler": [loop] * 5,
        "profiled_loop": [loop] * 5,
        "preemptions": 1,
        "loop_preemptions": 2,
    }


def test_the_record_and_what_is_told_of_it():
    good, bad = ([said(ratio * 2, 2.0) for ratio in ratios] for ratios in ([1.0] * 6, [1.1] * 6))
    models = {"good": agreement._record(good), "bad": agreement._record(bad)}
    assert models["bad"]["bench_to_loop"]["value"] == pytest.approx(1.1)
    assert models["good"]["p50_ms"] == {"bench": 2.0, "loop": 2.0, "profiler": 2.0, "profiled_loop": 2.0}
    lines = section({"rounds": 6, "models": models})
    assert any("good: 1.000 (1.000 to 1.000), at most 3% apart: pass" in line for line in lines)
    assert any("bad: 1.100 (1.100 to 1.100), at most 3% apart: fail" in line for line in lines)
    assert any("in 6 of 30 calls of the bench and in 12 of 30 calls of the loop" in line for line in lines)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.98, 1.02, "pass"),
        (0.96, 1.02, "inconclusive"),
        (1.04, 1.05, "fail"),
        (0.9, 0.96, "fail"),
        (None, None, "inconclusive"),
    ],
)
def test_within(low, high, verdict):
    assert within({"value": 1.0, "low": low, "high": high}, 0.03) == verdict
