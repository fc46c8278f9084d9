"""Labelled text in memory, with the place every row came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from squeeze.data.wording import listing, nearest, shown
from squeeze.errors import DataError

__all__ = [
    "ONE_LABEL",
    "Column",
    "Columns",
    "Label",
    "LabelCells",
    "Table",
    "as_label",
    "as_text",
    "require_columns",
]

Label: TypeAlias = str | tuple[str, ...]
"""What a row is labelled with: one name, several of them, or several numbers as they are written."""


class LabelCells(NamedTuple):
    """How a task's labels stand in a source; see `Columns`."""

    default: str | tuple[str, ...] = "label"
    """the column, or several with a number each, where the profile names none"""
    kind: Literal["name", "list", "numbers"] = "name"
    separator: str = "|"


ONE_LABEL = LabelCells()


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read.

    Attributes:
        text: the text.
        label: the label, or several columns with a number each; None: the source is read without labels.
        group: the column by which the rows are split; None: there is none.
        kind: what a row's label is: one name; a list of names (a list, a list in JSON, or names in text); or
            numbers, which stay text until the task reads them.
        separator: between the names of a list in text.
    """

    text: str
    label: str | tuple[str, ...] | None
    group: str | None = None
    kind: Literal["name", "list", "numbers"] = "name"
    separator: str = "|"

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of the label."""
        return (self.label,) if isinstance(self.label, str) else self.label or ()

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once."""
        return tuple(
            dict.fromkeys(name for name in (self.text, *self.labels, self.group) if name is not None)
        )


@dataclass(frozen=True)
class Column:
    """A column that is not read.

    Attributes:
        name: as it stands in the source.
        kind: what its first rows look like.
    """

    name: str
    kind: Literal["text", "list", "other"]


@dataclass(frozen=True)
class Table:
    """The rows of one source.

    Attributes:
        texts: N texts, as they stand in the source.
        labels: N labels, or None when the source is read without labels: a name, or names or numbers as text.
        rows: N numbers, starting at 1, under which a user finds the rows again. In CSV, TSV and
            JSONL files it is the line on which the record begins (the header of a CSV is line 1);
            in JSON lists, Parquet files and hub sets it is the position of the row.
        place: the source in words.
        groups: N values of the column by which the table is split, or None.
        others: columns that are not read.
        whole: whether the source has no further rows.
    """

    texts: tuple[str, ...]
    labels: tuple[Label, ...] | None
    rows: tuple[int, ...]
    place: str
    groups: tuple[str, ...] | None = None
    others: tuple[Column, ...] = ()
    whole: bool = True

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    def take(self, keep: Sequence[int]) -> Table:
        """Only the rows at these positions (0-based), in this order."""
        labels = None if self.labels is None else tuple(self.labels[i] for i in keep)
        return replace(
            self,
            texts=tuple(self.texts[i] for i in keep),
            labels=labels,
            rows=tuple(self.rows[i] for i in keep),
            groups=None if self.groups is None else tuple(self.groups[i] for i in keep),
        )


def require_columns(place: str, found: Iterable[str], wanted: Columns) -> None:
    """Make sure that the wanted columns are there.

    Raises:
        DataError: names the missing column, the nearest name and all columns there are; or one that is there
            twice, or is text and label at once.
    """
    columns = list(found)
    if wanted.text in wanted.labels:
        raise DataError(f"{place}: text and label are one column, {wanted.text!r}", hint=_named("label"))
    labels = (("label", name) for name in wanted.labels)
    for key, name in (("text", wanted.text), *labels, ("split by", wanted.group)):
        if name is not None and name not in columns:
            raise DataError(
                f"{place}: no {key} column {name!r}{nearest(name, columns)}; "
                f"it has: {listing(map(shown, columns))}{_other_task(columns)}",
                hint=_SPLIT if name == wanted.group else _named(key),
            )
        if name is not None and columns.count(name) > 1:
            raise DataError(
                f"{place}: {columns.count(name)} columns are called {name!r}", hint="rename all but one"
            )


OTHER_TASKS = (
    ({"tokens", "tags"}, "token classification"),
    ({"tokens", "ner_tags"}, "token classification"),
    ({"text_a", "text_b", "score"}, "sentence similarity"),
    ({"sentence1", "sentence2", "score"}, "sentence similarity"),
    ({"query", "document"}, "text ranking"),
    ({"text_a", "text_b"}, "text pairs"),
    ({"sentence1", "sentence2"}, "text pairs"),
    ({"premise", "hypothesis"}, "text pairs"),
    ({"text", "labels"}, "multi-label classification"),
)
"""Columns that data for something else than one label a text has."""


def _other_task(columns: Sequence[str]) -> str:
    names = {name.casefold() for name in columns}
    tasks = [task for wanted, task in OTHER_TASKS if wanted <= names]
    return f", which looks like {tasks[0]}" if tasks else ""


_SPLIT = '[data] split by is "random", "event", "date" or the name of a column'


def _named(key: str) -> str:
    return f'name the column with `{key} = "..."` in [data] or in the source itself'


def as_text(value: Any, place: str, row: int) -> str:
    """A cell of a typed format as text; a missing one is empty, which the checks report.

    Raises:
        DataError: the cell holds something else than text.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    # Nested values may be deeper or larger than can be shown.
    shown = "" if isinstance(value, list | dict | bytes) else f" {str(value)[:40]!r}"
    looks = ", which looks like token data" if isinstance(value, list) else ""
    raise DataError(
        f"{place}: row {row} holds {type(value).__name__}{shown} where text is expected{looks}",
        hint="one text a row is read; name its column with `text`",
    )


def as_label(value: Any) -> str:
    """A cell of a typed format as a label name.

    Whole numbers lose a decimal point that only a missing value elsewhere in the column gave them.

    >>> as_label(1), as_label(2.0), as_label(True), as_label(None)
    ('1', '2', 'true', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if value != value:  # NaN, by which some tools spell a missing value
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
