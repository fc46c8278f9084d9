"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from squeeze.report.comparing import compared, shipped
from squeeze.report.model import ModelRow, RunReport
from squeeze.report.page import words
from squeeze.report.page.charts import Point, Scatter, scatter
from squeeze.report.page.parts import Cell, Part, Section, Side, Table, Tone, Words, row

__all__ = ["comparison"]

TEST = "test"
TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "unsure", "not judged": "unsure"}
MOST_NAMED = 6
"""Runs whose points have their names beside them; more would cover each other."""


def comparison(reports: Sequence[RunReport]) -> Section:
    """The shipped model of each run as a table, and quality against size and latency."""
    grid = compared(reports)
    rows = tuple(row(line[0], Cell(line[1], tone=TONES[line[1]]), *line[2:]) for line in grid.rows)
    parts: list[Part] = [Table(grid.headers, rows)]
    if len({report.digests.get("dataset") for report in reports}) > 1:
        parts.append(Words("The runs were tested on different text: their scores cannot be compared."))
    charts = [
        _chart(reports, "size MB", lambda row: None if row.size_bytes is None else row.size_bytes / 1e6),
        _chart(reports, "p95 ms", lambda row: row.p95_ms),
    ]
    drawn = tuple(each for each in charts if each is not None)
    return Section("comparison", grid.title, (*parts, Side(drawn)) if drawn else tuple(parts))


def _chart(
    reports: Sequence[RunReport], axis: str, cost: Callable[[ModelRow], float | None]
) -> Scatter | None:
    """The primary score against a cost; None where fewer than two runs have both."""
    points = [
        Point(x, 100 * row.quality[TEST].score, report.name, "front")
        for report in reports
        if (row := shipped(report)) is not None and TEST in row.quality and (x := cost(row)) is not None
    ]
    if len(points) < 2:
        return None
    named = len(points) <= MOST_NAMED
    points = [
        Point(
            each.x,
            each.y,
            f"{each.name}: {each.x:.3g} {axis}, score {each.y:.1f}",
            each.look,
            words.cut(each.name, 24) if named else "",
        )
        for each in points
    ]
    return scatter(f"Score against {axis}", (axis, "score %"), points)
