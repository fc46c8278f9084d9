"""From the record of benchmarks.agreement to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables import Record, table, three
from squeeze.targets.limits import Verdict

__all__ = ["agreement", "within"]

AIM = 0.03
"""Aim: medians of the bench and of the loop are at most this far apart."""


def agreement(record: Record) -> list[str]:
    """Ratios of the bench's median to those of its witnesses."""
    rows = [
        (
            name,
            three(found["p50_ms"]["bench"]),
            three(found["p50_ms"]["loop"]),
            _interval(found["bench_to_loop"]),
            _interval(found["bench_to_profiler"]),
            _interval(found["profiled_loop_to_loop"]),
            _interval(found["profiled_loop_to_profiler"]),
        )
        for name, found in record["models"].items()
    ]
    head = (
        "model",
        "bench, p50 ms",
        "plain loop, p50 ms",
        "bench / loop",
        "bench / profiler",
        "cost of profiling",
        "loop / profiler, profiled",
    )
    return [
        "`squeeze bench` against a plain loop around `session.run` and against the `model_run` events of "
        f"ONNX Runtime's profiler; one thread, one core, {record['rounds']} rounds, each side in fresh "
        "processes. "
        "A profiled session is slower, by the column `cost of profiling`; in it, the last column compares "
        "the loop's clock with the profiler's.",
        "",
        *table(head, rows),
        "",
        *_aims(record),
    ]


def within(found: Record, most: float) -> Verdict:
    """Whether a ratio lies within some share of 1, by its interval.

    >>> within({"value": 1.0, "low": 0.99, "high": 1.01}, 0.03)
    'pass'
    >>> within({"value": 1.02, "low": 0.99, "high": 1.04}, 0.03)
    'inconclusive'
    >>> within({"value": 1.06, "low": 1.04, "high": 1.08}, 0.03)
    'fail'
    """
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return "inconclusive"
    if 1 - most <= low and high <= 1 + most:
        return "pass"
    return "fail" if low > 1 + most or high < 1 - most else "inconclusive"


def _interval(found: Record) -> str:
    """A ratio near 1 with three digits behind the point.

    >>> _interval({"value": 1.0, "low": 0.9912, "high": 1.0049})
    '1.000 (0.991 to 1.005)'
    """
    ends = (found["low"], found["high"])
    told = "no interval" if None in ends else f"{found['low']:.3f} to {found['high']:.3f}"
    return f"{found['value']:.3f} ({told})"


def _aims(record: Record) -> Iterator[str]:
    for name, found in record["models"].items():
        against = found["bench_to_loop"]
        yield (
            f"- {name}: {_interval(against)}, at most {AIM:.0%} apart: {within(against, AIM)}; "
            f"other programs took the core in {_taken(found, 'preemptions', 'runs')} of the bench and in "
            f"{_taken(found, 'loop_preemptions', 'loop_runs')} of the loop"
        )


def _taken(found: Record, taken: str, runs: str) -> str:
    return f"{sum(found[taken])} of {sum(found[runs])} calls"
