"""What the report says of the gate's trials, and that a second run goes on."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks import gate_trials
from benchmarks.gate_section import gate
from benchmarks.gate_trials import KINDS, MODELS


def trial(verdict: str, *, hog: bool = False, seconds: float = 8.0):
    ratio = {"value": 1.0, "low": 0.99, "high": 1.01}
    return {"model": "m", "hog": hog, "verdict": verdict, "seconds": seconds, "ratio": ratio, "p50_ms": 2.0}


def record(**trials):
    truth = {"baseline": "ten", "model": "eleven", "ratio": {"value": 1.1, "low": 1.09, "high": 1.11}}
    return {
        "budget": "p50<=1.02x",
        "truth": {"slow10": truth, "slow5": truth},
        "trials": {name: trials.get(name, []) for name in KINDS},
    }


def test_counts_have_exact_intervals_and_aims():
    aa = [trial("pass")] * 30 + [trial("fail", hog=True)] + [trial("inconclusive", hog=True, seconds=30.0)]
    lines = gate(record(aa=aa, slow10=[trial("fail")] * 10))
    # none of 30: at most 1 - 0.025 ** (1 / 30) = 11.6 %
    assert "| A/A, quiet | 30 | 30 (88.4 to 100.0) | 0 (0.0 to 11.6) | 0 (0.0 to 11.6) | 8.0 (8.0) |" in lines
    assert any(line.startswith("| A/A, busy process from midway | 2 | 0 ") for line in lines)
    assert any(
        line.startswith("| eleven against ten, in truth 1.10 x (1.09 to 1.11) | 10 |") for line in lines
    )
    assert "- False alarms: 3.1 %, at most 1.0: fail" in lines
    assert "- Inconclusive without a busy process: 0.0 %, at most 10.0: pass" in lines
    assert "- slow10: 100.0 % found, at least 95.0: pass" in lines
    assert not any("slow5" in line for line in lines)


def test_a_second_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gate_trials, "_trial", lambda name, number, files: trial("pass", seconds=number))
    monkeypatch.setattr(gate_trials, "_truth", lambda *_: {"ratio": None})
    gate_trials.main(aa=2, slow10=1, slow5=0, truth=1.0, results=tmp_path)
    gate_trials.main(aa=3, slow10=1, slow5=1, truth=1.0, results=tmp_path)
    found = json.loads((tmp_path / "gate-trials.json").read_text())
    assert [each["seconds"] for each in found["trials"]["aa"]] == [0, 1, 2]
    assert set(found["truth"]) == {"slow10", "slow5"}


def test_every_model_meets_the_busy_process():
    met = {MODELS[number % len(MODELS)] for number in range(3 * len(MODELS)) if number % 3 == 2}
    assert met == set(MODELS)


@pytest.mark.parametrize("after_s", [None, 0.05, 60.0])
def test_the_busy_process_never_outlives_its_trial(after_s, monkeypatch):
    started = []

    class Process:
        def __init__(self, *_):
            started.append(self)
            self.killed = False

        def kill(self):
            self.killed = True

        def wait(self):
            assert self.killed

    monkeypatch.setattr("subprocess.Popen", Process)
    with gate_trials._hog(after_s):
        if after_s == 0.05:
            while not started:
                time.sleep(0.01)
    assert len(started) == (after_s == 0.05)
    assert all(each.killed for each in started)
