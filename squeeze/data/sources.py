"""From the name of a source in a profile to its rows and its digest.

==================== ====================================================================
``file.csv``, .tsv   UTF-8, a header line, cells quoted where needed; also ``.csv.gz``
``file.jsonl``       UTF-8, one JSON object a line; also ``.jsonl.gz``
``file.json``        UTF-8, one list of objects, alone or in an object; also ``.json.gz``
``file.parquet``     needs pyarrow
``builtin:`` name    a set that comes with the package
``hf:`` name         a set of the Hugging Face hub, or a local folder in one of its forms
==================== ====================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from squeeze.artifact import digest_file
from squeeze.data import corpus, hub
from squeeze.data.cells import Cells, tabulate
from squeeze.data.config import RANDOM, DataSection, Source
from squeeze.data.files import READERS, ending_of, reader_of
from squeeze.data.opening import home, open_file
from squeeze.data.table import ONE_LABEL, Columns, LabelCells, Table
from squeeze.data.wording import combine, nearest
from squeeze.errors import DataError

__all__ = [
    "SAMPLE",
    "UNLABELLED",
    "Table",
    "as_source",
    "cells_of",
    "fingerprints",
    "named_sources",
    "read",
    "sample",
    "unknown_kind",
]

PACKED = {
    ".gz": "unpack it first: gunzip -k FILE",
    ".zip": "unpack it first",
    ".xlsx": "save the spreadsheet as CSV (UTF-8)",
    ".xls": "save the spreadsheet as CSV (UTF-8)",
    ".ods": "save the spreadsheet as CSV (UTF-8)",
}
UNLABELLED = "unlabelled"
"""The slot whose sources are read without labels."""

_BUILTIN = "builtin:"
SAMPLE = 1000
"""Rows of each source that `squeeze plan` looks at."""


def as_source(source: Source | str) -> Source:
    """A source that is written as a bare name, in full."""
    return Source(name=source) if isinstance(source, str) else source


def named_sources(section: DataSection) -> Iterator[tuple[str, Source]]:
    """(slot, source) for all a section names; several unlabelled sources share one slot.

    Where `split` is given, ``train`` holds the rows of validation and test as well.
    """
    slots = {"train": section.train, "validation": section.validation, "test": section.test}
    for slot, source in {**slots, **section.more_tests}.items():
        if source is not None:
            yield slot, as_source(source)
    for source in section.unlabelled:
        yield UNLABELLED, as_source(source)


def read(source: Source | str, slot: str, section: DataSection, labels: LabelCells = ONE_LABEL) -> Table:
    """All rows of one source.

    Args:
        source: what the profile names; relative paths count from the current directory.
        slot: ``train``, ``validation``, ``test``, a further test's name, or ``unlabelled``: labels
            of the last are not looked at. It also is the split that is read by default.
        section: names the columns where the source does not.
        labels: how the task's labels stand there; by default one name a row.

    Raises:
        DataError: not there, not readable, not UTF-8, malformed, or without the columns; the
            message names the row.
        MissingBackend: an optional library or the hub is needed and not there.
    """
    return _read(as_source(source), slot, section, labels, None)


def sample(
    source: Source | str,
    slot: str,
    section: DataSection,
    rows: int = SAMPLE,
    labels: LabelCells = ONE_LABEL,
) -> Table | None:
    """The first rows of one source, in bounded time and memory.

    Text files are read up to 16 MiB; Parquet files are checked by their footer and read by row groups.

    Args:
        source: as in `read`.
        slot: as in `read`.
        section: as in `read`.
        rows: how many rows at most.
        labels: as in `read`.

    Returns:
        The rows, or None for a hub set: its library takes seconds to load, and the hub needs a network.

    Raises:
        DataError: as in `read`, as far as the first rows show it.
        MissingBackend: an optional library is needed and not there.
    """
    spec = as_source(source)
    return None if spec.name.startswith(hub.PREFIX) else _read(spec, slot, section, labels, rows)


def _read(spec: Source, slot: str, section: DataSection, labels: LabelCells, rows: int | None) -> Table:
    columns = _columns(spec, slot, section, labels)
    return tabulate(cells_of(spec, slot, columns, rows), columns)


def cells_of(spec: Source, slot: str, columns: Columns | None, rows: int | None) -> Cells:
    """The values of one source as they stand there.

    Args:
        spec: the source.
        slot: the split that is read by default.
        columns: that are read; None: all.
        rows: how many first rows; None: all. Where all columns are read, about so many, which may be spread.

    Raises:
        DataError: as in `read`.
        MissingBackend: likewise.
    """
    if spec.name.startswith(_BUILTIN):
        return corpus.read(spec.name, spec.split or slot, columns, rows)
    if spec.name.startswith(hub.PREFIX):
        return hub.read(spec.name, spec.subset, spec.split or slot, columns, rows)
    path = home(spec.name)
    reader = reader_of(path)
    if reader is None:
        raise unknown_kind(spec.name)
    if spec.split or spec.subset:
        raise DataError(f"{spec.name}: `split` and `subset` are for hub and built-in sets, a file has none")
    return reader(path, columns, rows)


def _columns(spec: Source, slot: str, section: DataSection, labels: LabelCells) -> Columns:
    # The columns of a built-in set are known: the section's names are those of the user's own files.
    ours = spec.name.startswith(_BUILTIN)
    text = spec.text or ("text" if ours else section.text)
    label = spec.label or ("label" if ours else section.label) or labels.default
    by = section.split.by if section.split and slot == "train" else RANDOM
    group = None if by == RANDOM else by
    if slot == UNLABELLED:
        return Columns(text, None, group)
    if isinstance(label, str) and isinstance(labels.default, tuple) and len(labels.default) > 1:
        raise DataError(
            f"{spec.name}: label names one column, {label!r}, and the task has {len(labels.default)} targets",
            hint="leave `label` out: the columns are called as [task] labels",
        )
    return Columns(text, label, group, labels.kind, labels.separator)


def unknown_kind(name: str) -> DataError:
    """The refusal of a name that is no source."""
    kinds = f"{', '.join(READERS)}, builtin:crisis-demo, hf:owner/set"
    ending = ending_of(Path(name))
    what = (
        f"unknown ending {ending!r}{nearest(ending, READERS)}"
        if ending
        else "no ending that tells the format"
    )
    return DataError(f"{name}: {what}; a source is one of: {kinds}", hint=PACKED.get(ending.lower(), ""))


def fingerprints(section: DataSection) -> dict[str, str]:
    """Digest of every source by its name, so that changed data is never taken for the old.

    Sha256 of a file's bytes, of the packed built-in file, or over a local folder; the commit of a hub set.

    Raises:
        DataError: names all sources that are not there or cannot be read.
        MissingBackend: the hub is needed and cannot be reached.
    """
    digests: dict[str, str] = {}
    problems: list[DataError] = []
    for name in dict.fromkeys(source.name for _, source in named_sources(section)):
        try:
            digests[name] = _fingerprint(name)
        except DataError as error:
            problems.append(error)
    if problems:
        raise combine([problem.message for problem in problems], problems[0].hint)
    return digests


def _fingerprint(name: str) -> str:
    if name.startswith(_BUILTIN):
        return corpus.fingerprint(name)
    if name.startswith(hub.PREFIX):
        return hub.fingerprint(name)
    path = home(name)
    if reader_of(path) is None:
        raise unknown_kind(name)
    with open_file(path):  # says what is wrong with it
        return digest_file(path)
