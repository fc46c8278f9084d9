"""Draw a report: one Markdown text for files and pipes, rich tables in a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from squeeze.core.metrics import Quality
from squeeze.errors import visible
from squeeze.markup import literal
from squeeze.report.coverage import coverage
from squeeze.report.model import ModelRow, RunReport
from squeeze.report.teacher_time import of_all
from squeeze.stages.gate.stage import Check
from squeeze.stages.prune.stage import PruneResult
from squeeze.stages.quantize.stage import QuantizeResult
from squeeze.stages.search.stage import SearchResult
from squeeze.tasks import METRICS

__all__ = [
    "Grid",
    "checks_text",
    "grid_text",
    "grids",
    "megabytes",
    "score_text",
    "share",
    "time",
    "to_markdown",
    "to_text",
]

ABSENT = "-"
TEST = "test"
MARKS = {"pass": "pass", "fail": "FAIL", "inconclusive": "inconclusive"}


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first column is text, the others are figures; a note may follow it."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def to_markdown(report: RunReport) -> str:
    """The report as Markdown, aligned so that it also reads well as plain text."""
    named = [literal(report.run)] if report.run else []
    parts = [f"# {literal(report.name)}", *named, *(grid_text(grid) for grid in grids(report))]
    if report.gate is not None:
        parts.append(f"Verdict on {literal(report.gate.form)}: **{MARKS[report.gate.verdict]}**")
    parts.append("\n".join(f"- {literal(line)}" for line in coverage(report)))
    if report.warnings:
        parts.append("\n".join(f"- warning: {literal(line)}" for line in report.warnings))
    return "\n\n".join(parts) + "\n"


def to_text(report: RunReport) -> str:
    """The report for stdout: drawn with rich in a terminal, Markdown everywhere else."""
    if not sys.stdout.isatty():
        return to_markdown(report).rstrip("\n")
    return _drawn(report, shutil.get_terminal_size().columns)


def grids(report: RunReport) -> Iterator[Grid]:
    """The tables of a report; those without figures are left out."""
    if report.search is not None:
        yield _front(report.search)
    if report.rows:
        note = "" if report.teacher_time is None else of_all(report.teacher_time)
        yield _models(report.rows, note)
        yield from _recall(report)
        yield from _splits(report)
    if report.prune is not None:
        yield _pruning(report.prune)
    if report.quantize is not None:
        yield _quantizing(report.quantize)
    if report.gate is not None:
        yield _checks(report.gate.checks)


def _front(found: SearchResult) -> Grid:
    """The candidates that no other one beats in worth and latency, with what a short training said."""
    headers = ("student", "worth", "score (short)", "p50 ms", "p95 ms", "size MB", "parameters", "")
    tried = {each.name: each.score for each in found.finalists}
    rows = tuple(
        (
            row.name,
            f"{row.worth:.2f}",
            share(tried.get(row.name)),
            time(row.p50_ms),
            time(row.p95_ms),
            f"{row.size_bytes / 1e6:.2f}",
            _count(row.parameters),
            "chosen" if row.name == found.chosen.name else "",
        )
        for row in found.front
    )
    return Grid("Students on the front of the search, latencies predicted", headers, rows)


def _pruning(found: PruneResult) -> Grid:
    """The model before pruning, as it was cut, and recovered."""
    headers = ("moment", "score", "heads", "neurons", "parameters", "predicted ms")
    moments = (("before", found.before, found.before.quality), ("cut", found.cut, found.cut.quality))
    rows = tuple(
        (
            name,
            share(quality[TEST].score if TEST in quality else None),
            *(" ".join(map(str, counts)) for counts in (shape.heads, shape.neurons)),
            _count(shape.parameters),
            time(shape.predicted_ms),
        )
        for name, shape, quality in (*moments, ("recovered", found.cut, found.quality))
    )
    return Grid(f"Pruned by {found.method}, on the test split", headers, rows, _sparsity(found))


def _sparsity(found: PruneResult) -> str:
    if found.sparsity is None:
        return ""
    said = f"{share(found.sparsity.zeros)} % of {found.sparsity.weights:,} weights are zero"
    return f"{said} ({found.sparsity.pattern}); {found.sparsity.note}."


def _quantizing(found: QuantizeResult) -> Grid:
    """The float model, the rounded one, and the one that was trained while it was rounded."""
    moments = [("float", found.before), ("rounded", found.rounded)]
    if found.trained:
        moments.append((f"trained against {found.against}", found.quality))
    keys = _keys(quality.get(TEST) for _, quality in moments)
    rows = tuple((name, *_scores(quality.get(TEST), keys)) for name, quality in moments)
    kept = f"Float: {', '.join(found.keep)}." if found.keep else ""
    title = f"Quantized to {found.scheme} by {found.method}, on the test split"
    return Grid(title, ("moment", *(METRICS[key].title for key in keys)), rows, kept)


def _models(rows: Sequence[ModelRow], note: str) -> Grid:
    keys = _keys(row.quality.get(TEST) for row in rows)
    titles = (METRICS[key].title for key in keys)
    headers = ("model", *titles, "of teacher", "embedding", "rest", "size MB", "p50 ms", "p95 ms")
    return Grid("Models, on the test split", headers, tuple(_model(row, keys) for row in rows), note)


def _keys(qualities: Iterable[Quality | None]) -> tuple[str, ...]:
    """The scores that any of them has, in the order in which reports show them."""
    present = {key for quality in qualities if quality is not None for key in quality.scores}
    return tuple(key for key in METRICS if key in present)


def _scores(quality: Quality | None, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        yield score_text(key, None if quality is None else quality.scores.get(key))


def score_text(key: str, value: float | None) -> str:
    """A score of a task: a share in percent, anything else as it is."""
    if METRICS[key].is_share or value is None:
        return share(value)
    return f"{value:.3f}"


def _model(row: ModelRow, keys: Sequence[str]) -> tuple[str, ...]:
    sizes = (_count(row.embedding_parameters), _count(row.other_parameters))
    return (
        row.name,
        *_scores(row.quality.get(TEST), keys),
        share(row.retention),
        *sizes,
        megabytes(row.size_bytes),
        time(row.p50_ms),
        time(row.p95_ms),
    )


def _recall(report: RunReport) -> Iterator[Grid]:
    """Recall of each label on the test split, of a task with labels."""
    rows = [row for row in report.rows if TEST in row.quality and row.quality[TEST].recall]
    if not rows:
        return
    cells = tuple((row.name, *(share(value) for value in row.quality[TEST].recall)) for row in rows)
    width = max((len(row) - 1 for row in cells), default=0)
    labels = report.labels if len(report.labels) == width else tuple(f"label {i}" for i in range(width))
    yield Grid("Recall of each label, on the test split", ("model", *labels), cells)


def _splits(report: RunReport) -> Iterator[Grid]:
    """The primary score on all that is not the test split."""
    others = tuple(name for name in report.splits if name != TEST)
    if others:
        qualities = [quality for row in report.rows for quality in row.quality.values()]
        key = qualities[0].primary
        rows = tuple(
            (row.name, *(next(_scores(row.quality.get(name), (key,))) for name in others))
            for row in report.rows
        )
        title = METRICS[key].title
        yield Grid(f"{title[0].upper()}{title[1:]} on the other sets", ("model", *others), rows)


def _checks(checks: Sequence[Check]) -> Grid:
    headers = ("figure", "measured", "limit", "verdict", "note")
    return Grid("Budget", headers, tuple(_check(check) for check in checks))


def _check(check: Check) -> tuple[str, ...]:
    value = ABSENT if check.value is None else f"{check.value:.4g} {check.unit}".strip()
    return (check.name, value, f"{check.limit:.4g} {check.unit}".strip(), MARKS[check.verdict], check.note)


def checks_text(checks: Sequence[Check]) -> str:
    """The checks of a budget alone, as an aligned table."""
    return _table(_checks(checks))


def share(value: float | None) -> str:
    """A share in percent."""
    return ABSENT if value is None else f"{100 * value:.1f}"


def megabytes(value: int | None) -> str:
    """Bytes in units of 1,000,000."""
    return ABSENT if value is None else f"{value / 1e6:.2f}"


def time(value: float | None) -> str:
    """Milliseconds."""
    return ABSENT if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def grid_text(grid: Grid) -> str:
    """One table as Markdown."""
    return f"## {literal(grid.title)}\n\n{_table(grid)}" + (f"\n\n{literal(grid.note)}" if grid.note else "")


def _table(grid: Grid) -> str:
    headers, *rows = [tuple(map(literal, row)) for row in (grid.headers, *grid.rows)]
    widths = [max(3, *map(len, column)) for column in zip(headers, *rows, strict=True)]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(_line(row, widths) for row in (headers, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    padded = [
        first.ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def _drawn(report: RunReport, width: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    target = io.StringIO()
    console = Console(file=target, width=width, force_terminal=True, markup=False)  # names are no markup
    for grid in grids(report):
        table = Table(title=Text(visible(grid.title)), title_justify="left")
        for number, header in enumerate(grid.headers):
            table.add_column(Text(visible(header)), justify="right" if number else "left", overflow="fold")
        for row in grid.rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        console.print(table)
        if grid.note:
            console.print(visible(grid.note))
    if report.gate is not None:
        color = {"pass": "green", "fail": "red", "inconclusive": "yellow"}[report.gate.verdict]
        form, verdict = visible(report.gate.form), MARKS[report.gate.verdict]
        console.print(Text.assemble(f"Verdict on {form}: ", (verdict, f"bold {color}")))
    for line in coverage(report):
        console.print(visible(line))
    for line in report.warnings:
        console.print(visible(f"warning: {line}"), highlight=False)
    return target.getvalue().rstrip("\n")
