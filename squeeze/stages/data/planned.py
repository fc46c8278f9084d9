"""What the first rows of every source show, before a run: the checks of the stage on a sample."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from squeeze.data.checks import hint, inspect
from squeeze.data.config import DataSection, Source
from squeeze.data.opening import home
from squeeze.data.sources import SAMPLE, UNLABELLED, Table, as_source, named_sources, sample
from squeeze.data.splitting import DATE, dates
from squeeze.data.table import LabelCells
from squeeze.data.wording import combine
from squeeze.errors import DataError
from squeeze.stages.data.stage import DataConfig
from squeeze.tasks import task_of

__all__ = ["check"]

FEW = 8
"""Sources that are looked at in full; of more, fewer rows each, so that all fit into the time."""
LEAST = 10  # rows of one source


def check(config: DataConfig) -> tuple[str, ...]:
    """Refuse what the stage would refuse, as far as the first rows show it.

    Returns:
        Warnings, one line each; those on a sample say so.

    Raises:
        DataError: all problems of all sources, with row numbers.
        MissingBackend: a source needs a library that is not there.
    """
    section, task = config.data, task_of(config.task)
    _refuse_same_file(section)
    seen = _look(section, task.cells())
    near = "refuse" if section.near_duplicates == "refuse" else "keep"  # the run finds them all
    findings = inspect(seen.tables, task, section.duplicates_in_use(), near, seen.partial)
    if seen.unreadable or findings.problems:
        advice = seen.unreadable[0].hint if seen.unreadable else hint(task)
        raise combine([*(error.message for error in seen.unreadable), *findings.problems], advice)
    return (*seen.notes, *findings.warnings)


@dataclass
class _Seen:
    """First rows of all sources.

    Attributes:
        tables: of the labelled splits.
        partial: splits that have more rows than these.
        notes: on what was not looked at.
        unreadable: what cannot be read.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    unreadable: list[DataError] = field(default_factory=list)


def _look(section: DataSection, labels: LabelCells) -> _Seen:
    seen, sources = _Seen(), list(named_sources(section))
    rows = SAMPLE if len(sources) <= FEW else max(LEAST, FEW * SAMPLE // len(sources))
    for slot, source in sources:
        try:
            table = sample(source, slot, section, rows, labels)
            if table is not None and slot == "train" and section.split and section.split.by == DATE:
                dates(table)  # refuses what is none
        except DataError as error:
            seen.unreadable.append(error)
            continue
        if table is None:
            seen.notes.append(f"{slot} ({source.name}): looked at in the run only")
        elif slot != UNLABELLED:
            seen.tables[slot] = table if table.whole else _marked(table)
            seen.partial |= set() if table.whole else {slot}
    return seen


def _marked(table: Table) -> Table:
    """The rows under a name that says that there are more."""
    return replace(table, place=f"{table.place}, first {len(table):,} rows")


def _refuse_same_file(section: DataSection) -> None:
    """Refuse a test that is the training file under another name.

    Raises:
        DataError: a link or another spelling leads to the same file.
    """
    train = as_source(section.train)
    for slot, source in named_sources(section):
        if slot in {"train", UNLABELLED} or _column(source, section) != _column(train, section):
            continue
        try:
            same = home(source.name).samefile(home(train.name))
        except OSError:  # one is not there, which is said by whoever reads it
            continue
        if same:
            raise DataError(
                f"{slot}: {source.name} is the training file {train.name}, and a figure on it says nothing",
                hint="name text that is not trained on",
            )


def _column(source: Source, section: DataSection) -> str:
    return source.text or section.text
