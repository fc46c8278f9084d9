"""Tables from files: CSV, TSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import Any

from squeeze.data.labels import class_labels
from squeeze.data.looks import Unused
from squeeze.data.opening import LONGEST, text_lines
from squeeze.data.parquet import read_parquet
from squeeze.data.table import Columns, Table, as_label, as_text, require_columns
from squeeze.data.wording import listing, rows_text, shown
from squeeze.errors import DataError

__all__ = ["READERS", "Reader", "json_object", "parse_delimited", "records", "require_separator"]

Reader = Callable[[Path, Columns, int | None], Table]
"""(file, columns, how many first rows or None for all) -> table."""
SEPARATORS = {",": "a comma", ";": "';'", "\t": "a tab", "|": "'|'"}


def parse_delimited(
    lines: Iterable[str],
    place: str,
    columns: Columns,
    delimiter: str = ",",
    rows: int | None = None,
) -> Table:
    """The table of a CSV or TSV file with a header; cells may be quoted and span lines.

    Args:
        lines: of the file, with their ends.
        place: the file in words.
        columns: that are read.
        delimiter: between cells.
        rows: read only the first rows; None: all.

    Raises:
        DataError: no header, a missing column, rows with too few or too many cells, broken quotes, rows that
            a lone quote of an unquoted TSV file has swallowed.
    """
    every = records(lines, place, delimiter, partial=rows is not None)
    _, header = next(every, (0, []))
    if not header:
        raise DataError(f"{place}: the file is empty, a header with column names is expected")
    require_separator(place, header, delimiter, columns.text)
    require_columns(place, header, columns)
    at = {name: header.index(name) for name in columns.names}
    body, texts = _Body(len(header), delimiter), list[str]()
    labels, groups, unused = _Names(columns.label), _Names(columns.group), Unused(columns.names)
    for line, cells in islice(every, rows):
        if body.takes(line, cells):
            if not unused.full:
                unused.add(dict(zip(header, cells, strict=True)))
            texts.append(cells[at[columns.text]])
            for names in (labels, groups):
                names.add(cells, at)
    body.refuse(place)
    return Table(tuple(texts), labels.values, tuple(body.rows), place, groups.values, unused.columns())


class _Names:
    """The cells of a column whose values repeat, each kept once.

    Args:
        column: its name; None: there is none.
    """

    def __init__(self, column: str | None) -> None:
        self._column = column
        self._values: list[str] = []
        self._known: dict[str, str] = {}

    @property
    def values(self) -> tuple[str, ...] | None:
        """All values, None where there is no column."""
        return None if self._column is None else tuple(self._values)

    def add(self, cells: Sequence[str], at: Mapping[str, int]) -> None:
        """Keep one record's value."""
        if self._column is not None:
            value = cells[at[self._column]]
            self._values.append(self._known.setdefault(value, value))


class _Body:
    """The lines of good records, and those of records that do not fit the header.

    Args:
        width: cells of the header.
        delimiter: between cells.
    """

    def __init__(self, width: int, delimiter: str) -> None:
        self.rows: list[int] = []
        self._width, self._delimiter = width, delimiter
        self._uneven: list[int] = []
        self._swallowed: list[int] = []

    def takes(self, line: int, cells: list[str]) -> bool:
        """Whether the record is one to keep; a blank line is none."""
        if not cells:
            return False
        if len(cells) != self._width:
            self._uneven.append(line)
            return False
        # TSV files are often written without any quoting.
        if self._delimiter == "\t" and any("\n" in cell and "\t" in cell for cell in cells):
            self._swallowed.append(line)
        self.rows.append(line)
        return True

    def refuse(self, place: str) -> None:
        """Raise for the records that do not fit."""
        if self._uneven:
            raise DataError(
                f"{place}: {len(self._uneven)} rows do not have the header's {self._width} cells: "
                f"{rows_text(self._uneven)}",
                hint="put quotes around texts that hold the separator, and double the quotes inside them",
            )
        if self._swallowed:
            raise DataError(
                f"{place}: {len(self._swallowed)} rows hold a quoted cell with tabs and line breaks, "
                f"which looks like rows swallowed by a lone quote: {rows_text(self._swallowed)}",
                hint="put quotes around texts that hold quotes, and double those; or save it as .jsonl",
            )


def require_separator(place: str, header: Sequence[str], delimiter: str, text: str) -> None:
    """Name the separator that a file really has, where it is not the one of its ending.

    Args:
        place: of the file.
        header: its cells, cut at the delimiter.
        delimiter: of its ending.
        text: the text column that is looked for; empty where any will do.
    """
    if len(header) != 1 or header[0] == text:
        return
    other = max(SEPARATORS, key=header[0].count)
    if header[0].count(other):
        names = [name.strip().strip('"') for name in header[0].split(other)]
        hint = {",": "name it .csv", "\t": "name it .tsv"}.get(
            other, "save it with a comma between the cells"
        )
        missing = f"no text column {text!r}; " if text else ""
        raise DataError(
            f"{place}: {missing}the file looks separated by {SEPARATORS[other]}, "
            f"not {SEPARATORS[delimiter]}: its columns would be {listing(map(shown, names))}",
            hint=hint,
        )


def records(
    lines: Iterable[str], place: str, delimiter: str, *, partial: bool
) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of every record; a blank line is an empty one."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))  # 131,072 are fewer than a long document has
    # Strict, because a lenient reader swallows the rest of the file after an unclosed quote.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        if partial and "unexpected end" in str(error):
            return  # the sample ends inside of a record
        raise DataError(
            f"{place}: row {begins} is broken ({error})",
            hint="a quote that opens a cell must be closed, and quotes inside quoted cells doubled;"
            f" a cell holds at most {csv.field_size_limit():,} characters",
        ) from error


def _read_csv(path: Path, columns: Columns, rows: int | None = None) -> Table:
    with text_lines(path, sample=rows is not None) as lines:
        return parse_delimited(lines, str(path), columns, rows=rows)


def _read_tsv(path: Path, columns: Columns, rows: int | None = None) -> Table:
    with text_lines(path, sample=rows is not None) as lines:
        return parse_delimited(lines, str(path), columns, delimiter="\t", rows=rows)


def _read_jsonl(path: Path, columns: Columns, rows: int | None = None) -> Table:
    """One JSON object a line; blank lines are skipped."""
    place = str(path)
    names: dict[str, None] = {}
    found: dict[int, dict[str, Any]] = {}
    unused = Unused(columns.names)
    # Lines end at line feeds only: JSON strings may hold U+2028 and other characters that end lines of text.
    with text_lines(path, end="\n", sample=rows is not None) as lines:
        filled = ((row, line) for row, line in enumerate(lines, 1) if line.strip())
        for row, line in islice(filled, rows):
            item = json_object(line, place, row, set(columns.names))
            names.update(dict.fromkeys(item))
            found[row] = {name: item.get(name) for name in columns.names}
            if not unused.full:
                unused.add(item)
    if not found:
        raise DataError(f"{place}: the file is empty, one JSON object a line is expected")
    require_columns(place, names, columns)
    return Table(
        texts=tuple(as_text(item[columns.text], place, row) for row, item in found.items()),
        labels=_labels(found, columns.label, place),
        rows=tuple(found),
        place=place,
        groups=None
        if columns.group is None
        else tuple(as_label(item[columns.group]) for item in found.values()),
        others=unused.columns(),
    )


def _labels(found: Mapping[int, Mapping[str, Any]], column: str | None, place: str) -> tuple[str, ...] | None:
    if column is None:
        return None
    return class_labels([item[column] for item in found.values()], None, place, tuple(found))


def json_object(line: str, place: str, row: int, wanted: Set[str] = frozenset()) -> dict[str, Any]:
    """One line as an object.

    Raises:
        DataError: it is none, or names one of the wanted keys twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        item = dict(pairs)
        if len(item) < len(pairs):
            names = [name for name, _ in pairs]
            twice = [name for name in item if name in wanted and names.count(name) > 1]
            if twice:
                raise DataError(f"{place}: row {row} names {twice[0]!r} {names.count(twice[0])} times")
        return item

    try:
        value = json.loads(line, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: row {row} is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{place}: row {row} is not usable JSON: nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        limit = sys.get_int_max_str_digits()
        raise DataError(
            f"{place}: row {row} is not usable JSON: a whole number of more than {limit:,} digits"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: row {row} is a JSON {type(value).__name__}, an object is expected")
    return value


READERS: Mapping[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": read_parquet,
}
