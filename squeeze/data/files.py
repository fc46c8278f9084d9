"""Tables from files: CSV, TSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from squeeze.data.labels import class_label, class_names
from squeeze.data.table import Table, as_label, as_text, require_columns
from squeeze.data.wording import nearest, rows_text
from squeeze.errors import DataError
from squeeze.runtime import need

__all__ = ["READERS", "Reader", "decode", "parse_delimited", "read_bytes"]

Reader = Callable[[Path, str, str | None], Table]
"""(file, text column, label column or None) -> table."""


def read_bytes(path: Path) -> bytes:
    """All of a file.

    Raises:
        DataError: it is not there, is a folder or may not be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = (
            nearest(path.name, beside)
            if beside
            else "; its folder is not there either" * (not path.parent.is_dir())
        )
        raise DataError(f"{path}: no such file{near}", hint="paths are relative to the profile") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def decode(data: bytes, place: str) -> str:
    """UTF-8 text, with or without byte order mark.

    Raises:
        DataError: names the line, the byte and its offset in the file.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder counts from behind the byte order mark.
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = len(data[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise DataError(
            f"{place}: row {line} is not UTF-8: byte 0x{data[at]:02x} at offset {at}",
            hint=f"the file looks like {'UTF-16' if utf16 else 'Latin-1 or Windows-1252'}: save it as UTF-8",
        ) from error


def parse_delimited(content: str, place: str, text: str, label: str | None, delimiter: str = ",") -> Table:
    """The table of a CSV or TSV file with a header; cells may be quoted and span lines.

    Raises:
        DataError: no header, a missing column, rows with too few or too many cells, broken quotes, rows that
            a lone quote of an unquoted TSV file has swallowed.
    """
    records = _records(content, place, delimiter)
    _, header = next(records, (0, []))
    if not header:
        raise DataError(f"{place}: the file is empty, a header with column names is expected")
    require_columns(place, header, text, label)
    body = [(line, cells) for line, cells in records if cells]
    uneven = [line for line, cells in body if len(cells) != len(header)]
    if uneven:
        raise DataError(
            f"{place}: {len(uneven)} rows do not have the header's {len(header)} cells: {rows_text(uneven)}",
            hint="put quotes around texts that hold the separator, and double the quotes inside them",
        )
    suspect = body if delimiter == "\t" else []  # TSV files are often written without any quoting
    swallowed = [line for line, cells in suspect if any("\n" in cell and "\t" in cell for cell in cells)]
    if swallowed:
        raise DataError(
            f"{place}: {len(swallowed)} rows hold a quoted cell with tabs and line breaks, which looks like"
            f" rows swallowed by a lone quote: {rows_text(swallowed)}",
            hint="put quotes around texts that hold quotes, and double those inside; or save it as .jsonl",
        )
    text_at = header.index(text)
    label_at = None if label is None else header.index(label)
    return Table(
        texts=tuple(cells[text_at] for _, cells in body),
        labels=None if label_at is None else tuple(cells[label_at] for _, cells in body),
        rows=tuple(line for line, _ in body),
        place=place,
    )


def _records(content: str, place: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of every record; a blank line is an empty one."""
    # Strict, because a lenient reader swallows the rest of the file after an unclosed quote.
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{place}: row {begins} is broken ({error})",
            hint="a quote that opens a cell must be closed, and quotes inside quoted cells doubled;"
            f" a cell holds at most {csv.field_size_limit():,} characters",
        ) from error


def _read_csv(path: Path, text: str, label: str | None) -> Table:
    return parse_delimited(decode(read_bytes(path), str(path)), str(path), text, label)


def _read_tsv(path: Path, text: str, label: str | None) -> Table:
    return parse_delimited(decode(read_bytes(path), str(path)), str(path), text, label, delimiter="\t")


def _read_jsonl(path: Path, text: str, label: str | None) -> Table:
    """One JSON object a line; blank lines are skipped."""
    place = str(path)
    # Not splitlines(): JSON strings may hold U+2028 and other characters that it takes for line ends.
    lines = decode(read_bytes(path), place).split("\n")
    found = {row: _json_object(line, place, row) for row, line in enumerate(lines, 1) if line.strip()}
    columns = dict.fromkeys(name for item in found.values() for name in item)
    if not found:
        raise DataError(f"{place}: the file is empty, one JSON object a line is expected")
    require_columns(place, columns, text, label)
    return Table(
        texts=tuple(as_text(item.get(text), place, row) for row, item in found.items()),
        labels=None if label is None else tuple(as_label(item.get(label)) for item in found.values()),
        rows=tuple(found),
        place=place,
    )


def _json_object(line: str, place: str, row: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: row {row} is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{place}: row {row} is not usable JSON: nested too deeply") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: row {row} is a JSON {type(value).__name__}, an object is expected")
    return value


def _read_parquet(path: Path, text: str, label: str | None) -> Table:
    parquet = need("pyarrow.parquet", extra="train")
    arrow = need("pyarrow", extra="train")
    place = str(path)
    content = read_bytes(path)
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        require_columns(place, file.schema_arrow.names, text, label)
        columns = file.read(columns=[text] if label is None else [text, label])
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{place}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    texts = columns.column(text).to_pylist()
    labels = None if label is None else columns.column(label).to_pylist()
    names = None if label is None else class_names(file.schema_arrow.metadata, label)
    return Table(
        texts=tuple(as_text(value, place, row) for row, value in enumerate(texts, 1)),
        labels=None if labels is None else tuple(class_label(value, names) for value in labels),
        rows=tuple(range(1, len(texts) + 1)),
        place=place,
    )


READERS: Mapping[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
