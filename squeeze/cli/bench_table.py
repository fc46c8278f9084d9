"""Where the result of `squeeze bench` goes: a terminal, a pipe, the files of a CI."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from squeeze.cli.output import emit
from squeeze.errors import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from squeeze.bench import BenchReport, Judgement
    from squeeze.stages.gate.stage import Check
    from squeeze.targets.measurement import Estimate, Measurement

__all__ = ["draw", "save", "save_markdown", "show"]

COLORS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
SHOWN = (
    99.5  # percentile of the slowest model up to which samples are drawn: a stray call would press the rest
)
SUMMARY = "GITHUB_STEP_SUMMARY"
"""variable of GitHub Actions that names the file of a step's summary"""


def show(report: BenchReport, judgement: Judgement | None) -> None:
    """The report on stdout: drawn in a terminal, Markdown everywhere else."""
    from squeeze import bench_formats

    if not sys.stdout.isatty():
        emit(bench_formats.markdown(report, judgement).rstrip("\n"))
        return
    emit(draw(report, judgement, shutil.get_terminal_size().columns, sys.stdout.encoding), drawn=True)


def save(report: BenchReport, judgement: Judgement | None, junit: Path | None, markdown: Path | None) -> None:
    """Write the files that were asked for; checks that do not exist are not written."""
    from squeeze import bench_formats

    if markdown is not None:
        save_markdown(markdown, bench_formats.summary(report, judgement))
    if junit is not None and judgement is not None:
        junit.write_text(bench_formats.junit(judgement, report), encoding="utf-8")


def save_markdown(path: Path, text: str) -> None:
    """Write a file, or add to it where it is the summary of a GitHub step, which is not ours alone."""
    from squeeze.artifact import write_text

    given = os.environ.get(SUMMARY)
    shared = bool(given) and os.path.realpath(path) == os.path.realpath(given or "")
    if not shared and (path.is_file() or not path.exists()):
        write_text(path, text)
        return
    with path.open("a", encoding="utf-8") as file:  # a pipe too is only added to
        file.write(f"\n{text}" if shared else text)  # an empty line: what stands there may not end with one


def draw(report: BenchReport, judgement: Judgement | None, width: int, encoding: str | None) -> str:
    """The report for a terminal.

    Args:
        report: with raw samples.
        judgement: the budgets held against it.
        width: characters a line.
        encoding: of the terminal; without block characters in it everything is drawn with ASCII.
    """
    from rich.console import Console

    from squeeze import bench_formats
    from squeeze.report.sparks import BLOCKS, readable

    heights = readable(encoding)
    target = io.StringIO()
    console = Console(file=target, width=width, force_terminal=True, highlight=False, markup=False)
    for table in _tables(report, heights, plain=heights != BLOCKS):
        console.print(table)
    for each in report.comparisons:
        console.print(bench_formats.comparison(report, each).replace("`", "").replace("**", ""))
    if judgement is not None:
        _print_checks(console, judgement)
    console.print(visible(bench_formats.setting(report.measurements[0])), style="dim")
    for line in bench_formats.notes(report):
        console.print(f"- {visible(line)}", style="dim")
    return target.getvalue().rstrip("\n")


def _print_checks(console: Console, judgement: Judgement) -> None:
    for check in judgement.checks:
        console.print(_line(check), style=COLORS[check.verdict])
    console.print(f"verdict: {judgement.verdict}", style=f"bold {COLORS[judgement.verdict]}")


def _line(check: Check) -> str:
    from squeeze.bench_formats import told

    return visible(f"{told(check)}; {check.note}" if check.note else told(check))


def _tables(report: BenchReport, heights: str, *, plain: bool) -> Iterator[Table]:
    """Figures, with intervals below them, and the calls of each model drawn on one axis."""
    yield _table(
        ("model", "p50 ms", "p95 ms", "p99 ms", "load ms", "peak MB", "size MB"),
        [_figures(each) for each in report.measurements],
        plain=plain,
    )
    sampled = [each for each in report.measurements if each.samples_ms]
    if sampled:
        yield _calls(sampled, heights, plain=plain)


def _figures(each: Measurement) -> tuple[str, ...]:
    return (
        visible(each.name),
        *(_estimate(figure) for figure in (each.p50, each.p95, each.p99)),
        f"{each.load_ms:.3g}",
        f"{each.rss_bytes / 1e6:.1f}",
        f"{each.shipped_bytes / 1e6:.3g}",
    )


def _estimate(figure: Estimate) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3g}\nno interval"
    return f"{figure.value:.3g}\n{figure.low:.3g} to {figure.high:.3g}"


def _calls(sampled: list[Measurement], heights: str, *, plain: bool) -> Table:
    import numpy as np

    from squeeze.report.sparks import histogram, sparkline

    least = min(min(each.samples_ms) for each in sampled)
    most = max(max(float(np.percentile(each.samples_ms, SHOWN)) for each in sampled), least * 1.01)
    rows = []
    for each in sampled:
        medians = [float(np.median(block)) for block in each.blocks()]
        over_time = f"{sparkline(medians, heights=heights)}\n{min(medians):.3g} to {max(medians):.3g}"
        rows.append(
            (visible(each.name), over_time, histogram(each.samples_ms, (least, most), heights=heights))
        )
    head = ("model", "medians over time, ms", f"calls, {least:.3g} to {most:.3g} ms")
    return _table(head, rows, justify="left", plain=plain)


def _table(
    head: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    justify: Literal["left", "right"] = "right",
    plain: bool,
) -> Table:
    """A table whose first column is text and whose others lie as told."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD)
    for number, title in enumerate(head):
        table.add_column(Text(title), justify=justify if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # names come from outside and may look like markup
    return table
