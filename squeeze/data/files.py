"""Tables from files of text: CSV, TSV, JSON and JSONL, packed by gzip or not; and from Parquet.

Python's own `csv` and `json` read them, not pyarrow, which is faster. But pyarrow takes ``"a"b c`` for
``ab c``, joins all rows behind a quote that nobody closes where the number of cells allows it, refuses a cell
that is longer than its block, and knows no line numbers; its JSON reader turns text that looks like a time
into one and refuses a column of numbers and text. And `squeeze plan` works on the base install, which has no
pyarrow.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from squeeze.data.cells import Cells, collect
from squeeze.data.jsons import json_lines, json_list
from squeeze.data.looks import ROWS
from squeeze.data.opening import LONGEST, Lines, is_packed, text_lines
from squeeze.data.parquet import read_parquet
from squeeze.data.table import Columns, require_columns
from squeeze.data.wording import listing, rows_text, shown
from squeeze.errors import DataError

__all__ = ["READERS", "Reader", "ending_of", "parse_delimited", "reader_of"]

Reader = Callable[[Path, Columns | None, int | None], Cells]
"""(file, columns or None for all, how many first rows or None for all) -> their values."""
SEPARATORS = {",": "a comma", ";": "';'", "\t": "a tab", "|": "'|'"}


def parse_delimited(
    lines: Lines,
    place: str,
    columns: Columns | None,
    delimiter: str = ",",
    rows: int | None = None,
) -> Cells:
    """The cells of a CSV or TSV file with a header; cells may be quoted and span lines.

    Args:
        lines: of the file.
        place: the file in words.
        columns: that are read; None: all.
        delimiter: between cells.
        rows: read only the first rows; None: all.

    Raises:
        DataError: no header, a missing column, rows with too few or too many cells, broken quotes, rows that
            a lone quote of an unquoted TSV file has swallowed.
    """
    every = _records(lines, place, delimiter, partial=not lines.whole)
    _, header = next(every, (0, []))
    if not header:
        raise DataError(f"{place}: the file is empty, a header with column names is expected")
    _require_separator(place, header, delimiter, columns.text if columns else "")
    if columns:
        require_columns(place, header, columns)
    body = _Body(header, delimiter)
    records = body.records(islice(every, rows), columns.names if columns else header)
    cells = collect(records, place, columns.names if columns else None, rows, header, whole=lines.whole)
    body.refuse(place)
    return cells


class _Body:
    """The records that fit the header, and the lines of those that do not.

    Args:
        header: names of the columns.
        delimiter: between cells.
    """

    def __init__(self, header: Sequence[str], delimiter: str) -> None:
        self._delimiter, self._width = delimiter, len(header)
        self._at: dict[str, int] = {}
        for at, name in enumerate(header):
            self._at.setdefault(name, at)
        self._uneven: list[int] = []
        self._swallowed: list[int] = []

    def records(
        self, every: Iterable[tuple[int, list[str]]], wanted: Sequence[str]
    ) -> Iterator[tuple[int, Mapping[str, str]]]:
        """(line, cells by column) of those that fit; blank lines are none.

        Args:
            every: (line, cells).
            wanted: columns that are read; of the others the first cells are given alone, to look at.
        """
        at = self._at
        for number, (line, cells) in enumerate(every):
            if not cells:
                continue
            if len(cells) != self._width:
                self._uneven.append(line)
                continue
            # TSV files are often written without any quoting.
            if self._delimiter == "\t" and any("\n" in cell and "\t" in cell for cell in cells):
                self._swallowed.append(line)
            yield line, {name: cells[place] for name, place in at.items()}
            if number == ROWS:
                at = {name: at[name] for name in dict.fromkeys(wanted)}

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


def _require_separator(place: str, header: Sequence[str], delimiter: str, text: str) -> None:
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


def _records(
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


def _read_delimited(delimiter: str, path: Path, columns: Columns | None, rows: int | None) -> Cells:
    with text_lines(path, sample=rows is not None) as lines:
        return parse_delimited(lines, str(path), columns, delimiter, rows)


def _read_jsonl(path: Path, columns: Columns | None, rows: int | None) -> Cells:
    # Lines end at line feeds only: JSON strings may hold U+2028 and other characters that end lines of text.
    with text_lines(path, end="\n", sample=rows is not None) as lines:
        return _read_objects(
            json_lines(lines, str(path), _names(columns)), str(path), columns, rows, lines.whole
        )


def _read_json(path: Path, columns: Columns | None, rows: int | None) -> Cells:
    with text_lines(path, end="\n", sample=rows is not None, longest=sys.maxsize) as lines:
        text = "".join(lines)
    records = json_list(text, str(path), _names(columns), whole=lines.whole)
    return _read_objects(records, str(path), columns, rows, lines.whole)


def _names(columns: Columns | None) -> frozenset[str]:
    return frozenset(columns.names if columns else ())


def _read_objects(
    records: Iterator[tuple[int, Mapping[str, Any]]],
    place: str,
    columns: Columns | None,
    rows: int | None,
    whole: bool,
) -> Cells:
    cells = collect(records, place, columns.names if columns else None, rows, whole=whole)
    if not cells.rows:
        raise DataError(f"{place}: the file is empty, objects of JSON are expected")
    if columns:
        require_columns(place, cells.names, columns)
    return cells


TEXT: Mapping[str, Reader] = {
    ".csv": partial(_read_delimited, ","),
    ".tsv": partial(_read_delimited, "\t"),
    ".json": _read_json,
    ".jsonl": _read_jsonl,
}
READERS: Mapping[str, Reader] = {
    **TEXT,
    **{f"{ending}.gz": reader for ending, reader in TEXT.items()},
    ".parquet": read_parquet,
}


def reader_of(path: Path) -> Reader | None:
    """Who reads a file, by its ending; None for one that nobody knows."""
    return READERS.get(ending_of(path))


def ending_of(path: Path) -> str:
    """The end of a file's name in small letters, two of them where it is packed.

    >>> ending_of(Path("a.b/c.CSV")), ending_of(Path("c.csv.gz"))
    ('.csv', '.csv.gz')
    """
    return "".join(path.suffixes[-2:] if is_packed(path) else path.suffixes[-1:]).lower()
