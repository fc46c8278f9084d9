"""The demo corpus that comes with the package: 2,340 synthetic posts about 18 invented disasters.

Every post is a *request* for help, an *offer* of help, or *other*, which is hard on purpose
(sympathy, news, rumours, outdated and hypothetical requests). The posts were written for this
project; a score on them says nothing about real feeds.

The splits follow the events, never the rows: near twins with different labels stand in one event,
so a split by row would let a model learn the test by heart.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files

from squeeze.data.cells import Cells
from squeeze.data.files import parse_delimited
from squeeze.data.opening import Lines
from squeeze.data.table import Columns
from squeeze.data.wording import nearest
from squeeze.errors import DataError

__all__ = ["BUILTIN", "EVENTS", "fingerprint", "read"]

BUILTIN = "builtin:crisis-demo"
POSTS = Columns("text", "label")
FILE = "corpus/crisis_demo.csv"

EVENTS: Mapping[str, frozenset[str]] = {
    "validation": frozenset({"landslide-ambala", "tsunami-hanoko"}),
    "test": frozenset({"cyclone-tarawai", "train-derailment-oxley", "dam-failure-corrin"}),
}
"""Events held out for each split; `train` is all the others."""


def read(name: str, split: str, columns: Columns | None = POSTS, rows: int | None = None) -> Cells:
    """The posts of one split; row numbers are lines of the packed file.

    Args:
        name: of the set.
        split: its split.
        columns: that are read; None: text and label.
        rows: how many first rows; None: all.

    Raises:
        DataError: an unknown set, split or column.
    """
    _require_known(name)
    splits = ("train", *EVENTS)
    if split not in splits:
        raise DataError(
            f"{name}: no split {split!r}{nearest(split, splits)}; it has: {', '.join(splits)}",
            hint='choose one with `{ name = "builtin:crisis-demo", split = "train" }`',
        )
    lines = Lines(io.StringIO(_content().decode("utf-8-sig"), newline=""), whole=True)
    cells = parse_delimited(lines, f"{name} ({split})", columns or POSTS)
    kept = [at for at, event in enumerate(_events()) if _split_of(event) == split][:rows]
    values = {column: [found[at] for at in kept] for column, found in cells.values.items()}
    return replace(cells, values=values, rows=[cells.rows[at] for at in kept])


def fingerprint(name: str) -> str:
    """Sha256 of the packed file.

    Raises:
        DataError: an unknown set.
    """
    _require_known(name)
    return hashlib.sha256(_content()).hexdigest()


def _require_known(name: str) -> None:
    if name != BUILTIN:
        raise DataError(f"{name}: no such built-in set{nearest(name, [BUILTIN])}; there is: {BUILTIN}")


def _split_of(event: str) -> str:
    return next((split for split, events in EVENTS.items() if event in events), "train")


def _events() -> list[str]:
    """The event of every post."""
    return [row["event"] for row in csv.DictReader(io.StringIO(_content().decode("utf-8-sig"), newline=""))]


def _content() -> bytes:
    return (files("squeeze.data") / FILE).read_bytes()
