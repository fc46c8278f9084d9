"""Charts as plain geometry; the templates turn it into SVG, whose colours follow the page's.

Drawings are 360 units wide, the width of a phone, so that their letters stay readable there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

__all__ = [
    "HEIGHT",
    "WIDTH",
    "Histogram",
    "Mark",
    "Point",
    "Scatter",
    "Tick",
    "histogram",
    "scatter",
    "ticks",
]

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 14, 36
"""Room for the numbers of the axes."""
BINS = 48
ROW = 74
"""Height of one distribution."""
MOST_POINTS = 600


@dataclass(frozen=True)
class Tick:
    """A number on an axis and its place."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """One point; its `name` is told on hover and to screen readers, `label` is written beside it."""

    x: float
    y: float
    name: str
    look: str = ""
    label: str = ""
    anchor: str = "start"


@dataclass(frozen=True)
class Mark:
    """A line across, with its text."""

    at: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Scatter:
    """Points between two axes; `path` joins those of the front."""

    kind: ClassVar = "scatter"
    title: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    path: str = ""
    limit: Mark | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Histogram:
    """One distribution as an outline, with lines at its quantiles."""

    kind: ClassVar = "histogram"
    title: str
    x_ticks: tuple[Tick, ...]
    outline: str
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = ROW + 20
    left: int = RIGHT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = ROW
    x_title: str = ""


@dataclass(frozen=True)
class Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Place of a value; what lies outside is put on the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Round numbers and their places."""
        return tuple(Tick(self.at(value), text) for value, text in ticks(self.low, self.high))


def ticks(low: float, high: float, about: int = 5) -> list[tuple[float, str]]:
    """Round numbers between two values.

    >>> ticks(0.0, 7.0)
    [(0.0, '0'), (2.0, '2'), (4.0, '4'), (6.0, '6')]
    """
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step * 1.001)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:,.{digits}f}") for i in range(first, last + 1)]


def scatter(
    title: str,
    axes: tuple[str, str],
    points: Sequence[Point],
    *,
    joined: Sequence[tuple[float, float]] = (),
    limit: tuple[float, str] | None = None,
) -> Scatter:
    """Draw points.

    Args:
        title: what is shown, for those who cannot see it.
        axes: their titles, x first.
        points: in the units of the axes, at least one; the last ones are drawn on top, and where they are
            too many the first ones are left out.
        joined: places that a line goes through, in the units of the axes.
        limit: a value of x with its text, drawn as a line across where it is near the points.
    """
    drawn = points[-MOST_POINTS:]
    x = _axis([each.x for each in drawn] + _near(limit, drawn), LEFT, WIDTH - RIGHT)
    y = _axis([each.y for each in drawn], HEIGHT - BOTTOM, TOP)
    mark = None
    if limit is not None and x.low < limit[0] < x.high:
        place = x.at(limit[0])
        mark = Mark(place, limit[1], "end" if place > WIDTH / 2 else "start")
    return Scatter(
        title=title,
        x_title=axes[0],
        y_title=axes[1],
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        points=tuple(_placed(each, x, y) for each in drawn),
        path=" ".join(f"{x.at(a)},{y.at(b)}" for a, b in sorted(joined)),
        limit=mark,
    )


def _near(limit: tuple[float, str] | None, points: Sequence[Point]) -> list[float]:
    """A limit far from all points would press them into a corner."""
    if limit is None:
        return []
    values = [each.x for each in points]
    return [limit[0]] if min(values) / 2 <= limit[0] <= max(values) * 2 else []


def _placed(point: Point, x: Axis, y: Axis) -> Point:
    place = x.at(point.x)
    side = "end" if place > WIDTH * 0.6 else "start"
    return Point(place, y.at(point.y), point.name, point.look, point.label, side)


def _axis(values: Sequence[float], start: float, end: float, room: float = 0.06) -> Axis:
    """An axis over all values, with some room at both ends."""
    low, high = min(values), max(values)
    margin = (high - low) * room or abs(low) * 0.1 or 1.0
    least = low - margin
    return Axis(0.0 if low >= 0 > least else least, high + margin, start, end)


def histogram(
    title: str, samples: Sequence[float], span: tuple[float, float], marks: Sequence[tuple[float, str]]
) -> Histogram:
    """Draw a distribution of times.

    Args:
        title: whose.
        samples: in ms.
        span: of the axis, equal for all distributions that are compared; samples beyond it are not drawn.
        marks: quantiles with their names.
    """
    axis = Axis(*span, RIGHT, WIDTH - RIGHT)
    counts, edges = np.histogram(np.asarray(samples), bins=BINS, range=span)
    tallest = max(int(counts.max()), 1)
    steps = [f"M{axis.at(span[0])},{ROW}"]
    for number, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        height = round(ROW - (ROW - TOP - 4) * number / tallest, 1)
        steps.append(f"H{axis.at(low)}V{height}H{axis.at(high)}")
    inside = [(value, name) for value, name in marks if span[0] <= value <= span[1]]
    return Histogram(
        title=title,
        x_ticks=axis.ticks(),
        outline="".join(steps) + f"V{ROW}Z",
        marks=tuple(Mark(axis.at(value), name, "start") for value, name in inside),
    )
