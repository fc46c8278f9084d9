"""Small pieces of the report: tables, figures with their spread, verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from squeeze.targets.limits import Verdict, at_least
from squeeze.targets.measurement import Estimate

__all__ = [
    "Record",
    "interval",
    "megabytes",
    "points",
    "reaches",
    "reaches_interval",
    "source",
    "spread",
    "stays",
    "table",
    "three",
]

Record = Mapping[str, Any]


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table.

    >>> table(("a", "b"), [("1", "2")])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    lines = [list(headers), *map(list, rows)]
    drawn = [f"| {' | '.join(line)} |" for line in lines]
    return [drawn[0], f"|{'---|' * len(headers)}", *drawn[1:]]


def points(share: float) -> str:
    """A share as points of 100.

    >>> points(0.8814)
    '88.1'
    """
    return f"{100 * share:.1f}"


def spread(shares: Sequence[float]) -> str:
    """Mean of some shares in points, and their range where there are several.

    >>> spread([0.88, 0.89]), spread([0.88])
    ('88.5 (88.0 to 89.0)', '88.0')
    """
    mean = points(sum(shares) / len(shares))
    return mean if len(shares) == 1 else f"{mean} ({points(min(shares))} to {points(max(shares))})"


def megabytes(sizes: Sequence[int]) -> str:
    """The largest of some sizes, in units of 1,000,000 bytes.

    >>> megabytes([2_500_000, 2_400_000])
    '2.50'
    """
    return f"{max(sizes) / 1e6:.2f}"


def interval(found: Record, unit: str = "") -> str:
    """A figure and its interval.

    >>> interval({"value": 2.0, "low": 1.5, "high": 2.5}, " x")
    '2.00 x (1.50 to 2.50)'
    >>> interval({"value": 2.0, "low": None, "high": None})
    '2.00 (no interval)'
    """
    value, low, high = (None if found[key] is None else three(found[key]) for key in ("value", "low", "high"))
    return f"{value}{unit} ({'no interval' if low is None else f'{low} to {high}'})"


def three(value: float) -> str:
    """Three digits, or all before the point.

    >>> three(0.23912), three(54.4), three(1012.0)
    ('0.239', '54.4', '1012')
    """
    whole = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, 2 - whole)}f}"


def reaches(value: float, limit: float) -> str:
    """Whether a figure without an interval is at least its limit.

    >>> reaches(0.99, 0.99), reaches(0.9, 0.99)
    ('pass', 'fail')
    """
    return "pass" if value >= limit else "fail"


def stays(value: float, limit: float) -> str:
    """Whether a figure without an interval is at most its limit.

    >>> stays(3.4, 3.5), stays(3.6, 3.5)
    ('pass', 'fail')
    """
    return "pass" if value <= limit else "fail"


def reaches_interval(found: Record, limit: float, divisor: float = 1.0) -> Verdict:
    """Whether a ratio is at least its limit, by its interval; first divided by what flatters it.

    A pass that a disturbed baseline alone may have caused is inconclusive, and so is a failure of a
    disturbed model.

    >>> reaches_interval({"value": 60.0, "low": 57.0, "high": 63.0}, 55.0, divisor=1.02)
    'pass'
    >>> reaches_interval({"value": 60.0, "low": 57.0, "high": 63.0}, 55.0, divisor=1.05)
    'inconclusive'
    >>> reaches_interval({"value": 60.0, "low": 57.0, "high": 63.0, "baseline_disturbed": True}, 55.0)
    'inconclusive'
    """
    low, high = (None if found[end] is None else found[end] / divisor for end in ("low", "high"))
    verdict = at_least(Estimate(value=found["value"] / divisor, low=low, high=high), limit)
    doubtful = {"pass": "baseline_disturbed", "fail": "model_disturbed"}.get(verdict, "")
    return "inconclusive" if found.get(doubtful) else verdict


def source(record: Record) -> str:
    """What made a result, and on what."""
    around = record["environment"]
    state = "" if record["clean"] else " with uncommitted changes"
    place = f"{around['cpu']}, {around['usable_cores']} usable cores"
    return f"`{record['command']}`, {record['time'][:10]}, commit {record['commit']}{state}, {place}"
