"""Which artefacts nothing beats: domination, fronts, and the bar of the tiny student, from plain figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["COSTS", "Bar", "Point", "bar", "dominates", "front", "winners"]

COSTS = ("bytes", "ms")
"""What an artefact costs, by attribute of `Point`; less is better."""


@dataclass(frozen=True)
class Point:
    """One artefact.

    Attributes:
        name: what tables call it.
        ours: whether squeeze made it.
        f1: macro-F1 on the test, 0..1.
        bytes: of its files.
        ms: from text to label.
        alone: time of the model alone, in times of the tiny student's.
        whole: time from text to label, in times of the tiny student's.
    """

    name: str
    ours: bool
    f1: float
    bytes: int
    ms: float
    alone: float = 1.0
    whole: float = 1.0


@dataclass(frozen=True)
class Bar:
    """One artefact of others beside the tiny student.

    Attributes:
        point: theirs.
        share: the student's bytes of its bytes.
        fast: whether the student is enough times faster, alone and from text to label.
        small: whether its share is small enough.
    """

    point: Point
    share: float
    fast: bool
    small: bool


def dominates(one: Point, other: Point, costs: Sequence[str] = COSTS) -> bool:
    """Whether one is nowhere worse than another and somewhere better.

    >>> small, big = Point("a", True, 0.8, 10, 1.0), Point("b", False, 0.8, 20, 1.0)
    >>> dominates(small, big), dominates(big, small), dominates(small, small), dominates(big, small, ["ms"])
    (True, False, False, False)
    """
    gains: list[float] = [one.f1 - other.f1]
    gains += [getattr(other, cost) - getattr(one, cost) for cost in costs]
    return min(gains) >= 0 and max(gains) > 0


def front(points: Iterable[Point], costs: Sequence[str] = COSTS) -> list[Point]:
    """The points that no other dominates, the cheapest by the first cost first.

    >>> worse = Point("b", True, 0.7, 20, 0.5)
    >>> [each.name for each in front([worse, Point("a", True, 0.8, 10, 1.0)], ["bytes"])]
    ['a']
    """
    known = list(points)
    free = [each for each in known if not any(dominates(other, each, costs) for other in known)]
    return sorted(free, key=lambda each: (getattr(each, costs[0]), -each.f1))


def winners(points: Iterable[Point]) -> list[tuple[Point, Point]]:
    """Pairs of a point of our front and one of theirs that dominates it by quality, size and time."""
    known = list(points)
    others = [each for each in known if not each.ours]
    mine = front([each for each in known if each.ours])
    return [(each, other) for each in mine for other in others if dominates(other, each)]


def bar(tiny: Point, points: Iterable[Point], faster: float, share: float) -> list[Bar]:
    """The tiny student beside every artefact of others of at least its macro-F1, the fastest of them first.

    Args:
        tiny: the student.
        points: all artefacts.
        faster: least number of times that the student must be faster.
        share: most of their bytes that it may have.

    >>> known = [Point("b", False, 0.8, 40, 2.0, alone=3.5, whole=2.5), Point("c", False, 0.7, 1, 0.1)]
    >>> beside = bar(Point("t", True, 0.8, 10, 1.0), known, 3, 0.4)
    >>> [(each.point.name, each.fast, each.small) for each in beside]
    [('b', False, True)]
    """
    found = [
        Bar(
            each,
            tiny.bytes / each.bytes,
            fast=min(each.alone, each.whole) >= faster,
            small=tiny.bytes / each.bytes <= share,
        )
        for each in points
        if not each.ours and each.f1 >= tiny.f1
    ]
    return sorted(found, key=lambda one: min(one.point.alone, one.point.whole))
