"""The report as one HTML file: no script, no network, nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

from squeeze import __version__
from squeeze.errors import UsageError
from squeeze.report.evidence import Evidence
from squeeze.report.page import words
from squeeze.report.page.answering import changed, confusions
from squeeze.report.page.compare import comparison
from squeeze.report.page.drawing import draw
from squeeze.report.page.flow import flow
from squeeze.report.page.front import front
from squeeze.report.page.inside import rounding, weights
from squeeze.report.page.latency import latency
from squeeze.report.page.origins import environment
from squeeze.report.page.parts import RunView
from squeeze.report.page.stages import by_stage
from squeeze.report.page.summary import budget, cards

__all__ = ["MOST_BYTES", "to_html"]

MOST_BYTES = 2_000_000
"""Of a page: it must open on a phone and go through a mail."""


def to_html(runs: Sequence[Evidence], *, texts: bool = True) -> str:
    """The page of one or more runs.

    Args:
        runs: what was gathered of each, at least one.
        texts: whether texts whose answer changed are shown; they are the user's data.

    Raises:
        UsageError: the page would be larger than MOST_BYTES.
    """
    views = [_view(found, place, texts=texts) for place, found in enumerate(runs, start=1)]
    compared = comparison([found.report for found in runs]) if len(runs) > 1 else None
    page = draw(views, compared, __version__)
    size = len(page.encode("utf-8"))
    if size > MOST_BYTES:
        message = (
            f"a page of {len(runs)} runs has {words.megabytes(size)} MB, the limit is {MOST_BYTES / 1e6:g} MB"
        )
        raise UsageError(message, hint="give fewer runs, or leave the texts out with --no-texts")
    return page


def _view(found: Evidence, place: int, *, texts: bool) -> RunView:
    sections = (
        flow(found),
        by_stage(found),
        front(found),
        latency(found),
        confusions(found),
        weights(found),
        rounding(found),
        changed(found, texts=texts),
        environment(found),
    )
    report = found.report
    return RunView(report.name, f"run{place}", cards(found), budget(report), sections, report.run)
