"""Some rows of a source with all of its columns: what there is to choose from before columns have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from squeeze.data import hub
from squeeze.data.cells import SAMPLED, spread
from squeeze.data.config import Source
from squeeze.data.labels import class_label
from squeeze.data.parquet import READ
from squeeze.data.sources import as_source, cells_of

__all__ = ["Sample", "sample"]


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


def sample(source: Source | str, slot: str = "train", rows: int = SAMPLED) -> Sample:
    """At most so many rows of a source.

    Args:
        source: as a profile names it; relative paths count from the current directory.
        slot: the split that is read by default.
        rows: how many at most, evenly spread over the source: over a part of it where it is large.

    Raises:
        DataError: not there, not readable, or without columns.
        MissingBackend: an optional library or the hub is needed and not there.
    """
    spec = as_source(source)
    cells = cells_of(spec, slot, None, rows if spec.name.startswith(hub.PREFIX) else READ)
    kept = spread(len(cells.rows), rows)
    columns = {name: tuple(values[at] for at in kept) for name, values in cells.values.items()}
    for name, classes in cells.classes.items():
        columns[name] = tuple(
            [class_label(item, classes) for item in value]
            if isinstance(value, list)
            else class_label(value, classes)
            for value in columns[name]
        )
    return Sample(cells.place, columns, cells.classes)
