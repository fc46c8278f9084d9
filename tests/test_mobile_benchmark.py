"""benchmarks/mobile_formats.py: how times are taken and what its record becomes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import mobile_formats
from benchmarks.mobile_section import mobile_formats as section

LIBRARIES = {"libraries": {"a": "1"}, "size_bytes": 2_000_000}
RAN = {"max_abs": 1e-6, "largest_logit": 2.0, "spread": 0.1, "kept": 0.995}
TIMES = {"ms": 1.25, "ratio": {"value": 1.1, "low": 1.0, "high": 1.2}}


def record(**formats):
    return {
        "texts": 3,
        "tokens": 64,
        "missing": {"ncnn": "pnnx is not installed"},
        "tables": {"dense": formats},
    }


def cells(lines, name):
    (line,) = [line for line in lines if f"| {name} |" in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_format_takes_turns_and_the_first_turn_does_not_count(monkeypatch):
    called = []
    took = {"onnx": 2.0, "other": 3.0}

    def timed(answer, feed):
        called.append(answer)
        return took[answer]

    monkeypatch.setattr(mobile_formats, "_ms", timed)
    found = mobile_formats._times({name: name for name in took}, [(0, 0)], turns=3, calls=2)
    assert found["other"] == {"ms": 3.0, "ratio": {"value": 1.5, "low": 1.5, "high": 1.5}}
    assert found["onnx"]["ratio"]["value"] == 1.0
    first, second = ["onnx"] * 2, ["other"] * 2
    assert called == [*first, *second, *second, *first] * 2


def test_the_difference_of_answers():
    said = np.array([[1.0, -1.0], [0.1, -0.1]])
    other = np.array([[1.0, -1.0], [-0.1, 0.1]], dtype=np.float32)
    found = mobile_formats._apart(said, other)
    assert found["max_abs"] == pytest.approx(0.2)
    assert (found["kept"], found["largest_logit"]) == (0.5, 1.0)
    assert found["spread"] == pytest.approx(0.2 / np.hypot(1.0, 0.1))


def test_int8_is_judged_by_its_spread_and_what_did_not_run_by_nothing():
    lines = section(
        record(
            fp32={**LIBRARIES, **RAN, **TIMES, "precision": "fp32"},
            wrong={**LIBRARIES, **RAN, **TIMES, "precision": "fp32", "max_abs": 1e-3},
            int8={**LIBRARIES, **RAN, **TIMES, "precision": "int8", "max_abs": 1e-1},
            worse={**LIBRARIES, **RAN, **TIMES, "precision": "int8", "spread": 0.2},
            elsewhere={**LIBRARIES, "precision": "fp32", "unchecked": "runs on macOS only"},
        )
    )
    verdicts = {name: cells(lines, name)[7] for name in ("fp32", "wrong", "int8", "worse", "elsewhere")}
    assert verdicts == {"fp32": "pass", "wrong": "fail", "int8": "pass", "worse": "fail", "elsewhere": "-"}
    assert cells(lines, "elsewhere")[4] == "not checked: runs on macOS only"
    assert cells(lines, "elsewhere")[8:] == ["-", "-"]
    assert cells(lines, "int8")[8:] == ["1.250", "1.10 (1.00 to 1.20)"]
    assert "- ncnn: not made, pnnx is not installed" in lines


def test_times_of_a_process_that_was_held_back_are_called_no_use():
    whole = record(onnx={**LIBRARIES, **RAN, **TIMES, "precision": "fp32"})
    assert not any("no use" in line for line in section({**whole, "computing_share": 0.99}))
    assert any("only 40.0 %" in line for line in section({**whole, "computing_share": 0.4}))
