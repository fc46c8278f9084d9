"""Several runs in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from squeeze.report.model import VERSION, ModelRow, RunReport
from squeeze.report.render import Grid, grid_text, megabytes, score_text, share, time, to_markdown, to_text
from squeeze.targets.subjects import FORM_FILES
from squeeze.tasks import METRICS

__all__ = ["compared", "reports_json", "reports_markdown", "reports_text", "shipped"]

TEST = "test"


def shipped(report: RunReport) -> ModelRow | None:
    """The model of a run that counts: the form that was judged, else the last one that was exported."""
    forms = [row for row in report.rows if row.name in FORM_FILES]
    judged = [row for row in forms if report.gate is not None and row.name == report.gate.form]
    return next(iter([*judged, *reversed(forms)]), None)


def compared(reports: Sequence[RunReport]) -> Grid:
    """The shipped model of each run, one line each."""
    headers = (
        "run",
        "verdict",
        "ships",
        "size MB",
        "p50 ms",
        "p95 ms",
        "score",
        "of teacher",
        "agreement",
    )
    return Grid(
        "Shipped models, on the test split of each run", headers, tuple(_line(each) for each in reports)
    )


def _line(report: RunReport) -> tuple[str, ...]:
    row = shipped(report) or ModelRow(name="-")
    quality = row.quality.get(TEST)
    verdict = "not judged" if report.gate is None else report.gate.verdict
    return (
        report.name,
        verdict,
        row.name,
        megabytes(row.size_bytes),
        time(row.p50_ms),
        time(row.p95_ms),
        "-"
        if quality is None
        else f"{METRICS[quality.primary].title} {score_text(quality.primary, quality.score)}",
        share(row.retention),
        share(None if quality is None else quality.scores.get("agreement")),
    )


def reports_markdown(reports: Sequence[RunReport]) -> str:
    """One report as it is; several behind a table that compares them."""
    if len(reports) == 1:
        return to_markdown(reports[0])
    return "\n".join([f"{grid_text(compared(reports))}\n", *map(to_markdown, reports)])


def reports_text(reports: Sequence[RunReport]) -> str:
    """The same for stdout."""
    if len(reports) == 1:
        return to_text(reports[0])
    return "\n\n".join([grid_text(compared(reports)), *map(to_text, reports)])


def reports_json(reports: Sequence[RunReport]) -> dict[str, Any]:
    """One report as it is; several as a document of reports."""
    if len(reports) == 1:
        return reports[0].plain()
    return {"kind": "run-reports", "version": VERSION, "reports": [each.plain() for each in reports]}
