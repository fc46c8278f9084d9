"""Training text that nearly equals text that is measured on: refused, left out, or kept on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from squeeze.data.near_duplicates import similar_rows
from squeeze.data.table import Table

__all__ = ["NearDuplicates", "find_near_duplicates", "near_overlap"]

TRAIN = "train"
EXAMPLES = 3
TEMPLATES = 0.1
"""Share of the training rows from which near-duplicates are no accident."""


@dataclass(frozen=True)
class NearDuplicates:
    """What was found, and what follows from it.

    Attributes:
        problems: one line where they are refused.
        warnings: one line each.
        dropped: positions (0-based) of training rows to leave out.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    dropped: frozenset[int] = frozenset()


def find_near_duplicates(tables: Mapping[str, Table], same: frozenset[int], setting: str) -> NearDuplicates:
    """Compare the training text with that of all other splits.

    Args:
        tables: by split: ``train`` and the others.
        same: positions of training rows that equal a row of another split; they are not compared.
        setting: ``drop``, ``refuse`` or ``keep``.

    Raises:
        MissingBackend: the library that compares is not installed.
    """
    if setting == "keep" or TRAIN not in tables:
        return NearDuplicates()
    table = tables[TRAIN]
    kept = [i for i in range(len(table)) if i not in same]
    places, others = _held_out(tables)
    near = {kept[i]: j for i, j in similar_rows([table.texts[i] for i in kept], others).items()}
    if not near:
        return NearDuplicates()
    pairs = [f"{TRAIN} row {table.rows[i]} ~ {places[j]}" for i, j in list(near.items())[:EXAMPLES]]
    more = f" (+{len(near) - EXAMPLES} more)" if len(near) > EXAMPLES else ""
    rows = f"{len(near)} {'row' if len(near) == 1 else 'rows'}"
    examples = f"{', '.join(pairs)}{more}"
    if setting == "refuse":
        advice = '`near_duplicates = "drop"` leaves them out of train'
        return NearDuplicates(
            problems=(f"{TRAIN}: {rows} nearly equal validation or test text: {examples}; {advice}",)
        )
    warnings = [f"{TRAIN}: {rows} dropped that nearly equal validation or test text: {examples}"]
    share = len(near) / len(table)
    if share > TEMPLATES:
        warnings.append(
            f"{TRAIN}: {share:.0%} of the rows nearly equal validation or test text: the data looks like "
            "texts from templates, so the figures say little about other texts"
        )
    return NearDuplicates(warnings=tuple(warnings), dropped=frozenset(near))


def near_overlap(table: Table, tables: Mapping[str, Table], same: frozenset[int]) -> frozenset[int]:
    """Positions (0-based) of the rows of one table that nearly equal a row of the others.

    Args:
        table: text without labels.
        tables: text that is measured on.
        same: positions that are left out already.

    Raises:
        MissingBackend: the library that compares is not installed.
    """
    kept = [i for i in range(len(table)) if i not in same]
    others = [text for other in tables.values() for text in other.texts]
    return frozenset(kept[i] for i in similar_rows([table.texts[i] for i in kept], others))


def _held_out(tables: Mapping[str, Table]) -> tuple[list[str], list[str]]:
    """(place, text) of every row of every split but train."""
    rows = [
        (f"{split} row {row}", text)
        for split, table in tables.items()
        if split != TRAIN
        for row, text in zip(table.rows, table.texts, strict=True)
    ]
    return [place for place, _ in rows], [text for _, text in rows]
