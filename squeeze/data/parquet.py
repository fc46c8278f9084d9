"""Tables from Parquet files, whose footer says before anything is read what they will expand to."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.data.cells import DEEPEST, Cells, spread
from squeeze.data.labels import class_names
from squeeze.data.looks import ROWS, look
from squeeze.data.opening import MANY_BYTES, REPEATS, open_file, require_memory
from squeeze.data.table import Column, Columns, require_columns
from squeeze.errors import DataError, reason
from squeeze.runtime import need

__all__ = ["READ", "ROW", "SPREAD", "read_parquet", "require_bounded"]

MANY_ROWS = 5_000
"""Below so many rows few bytes say nothing."""
MOST_ROWS = 20_000_000
"""Rows of one source."""
ROW = 400
"""Bytes of memory that a row takes beside its text until all splits are checked and written."""
SPREAD = 6
"""Bytes of memory that a byte of text takes likewise."""
MOST_LOOKED_AT = 1 << 26
"""Bytes of a column that is not read, above which nobody looks what it holds."""
BATCH = 4_096
"""Rows that are decoded at once."""
READ = 200_000
"""Rows that are read at most where all columns are."""


def read_parquet(path: Path, columns: Columns | None, rows: int | None = None) -> Cells:
    """The cells of a Parquet file.

    Args:
        path: the file.
        columns: that are read; None: all, and rows from all over the file.
        rows: read only the first rows; None: all. Where all columns are read, about so many.

    Raises:
        DataError: not readable, without the columns, or far larger in memory than any text would be.
        MissingBackend: pyarrow is not installed.
    """
    parquet = need("pyarrow.parquet", extra="train")
    arrow = need("pyarrow", extra="train")
    place = str(path)
    with open_file(path) as handle:
        try:
            file = parquet.ParquetFile(handle, pre_buffer=False, buffer_size=1 << 16)
            if columns is None:
                return _spread_cells(arrow, file, place, rows or READ)
            names = _paths(arrow, file.schema_arrow)
            require_columns(place, names, columns)
            wanted = list(columns.names)
            require_bounded(file, wanted, place, columns.text)
            others = _others(arrow, file, columns)
            values = _cells(arrow, _as_dictionaries(parquet, file, handle, wanted), wanted, place, rows)
        except (arrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
            raise DataError(f"{place}: not a readable Parquet file ({reason(error)})") from error
    count = len(values[columns.text])
    whole = rows is None or count < rows
    classes = _classes(file, wanted)
    return Cells(place, values, range(1, count + 1), names, whole, classes, others)


def _spread_cells(arrow: ModuleType, file: Any, place: str, rows: int) -> Cells:
    """All columns of about so many rows, from groups that are spread over the file."""
    names = file.schema_arrow.names
    require_bounded(file, names, place)
    largest = max((file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)), default=1)
    groups = spread(file.num_row_groups, max(1, rows // max(1, largest)))
    batches = islice(file.iter_batches(batch_size=BATCH, row_groups=groups), max(1, rows // BATCH))
    table = arrow.Table.from_batches(batches, schema=file.schema_arrow)
    for _ in range(DEEPEST):
        table = table.flatten()
    values = table.to_pydict()
    return Cells(place, values, range(1, len(table) + 1), names, whole=False, classes=_classes(file, values))


def _classes(file: Any, names: Iterable[str]) -> dict[str, list[str]]:
    """The names of the classes of those columns that have some."""
    found = {name: class_names(file.schema_arrow.metadata, name) for name in names}
    return {name: classes for name, classes in found.items() if classes}


def _paths(arrow: ModuleType, fields: Iterable[Any], depth: int = DEEPEST) -> list[str]:
    """The names of all columns, and the paths of the values in nested ones."""
    paths: list[str] = []
    for field in fields:
        paths.append(field.name)
        if depth and arrow.types.is_struct(field.type):
            paths += [f"{field.name}.{inner}" for inner in _paths(arrow, field.type, depth - 1)]
    return paths


def _column(arrow: ModuleType, batch: Any, name: str) -> Any:
    """A column, or a value of nested ones, which are null where one around them is."""
    if name in batch.schema.names:
        return batch.column(batch.schema.names.index(name))
    table = arrow.Table.from_batches([batch])
    for _ in range(name.count(".")):
        table = table.flatten()
    return table.column(name).combine_chunks()


def _others(arrow: ModuleType, file: Any, columns: Columns) -> tuple[Column, ...]:
    """What the columns look like that are not read; those that are too large to look at are left out."""
    schema = file.schema_arrow
    fields = [f for f in schema if f.name not in columns.names and schema.names.count(f.name) == 1]
    nested: dict[str, list[Any]] = {
        f.name: [[]] for f in fields if arrow.types.is_list(f.type) or arrow.types.is_large_list(f.type)
    }
    texts = [f.name for f in fields if str(f.type) in {"string", "large_string"}]
    flat = [name for name in texts if _unpacked(_chunks(file, [name], groups=1)) <= MOST_LOOKED_AT]
    batches = file.iter_batches(batch_size=ROWS, columns=flat, row_groups=[0]) if flat else iter(())
    first = next(batches, None)
    cells = {} if first is None else first.to_pydict()
    return tuple(look(name, values) for name, values in (cells | nested).items())


def require_bounded(file: Any, wanted: list[str], place: str, text: str | None = None) -> None:
    """Refuse by the footer a file whose rows would fill the memory, before one of them is read.

    N different texts take more than N bits, however they are packed: a column with less holds copies.

    Args:
        file: an open `pyarrow.parquet.ParquetFile`.
        wanted: names of the columns that would be read.
        place: the file in words.
        text: the column of texts; None: any of the columns may hold them.

    Raises:
        DataError: too many rows, or rows that are nearly all copies of each other.
    """
    footer, chunks = file.metadata, _chunks(file, wanted)
    values = max(footer.num_rows, sum(chunk.num_values for chunk in chunks) // max(len(wanted), 1))
    if values > MOST_ROWS:
        raise DataError(f"{place}: {values:,} rows, at most {MOST_ROWS:,} are read from one source")
    packed = sum(chunk.total_compressed_size for chunk in (_chunks(file, [text]) if text else chunks))
    if values > MANY_ROWS and packed * 8 < values:
        raise _copies(place, values, packed)
    require_memory(place, f"{values:,} rows", ROW * values + SPREAD * _unpacked(chunks))


def _copies(place: str, rows: int, size: int) -> DataError:
    return DataError(
        f"{place}: {rows:,} rows in {size:,} bytes: nearly all of them are copies of each other",
        hint="keep one row of each text",
    )


def _chunks(file: Any, wanted: list[str], groups: int | None = None) -> list[Any]:
    """What the footer says of every piece of the columns, in all groups of rows or in the first."""
    numbers = range(file.metadata.num_row_groups)[:groups]
    chunks = (
        group.column(i) for group in map(file.metadata.row_group, numbers) for i in range(group.num_columns)
    )
    return [chunk for chunk in chunks if _belongs(chunk.path_in_schema, wanted)]


def _unpacked(chunks: list[Any]) -> int:
    return sum(chunk.total_uncompressed_size for chunk in chunks)


def _belongs(path: str, wanted: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in wanted)


def _as_dictionaries(parquet: ModuleType, file: Any, handle: Any, wanted: list[str]) -> Any:
    """The file opened so that a text that stands in many rows is decoded once."""
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    flat = [name for name in wanted if kinds.get(name) in {"string", "large_string"}]
    handle.seek(0)
    return parquet.ParquetFile(handle, pre_buffer=False, buffer_size=1 << 16, read_dictionary=flat)


def _cells(
    arrow: ModuleType, file: Any, wanted: list[str], place: str, rows: int | None
) -> dict[str, list[Any]]:
    """The values of each column, decoded in parts whose size is known before."""
    cells: dict[str, list[Any]] = {name: [] for name in wanted}
    total, unpacked, size, seen = file.metadata.num_rows, _unpacked(_chunks(file, wanted)), 0, 0
    for full in file.iter_batches(batch_size=min(BATCH, rows or BATCH), columns=wanted):
        batch = full if rows is None else full.slice(0, rows - seen)
        batch.validate(full=True)
        columns = {name: _column(arrow, batch, name) for name in wanted}
        size, seen = size + sum(map(_decoded, columns.values())), seen + len(batch)
        # What all rows take if they go on like the first ones.
        whole = size * max(total, seen) // max(seen, 1)
        if whole > MANY_BYTES and whole > REPEATS * unpacked:
            raise _copies(place, total, unpacked)
        require_memory(place, f"{total:,} rows", SPREAD * (size if rows else whole))
        for name, column in columns.items():
            plain = column.dictionary_decode() if arrow.types.is_dictionary(column.type) else column
            cells[name] += plain.to_pylist()
        if seen == rows:
            break
    return cells


def _decoded(column: Any) -> int:
    """Bytes of a column's values once they are decoded."""
    if not hasattr(column, "dictionary"):
        return int(column.nbytes)
    compute = need("pyarrow.compute", extra="train")
    if not str(column.type.value_type).endswith(("string", "binary")):
        return 8 * len(column)
    lengths = compute.binary_length(column.dictionary).cast("int64")
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)
