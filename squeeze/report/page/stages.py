"""The models of a run, stage by stage, with the change of every figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from squeeze.core.metrics import Quality
from squeeze.report.evidence import Evidence
from squeeze.report.model import ModelRow
from squeeze.report.page import words
from squeeze.report.page.parts import Cell, Fold, Part, Section, Table, Tone, Words
from squeeze.report.steps import Step, steps
from squeeze.tasks import METRICS

__all__ = ["by_stage"]

MOST_LABELS = 40
TEST = "test"


@dataclass(frozen=True)
class Figure:
    """A figure of a model.

    Attributes:
        name: with its unit.
        of: reads it; None where it is not there.
        said: in words.
        better: 1 where more is better, -1 where less is, 0 where it is neither.
        points: whether the change is in points of percent; else it is in percent of the value before.
    """

    name: str
    of: Callable[[ModelRow, str], float | None]
    said: Callable[[float | None], str]
    better: int
    points: bool


def _score(key: str) -> Figure:
    """A score of the task."""
    metric = METRICS[key]

    def of(row: ModelRow, split: str) -> float | None:
        quality = row.quality.get(split)
        return None if quality is None else quality.scores.get(key)

    if metric.is_share:
        return Figure(f"{metric.title} %", of, words.percent, metric.better, True)
    return Figure(metric.title, of, words.plain, metric.better, False)


def _size(field: str) -> Callable[[ModelRow, str], float | None]:
    return lambda row, _: getattr(row, field)


def _count(value: float | None) -> str:
    return words.count(None if value is None else int(value))


COST = (
    Figure("size MB", _size("size_bytes"), words.megabytes, -1, False),
    Figure("embedding parameters", _size("embedding_parameters"), _count, -1, False),
    Figure("other parameters", _size("other_parameters"), _count, -1, False),
    Figure("p50 ms", _size("p50_ms"), words.milliseconds, -1, False),
    Figure("p95 ms", _size("p95_ms"), words.milliseconds, -1, False),
)


def by_stage(found: Evidence) -> Section:
    """One table of size and speed, one of quality for each split."""
    made = steps(found.stages)
    if not made:
        return Section("stages", "Stage by stage", (Words("The run has no model yet.", quiet=True),))
    splits = found.report.splits
    parts: list[Part] = [_table(made, COST, TEST, "Size and speed")]
    for split in splits:
        rows = next((s.row.quality[split].rows for s in made if split in s.row.quality), 0)
        title = f"Quality on {split}, {rows:,} texts"
        keys = {key for s in made if split in s.row.quality for key in s.row.quality[split].scores}
        scores = [_score(key) for key in METRICS if key in keys]
        table, recall = _table(made, scores, split, ""), _recall(made, found.report.labels, split)
        parts.append(Fold(title, (table, *recall), opened=split == TEST))
    note = (
        "Below each figure is its change from the model that it was made from: a form of the export from the "
        "float file, the others from the line above. Changes of shares are points, of others percent."
    )
    return Section("stages", "Stage by stage", (*parts, Words(note, quiet=True)))


def _table(made: Sequence[Step], figures: Sequence[Figure], split: str, caption: str) -> Table:
    rows = tuple(
        (Cell(step.row.name), *(_cell(figure, step.row, step.before, split) for figure in figures))
        for step in made
    )
    return Table(("model", *(figure.name for figure in figures)), rows, caption)


def _cell(figure: Figure, row: ModelRow, before: ModelRow | None, split: str) -> Cell:
    value = figure.of(row, split)
    was = None if before is None else figure.of(before, split)
    if value is None or was is None:
        return Cell(figure.said(value))
    if figure.points:
        return _changed(figure.said(value), 100 * (value - was), "", figure.better)
    return _changed(figure.said(value), 100 * (value / was - 1) if was else 0.0, " %", figure.better)


def _changed(text: str, change: float, unit: str, better: int) -> Cell:
    said = words.signed(change)
    tone: Tone = ""
    if said != words.signed(0.0):
        tone = "good" if change * better > 0 else "bad"
    return Cell(text, f"{said}{unit}", tone)


def _recall(made: Sequence[Step], labels: Sequence[str], split: str) -> tuple[Part, ...]:
    """Recall of each label, one line a label, so that many labels fit on a phone."""
    told = [step for step in made if split in step.row.quality]
    if not told or not told[0].row.quality[split].recall:
        return ()
    width = len(told[0].row.quality[split].recall)
    names = labels if len(labels) == width else [f"label {place}" for place in range(width)]
    rows = tuple(
        (Cell(names[place]), *(_recalled(step, split, place) for step in told))
        for place in range(min(width, MOST_LABELS))
    )
    table = Table(("recall %", *(step.row.name for step in told)), rows)
    left = width - len(rows)
    return (table, Words(f"{left:,} more labels are not listed.", quiet=True)) if left > 0 else (table,)


def _recalled(step: Step, split: str, place: int) -> Cell:
    now = _found(step.row.quality.get(split), place)
    was = None if step.before is None else _found(step.before.quality.get(split), place)
    if now is None or was is None:
        return Cell(words.percent(now))
    return _changed(words.percent(now), 100 * (now - was), "", 1)


def _found(quality: Quality | None, place: int) -> float | None:
    return None if quality is None or place >= len(quality.recall) else quality.recall[place]
