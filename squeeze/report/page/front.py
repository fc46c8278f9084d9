"""The front of the search, with the student that was chosen."""

from __future__ import annotations

from squeeze.report.evidence import Evidence
from squeeze.report.evidence.origin import setting
from squeeze.report.page import words
from squeeze.report.page.charts import Point, Scatter, scatter
from squeeze.report.page.parts import Cell, Fold, Section, Table, Words
from squeeze.stages.search.stage import Row, SearchResult

__all__ = ["front"]

MOST_ROWS = 40
TITLE = "The search, and what it chose"


def front(found: Evidence) -> Section:
    """What each candidate is worth against its latency; those on the front are joined."""
    result = found.report.search
    if result is None:
        return Section(
            "front", TITLE, (Words("No search ran: the profile gave the student's shape.", quiet=True),)
        )
    shown = result.front[:MOST_ROWS]
    folded = Fold(f"{words.things(len(shown), 'student')} on the front", (_table(result),))
    lead = (
        f"{result.candidates:,} students are possible in the space {result.space}. {result.proposed:,} were "
        f"proposed, {result.outside:,} lay outside the budget, {result.scored:,} were scored. Latencies are "
        "predicted from a table of costs; worth is the weighted sum of standardised scores."
    )
    return Section("front", TITLE, (Words(lead), _chart(found, result), folded))


def _chart(found: Evidence, result: SearchResult) -> Scatter:
    best = {each.name for each in result.front}
    others = [_point(each, "") for each in found.searched if each.name not in best]
    points = [*others, *(_point(each, "front") for each in result.front), _point(result.chosen, "chosen")]
    limit = setting(found.stages.get("search"), "budget", "p95_ms")
    return scatter(
        "Worth of each candidate against its predicted latency",
        ("predicted p95, ms", "worth"),
        points,
        joined=[(each.p95_ms, each.worth) for each in result.front],
        limit=(float(limit), "limit") if isinstance(limit, int | float) and limit > 0 else None,
    )


def _point(row: Row, look: str) -> Point:
    name = f"{row.name}: {words.milliseconds(row.p95_ms)} ms, worth {row.worth:.2f}"
    return Point(row.p95_ms, row.worth, name, look, "chosen" if look == "chosen" else "")


def _table(result: SearchResult) -> Table:
    tried = {each.name: each.score for each in result.finalists}
    rows = tuple(
        (
            Cell(each.name),
            Cell("chosen", tone="good") if each.name == result.chosen.name else Cell(""),
            Cell(words.percent(tried.get(each.name))),
            Cell(f"{each.worth:.2f}"),
            Cell(words.milliseconds(each.p50_ms)),
            Cell(words.milliseconds(each.p95_ms)),
            Cell(words.megabytes(each.size_bytes)),
            Cell(words.count(each.parameters)),
        )
        for each in result.front[:MOST_ROWS]
    )
    headers = (
        "on the front",
        "",
        "score % after a short training",
        "worth",
        "p50 ms",
        "p95 ms",
        "size MB",
    )
    return Table((*headers, "parameters"), rows)
