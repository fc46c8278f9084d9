"""What every reader gives: values as they stand in the source, and the table that is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from squeeze.data.labels import class_labels, label_list
from squeeze.data.looks import Unused
from squeeze.data.table import Column, Columns, Table, as_label, as_text
from squeeze.errors import DataError

__all__ = ["DEEPEST", "SAMPLED", "Cells", "collect", "column_names", "pick", "spread", "tabulate"]

DEEPEST = 4
"""Levels of nested objects whose values can be named, as in ``annotation.author.name``."""
SAMPLED, MOST_COLUMNS = 2_000, 10_000
"""Rows and columns where all columns are read."""
MANY_VALUES = 10_000
"""Different values of a column up to which equal ones are kept once."""


@dataclass(frozen=True)
class Cells:
    """Values of a source.

    Attributes:
        place: the source in words.
        values: N values by the name of the column, or by the path of a nested one, ``annotation.label``.
        rows: N numbers under which a user finds the rows again, see `Table`.
        names: of all columns, also of those that were not read.
        whole: whether the source has no further rows.
        classes: names of the classes that whole numbers stand for, of columns whose source names them.
        others: columns that were not read.
    """

    place: str
    values: Mapping[str, Sequence[Any]]
    rows: Sequence[int]
    names: Sequence[str] = ()
    whole: bool = True
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    others: tuple[Column, ...] = ()


def tabulate(cells: Cells, columns: Columns) -> Table:
    """The texts, labels and groups of a source.

    Args:
        cells: with these columns.
        columns: which of them is what.

    Raises:
        DataError: a cell holds something else; the message names the row.
    """
    rows, place, values = tuple(cells.rows), cells.place, cells.values
    return Table(
        texts=tuple(
            as_text(value, place, row) for row, value in zip(rows, values[columns.text], strict=True)
        ),
        labels=None if columns.label is None else _labels(cells, columns),
        rows=rows,
        place=place,
        groups=None if columns.group is None else tuple(map(as_label, values[columns.group])),
        others=cells.others,
        whole=cells.whole,
    )


def _labels(cells: Cells, columns: Columns) -> tuple[Any, ...]:
    """One name a row, several names a row, or one number a column as it is written."""
    names = columns.labels
    if columns.kind == "numbers":
        return tuple(tuple(map(as_label, row)) for row in zip(*(cells.values[n] for n in names), strict=True))
    (name,) = names
    values, classes = cells.values[name], cells.classes.get(name)
    if columns.kind == "list":
        return tuple(label_list(value, classes, columns.separator) for value in values)
    return class_labels(values, classes, cells.place, cells.rows)


def collect(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    place: str,
    wanted: Sequence[str] | None,
    most: int | None = None,
    header: Sequence[str] = (),
    *,
    whole: bool = True,
) -> Cells:
    """The values of records that are read one after the other.

    Args:
        records: (row number, values by column).
        place: the source in words.
        wanted: columns that are read; None: all of them, of rows that are spread over the records.
        most: how many first rows are read; None: all.
        header: names of the columns, where they are known before.
        whole: whether the source has no more records than these.

    Raises:
        DataError: all columns are read, and there are more than any table has.
    """
    if wanted is None:
        return _collect_all(list(islice(records, most)), place, header)
    rows: list[int] = []
    kept = [(name, _Values()) for name in wanted]
    names: dict[str, None] = dict.fromkeys(header)
    unused = Unused(wanted)
    for row, item in islice(records, most):
        if not unused.full:
            unused.add(item)
            names.update(dict.fromkeys(column_names(item)))
        elif not header:
            names.update(dict.fromkeys(item))
        rows.append(row)
        for name, values in kept:
            values.add(item[name] if name in item else pick(item, name))
    names.update({name: None for name, values in kept if "." in name and values.filled})
    whole = whole and (most is None or len(rows) < most)
    found = {name: values.all for name, values in kept}
    return Cells(place, found, rows, tuple(names), whole, others=unused.columns())


def _collect_all(every: list[tuple[int, Mapping[str, Any]]], place: str, header: Sequence[str]) -> Cells:
    chosen = [every[at] for at in spread(len(every), SAMPLED)]
    items = [_flat(item) for _, item in chosen]
    names = dict.fromkeys((*header, *(name for item in items for name in item)))
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{place}: {len(names):,} columns, at most {MOST_COLUMNS:,} are looked at",
            hint="write the columns of text and label alone into a file",
        )
    values = {name: [item.get(name) for item in items] for name in names}
    return Cells(place, values, [row for row, _ in chosen], tuple(names), whole=False)


class _Values:
    """The values of a column; of text that repeats, one string is kept."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._known: dict[str, str] = {}

    @property
    def filled(self) -> bool:
        """Whether any row has a value."""
        return any(value is not None for value in self.all)

    def add(self, value: Any) -> None:
        """Keep one row's value."""
        if isinstance(value, str):
            known = self._known
            value = known.setdefault(value, value) if len(known) < MANY_VALUES else known.get(value, value)
        self.all.append(value)


def pick(item: Any, name: str) -> Any:
    """The value of a column, or of a path into nested objects; None where there is none.

    >>> pick({"a": {"b": 1}, "a.c": 2}, "a.b"), pick({"a": {"b": 1}, "a.c": 2}, "a.c"), pick({}, "a.b")
    (1, 2, None)
    """
    if name in item:
        return item[name]
    for part in name.split(".") if "." in name else ():
        item = item.get(part) if isinstance(item, Mapping) else None
    return item if "." in name else None


def column_names(item: Mapping[str, Any], depth: int = DEEPEST) -> Iterator[str]:
    """The names of the values of a record, and the paths of those in nested objects.

    >>> list(column_names({"text": "x", "annotation": {"label": 1}}))
    ['text', 'annotation', 'annotation.label']
    """
    for name, value in item.items():
        yield name
        if depth and isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in column_names(value, depth - 1))


def _flat(item: Mapping[str, Any], depth: int = DEEPEST) -> dict[str, Any]:
    """A record with a path for each value of its nested objects."""
    flat: dict[str, Any] = {}
    for name, value in item.items():
        if depth and value and isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": v for inner, v in _flat(value, depth - 1).items()})
        else:
            flat[name] = value
    return flat


def spread(count: int, most: int) -> list[int]:
    """Positions of at most so many rows, evenly spread: files are often sorted by label.

    >>> spread(9, 3), spread(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most))}) if count else []
