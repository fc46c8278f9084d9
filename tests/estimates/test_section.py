"""The page of results says what missed, and whether enough lies inside."""

from __future__ import annotations

from benchmarks.estimates import ASKED, NEAR, WIDEST, published
from benchmarks.estimates_section import estimates


def record(*errors):
    """Encoders with these errors of the middle; beyond 30 % they are outside."""
    rows = [{"error": error, "inside": abs(error) < 0.3} for error in errors]
    form = {"inside": 0.5, "near": 0.5, "mean": 0.2, "worst": -0.4}
    here = {"encoders": 2, "lengths": [8], "apart": False, "spread": 1.6, "graphs": 42, "notes": []}
    here["target"] = "ssh:board"
    return {
        "near": NEAR,
        "asked": dict(ASKED),
        "widest": WIDEST,
        "published": published(),
        "here": {**here, "rows": rows, "forms": {"fp32": form}},
    }


def test_enough_and_too_few():
    good = "\n".join(estimates(record(0.1, -0.1)))
    assert "- inside: 100.0 %, at least 90.0 %: pass" in good
    bad = "\n".join(estimates(record(0.1, -0.4)))
    assert "- inside: 50.0 %, at least 90.0 %: fail" in bad
    assert "- middle within 15 %: 50.0 %, at least 90.0 %: fail" in bad
    assert "- half the width of an interval: x 1.60, at most x 1.5: fail" in bad
    assert "| fp32 | 50.0 % | 50.0 % | 20.0 % | -40.0 % |" in bad


def test_published_runs_that_missed_are_listed():
    missed = [each for each in published() if not each["inside"]]
    lines = estimates({**record(0.0), "here": None})
    assert sum(" threads, " in line for line in lines) == len(missed) > 0
    assert any("vgg16" in line for line in lines)
