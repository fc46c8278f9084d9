"""Some rows of a source with all of its columns: what there is to choose from before columns have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.data import corpus, hub
from squeeze.data.config import Source
from squeeze.data.files import json_object, records, require_separator
from squeeze.data.labels import class_label, class_names
from squeeze.data.opening import home, open_file, text_lines
from squeeze.data.parquet import require_bounded
from squeeze.data.sources import as_source, unknown_kind
from squeeze.errors import DataError, reason
from squeeze.runtime import need

__all__ = ["Sample", "sample"]

ROWS = 2_000
"""Rows of a sample: spread over what is read of the source, because files are often sorted by label."""
READ, BATCH = 200_000, 10_000
"""Rows of a Parquet file that are read for it at most, and at once."""


@dataclass(frozen=True)
class Sample:
    """Rows spread over a source.

    Attributes:
        place: the source in words.
        columns: values by the names of the columns, in the order of the source; None where a row has none.
        classes: names of the classes, of columns whose source names them.
    """

    place: str
    columns: Mapping[str, Sequence[Any]]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def sample(source: Source | str, slot: str = "train", rows: int = ROWS) -> Sample:
    """At most so many rows of a source.

    Args:
        source: as a profile names it; relative paths count from the current directory.
        slot: the split that is read by default.
        rows: how many at most, evenly spread over the source.

    Raises:
        DataError: not there, not readable, or without columns.
        MissingBackend: an optional library or the hub is needed and not there.
    """
    spec = as_source(source)
    if spec.name.startswith("builtin:"):
        table = corpus.read(spec.name, spec.split or slot)
        places = _spread(len(table), rows)
        kept = table.take(places)
        return Sample(table.place, {"text": kept.texts, "label": kept.labels or ()})
    if spec.name.startswith(hub.PREFIX):
        columns, names = hub.some_rows(spec.name, spec.subset, spec.split or slot, lambda n: _spread(n, rows))
        return Sample(f"{spec.name} ({spec.split or slot})", columns, names)
    path = home(spec.name)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown_kind(spec.name)
    return reader(path, rows)


def _spread(count: int, rows: int) -> list[int]:
    """Positions of at most so many rows, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, rows))}) if count else []


def _delimited(path: Path, rows: int, delimiter: str) -> Sample:
    place = str(path)
    with text_lines(path, sample=True) as lines:
        filled = (cells for _, cells in records(lines, place, delimiter, partial=True) if cells)
        header = next(filled, None)
        if header is None:
            raise DataError(f"{place}: the file is empty, a header with column names is expected")
        require_separator(place, header, delimiter, "")
        every = list(filled)
    body = [every[at] for at in _spread(len(every), rows)]
    columns = {
        name: tuple(cells[at] if at < len(cells) else None for cells in body)
        for at, name in reversed(list(enumerate(header)))
    }
    return Sample(place, {name: columns[name] for name in dict.fromkeys(header)})


def _csv(path: Path, rows: int) -> Sample:
    return _delimited(path, rows, ",")


def _tsv(path: Path, rows: int) -> Sample:
    return _delimited(path, rows, "\t")


def _jsonl(path: Path, rows: int) -> Sample:
    place = str(path)
    with text_lines(path, end="\n", sample=True) as every:
        lines = [(row, line) for row, line in enumerate(every, 1) if line.strip()]
    found = [json_object(line, place, row) for row, line in (lines[at] for at in _spread(len(lines), rows))]
    if not found:
        raise DataError(f"{place}: the file is empty, one JSON object a line is expected")
    names = dict.fromkeys(name for item in found for name in item)
    return Sample(place, {name: tuple(item.get(name) for item in found) for name in names})


def _parquet(path: Path, rows: int) -> Sample:
    parquet, arrow = need("pyarrow.parquet", extra="train"), need("pyarrow", extra="train")
    place = str(path)
    with open_file(path) as handle:
        try:
            file = parquet.ParquetFile(handle, pre_buffer=False)
            require_bounded(file, file.schema_arrow.names, place)
            batches = file.iter_batches(batch_size=BATCH, row_groups=_groups(file))
            table = arrow.Table.from_batches(islice(batches, READ // BATCH), schema=file.schema_arrow)
            columns = table.take(arrow.array(_spread(table.num_rows, rows), "int64")).to_pydict()
        except (arrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
            raise DataError(f"{place}: not a readable Parquet file ({reason(error)})") from error
    found = {name: class_names(file.schema_arrow.metadata, name) for name in columns}
    names = {name: classes for name, classes in found.items() if classes}
    named = {name: tuple(class_label(value, names[name]) for value in columns[name]) for name in names}
    return Sample(place, {name: named.get(name, tuple(values)) for name, values in columns.items()}, names)


def _groups(file: Any) -> list[int]:
    """Row groups to read: spread over the file, about READ rows, at least one group."""
    largest = max((file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)), default=1)
    return _spread(file.num_row_groups, max(1, READ // max(1, largest)))


READERS = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
