"""The command that shows what runs have measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli.bench_table import save_markdown
from squeeze.cli.options import AsJson
from squeeze.cli.output import emit, emit_json, shown, writable

if TYPE_CHECKING:
    from squeeze.artifact import Artifact

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, such as runs/smoke.")
    ],
    as_json: AsJson = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the report as Markdown.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write it as one HTML page, with charts."),
    ] = None,
    no_texts: Annotated[
        bool, typer.Option("--no-texts", help="Quote no text of the test sets on the page.")
    ] = False,
) -> None:
    """Show what the last complete run in each RUN has measured.

    The page also asks the shipped file for all test texts, and compares its answers with the teacher's.
    """
    from squeeze import pipeline
    from squeeze.artifact import write_text
    from squeeze.errors import UsageError
    from squeeze.report import by_kind, collect, reports_json, reports_markdown, reports_text

    writable(markdown, html)
    if no_texts and html is None:
        raise UsageError("--no-texts: no effect without --html", hint="only the page quotes texts")
    opened = dict(zip(_names(runs), map(pipeline.open_stages, runs), strict=True))
    lines = [pipeline.describe_run(run) for run in runs]
    found = [
        collect(name, by_kind(stages), line)
        for (name, stages), line in zip(opened.items(), lines, strict=True)
    ]
    if markdown is not None:
        save_markdown(markdown, reports_markdown(found))
    if html is not None:
        write_text(html, _page(opened, lines, texts=not no_texts))
    if as_json:
        emit_json(reports_json(found))
    else:
        emit(reports_text(found), drawn=True)


def _page(opened: dict[str, dict[str, Artifact]], lines: Sequence[str], *, texts: bool) -> str:
    from squeeze.report.evidence import gather
    from squeeze.report.page import to_html

    with shown() as progress:
        runs = zip(opened.items(), lines, strict=True)
        return to_html([gather(name, stages, progress, line) for (name, stages), line in runs], texts=texts)


def _names(runs: Sequence[Path]) -> list[str]:
    """What the runs are called: their folders, with the one above where two are called alike.

    Raises:
        UsageError: a run is named twice.
    """
    from squeeze.errors import UsageError

    twice = [run for run, times in Counter(run.resolve() for run in runs).items() if times > 1]
    if twice:
        raise UsageError(f"{twice[0]}: named twice")
    places = [run.resolve() if run.name == ".." else run.absolute() for run in runs]
    for named in (_short, _longer, str):
        names = [named(place) for place in places]
        if len(set(names)) == len(names):
            break
    return names


def _short(place: Path) -> str:
    return place.name


def _longer(place: Path) -> str:
    return f"{place.parent.name}/{place.name}"
