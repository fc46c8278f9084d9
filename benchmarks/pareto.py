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
        ms: of one text.
    """

    name: str
    ours: bool
    f1: float
    bytes: int
    ms: float


@dataclass(frozen=True)
class Bar:
    """One artefact of others beside ours.

    Attributes:
        point: theirs.
        faster: how many times faster ours is.
        share: our bytes of its bytes.
        met: whether both aims are.
    """

    point: Point
    faster: float
    share: float
    met: bool


def dominates(one: Point, other: Point, costs: Sequence[str] = COSTS) -> bool:
    """Whether one is nowhere worse than another and somewhere better.

    >>> small, big = Point("a", True, 0.8, 10, 1.0), Point("b", False, 0.8, 20, 1.0)
    >>> dominates(small, big), dominates(big, small), dominates(small, small), dominates(big, small, ["ms"])
    (True, False, False, False)
    """
    gains = [one.f1 - other.f1, *(getattr(other, cost) - getattr(one, cost) for cost in costs)]
    return min(gains) >= 0 and max(gains) > 0


def front(points: Iterable[Point], costs: Sequence[str] = COSTS) -> list[Point]:
    """The points that no other dominates, from the cheapest by the first cost.

    >>> front([Point("a", True, 0.8, 10, 1.0), Point("b", True, 0.7, 20, 0.5)], ["bytes"])
    [Point(name='a', ours=True, f1=0.8, bytes=10, ms=1.0)]
    """
    known = list(points)
    free = [each for each in known if not any(dominates(other, each, costs) for other in known)]
    return sorted(free, key=lambda each: (getattr(each, costs[0]), -each.f1))


def winners(mine: Iterable[Point], theirs: Iterable[Point]) -> list[tuple[Point, Point]]:
    """Pairs of a point of our front and one of theirs that dominates it by quality, size and time."""
    others = list(theirs)
    return [(each, other) for each in front(mine) for other in others if dominates(other, each)]


def bar(tiny: Point, theirs: Iterable[Point], faster: float, share: float) -> list[Bar]:
    """Ours beside every artefact of others that is at least as good by macro-F1, the hardest first.

    Args:
        tiny: ours.
        theirs: all of theirs; those of a lower macro-F1 are left out.
        faster: least number of times that ours must be faster.
        share: most of their bytes that ours may have.

    >>> bar(Point("t", True, 0.8, 10, 1.0), [Point("b", False, 0.8, 40, 2.0)], faster=3, share=1 / 3)[0].met
    False
    """
    beside = [
        Bar(each, times, part, met=times >= faster and part <= share)
        for each in theirs
        if each.f1 >= tiny.f1
        for times, part in [(each.ms / tiny.ms, tiny.bytes / each.bytes)]
    ]
    return sorted(beside, key=lambda one: (one.met, one.faster))
