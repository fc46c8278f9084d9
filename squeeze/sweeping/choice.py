"""The point with the most texts a second among those that surely keep a latency."""

from __future__ import annotations

from collections.abc import Sequence

from squeeze.sweeping.options import Limit
from squeeze.sweeping.records import Choice, Point
from squeeze.targets.limits import Verdict, latency
from squeeze.targets.measurement import Estimate

__all__ = ["choose"]


def choose(points: Sequence[Point], limit: Limit, confidence: float) -> Choice:
    """Pick one.

    A point is in when the whole interval of its latency lies at or below the limit, out when the whole of
    it lies above, and undecided else; a point that could not be measured is out. `squeeze.targets.limits`
    has the rules, which never call a point too slow that other programs may have slowed down.

    Args:
        points: of a sweep.
        limit: of a latency.
        confidence: of its interval.
    """
    verdicts: dict[Verdict, list[Point]] = {"pass": [], "fail": [], "inconclusive": []}
    for point in points:
        verdicts[_verdict(point, limit, confidence)].append(point)
    inside = sorted(verdicts["pass"], key=_value, reverse=True)
    undecided = tuple(point.place for point in verdicts["inconclusive"])
    return Choice(
        figure=limit.figure,
        limit_ms=limit.limit_ms,
        verdict="pass" if inside else "inconclusive" if undecided else "fail",
        best=inside[0].place if inside else None,
        equals=tuple(point.place for point in inside[1:] if _overlap(point, inside[0])),
        undecided=undecided,
    )


def _verdict(point: Point, limit: Limit, confidence: float) -> Verdict:
    if point.measurement is None:
        return "fail"
    return latency(point.measurement, limit.figure, limit.limit_ms, confidence)[1]


def _value(point: Point) -> float:
    return point.throughput.value if point.throughput else 0.0


def _overlap(one: Point, best: Point) -> bool:
    """Whether the intervals of both throughputs meet; without intervals nobody can tell them apart."""
    ends = [_ends(each.throughput) for each in (one, best)]
    if ends[0] is None or ends[1] is None:
        return True
    return ends[0][1] >= ends[1][0]


def _ends(figure: Estimate | None) -> tuple[float, float] | None:
    if figure is None or figure.low is None or figure.high is None:
        return None
    return figure.low, figure.high
