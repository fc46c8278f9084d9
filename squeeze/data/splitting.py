"""Split one table into train, validation and test: at random by label, by a column's values, or by date.

`random` keeps equal and nearly equal texts together and gives every part its share of each label. A column
(`event`, or any other name) keeps the rows of one value together: of many random arrangements the one is
taken whose parts come nearest to the wanted sizes and shares of labels. `date` puts the newest rows into
test and those before them into validation; rows of one date stay together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from squeeze.data.config import RANDOM, SplitSection
from squeeze.data.near_duplicates import groups
from squeeze.data.table import Label, Table
from squeeze.data.wording import listing, rows_text, same_text
from squeeze.errors import DataError

__all__ = ["DATE", "PARTS", "dates", "split_table"]

PARTS = ("train", "validation", "test")
DATE = "date"
TRAIN, VALIDATION, TEST = range(3)
LEAST_GROUPS = len(PARTS)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ARRANGEMENTS = 200
MISSING = 10.0
"""What an arrangement costs for each label that a part lacks, beside the differences of the shares."""
SEED = 0x5711  # keeps these draws apart from others of the same profile

Ints: TypeAlias = NDArray[np.int64]


def split_table(
    table: Table,
    split: SplitSection,
    seed: int,
    strata: Callable[[Sequence[Label]], Sequence[str]],
) -> tuple[dict[str, Table], tuple[str, ...]]:
    """The three parts of a table, their rows in their old order, and what is worth a warning.

    Args:
        table: labelled rows; with ``groups`` where the split is by a column.
        split: how to split.
        seed: of the profile.
        strata: labels to one name a row, of which every part gets its share.

    Raises:
        DataError: the column has fewer than three values, or one that is no date.
        MissingBackend: the library that finds near-duplicates is not installed.
    """
    labels = strata(table.labels or ("",) * len(table))
    generator = np.random.default_rng([seed, SEED])
    warnings: list[str] = []
    if split.by == RANDOM:
        members = groups(table.texts, [same_text(text) for text in table.texts])
        where = _stratified(members, labels, split, generator)
    elif split.by == DATE:
        members = dates(table)
        _require_groups(table, len(set(members.tolist())), DATE)
        where = _by_date(members, split)
    else:
        members, blank = _values(table, split.by)
        warnings += blank
        where = _arranged(members, labels, split, generator)
    warnings += _unreached(members, labels, where)
    parts = {name: table.take(np.flatnonzero(where == i).tolist()) for i, name in enumerate(PARTS)}
    return parts, tuple(warnings)


def dates(table: Table) -> Ints:
    """(N,) the rank of each row's date among all dates of the table; equal dates have one rank.

    Dates are ISO 8601 or all of them numbers, such as years or seconds since 1970.

    Raises:
        DataError: a value is neither, or dates with and without a time zone are mixed.
    """
    values = table.groups or ()
    numbers = [_number(value) for value in values]
    if None in numbers:
        return np.unique(_seconds(table, values, numbers), return_inverse=True)[1].astype(np.int64)
    return np.unique(np.array(numbers, dtype=np.float64), return_inverse=True)[1].astype(np.int64)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(table: Table, values: Sequence[str], numbers: Sequence[float | None]) -> NDArray[np.float64]:
    """Seconds since 1970 of each row's date; without time zones the clock's own."""
    moments = [_moment(value) for value in values]
    wrong = [i for i, moment in enumerate(moments) if moment is None]
    if wrong:
        no_numbers = [i for i, number in enumerate(numbers) if number is None]
        wrong = min(no_numbers, wrong, key=len)
        rows = rows_text([table.rows[i] for i in wrong])
        raise DataError(
            f"{table.place}: {len(wrong)} rows have no date, such as {values[wrong[0]][:40]!r}: {rows}",
            hint="dates are ISO 8601 (2026-12-01, 2026-12-01T10:00:00Z), or all of them numbers",
        )
    dated = [moment for moment in moments if moment is not None]
    if len({moment.tzinfo is None for moment in dated}) > 1:
        raise DataError(f"{table.place}: dates with and without a time zone cannot be put in one order")
    zoned = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in dated]
    return np.array([(moment - EPOCH).total_seconds() for moment in zoned])


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


def _values(table: Table, column: str) -> tuple[Ints, list[str]]:
    """(N,) the number of each row's value, a row without one being alone, and a warning for these."""
    number: dict[str, int] = {}
    values = table.groups or ()
    blank = [i for i, value in enumerate(values) if not value.strip()]
    names = [value.strip() or f"\0{i}" for i, value in enumerate(values)]
    members = np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)
    _require_groups(table, len(number), column)
    if not blank:
        return members, []
    rows = rows_text([table.rows[i] for i in blank])
    return members, [f"{table.place}: {len(blank)} rows have no {column}, each stands alone: {rows}"]


def _require_groups(table: Table, count: int, column: str) -> None:
    if count < LEAST_GROUPS:
        raise DataError(
            f"{table.place}: column {column!r} has {count} values, a split needs {LEAST_GROUPS} at least",
            hint='choose another column, or `by = "random"`',
        )


def _by_date(ranks: Ints, split: SplitSection) -> Ints:
    """(N,) part of each row; the ends of the parts lie between two dates, nearest to the wanted sizes."""
    rows = np.bincount(ranks)
    older = np.concatenate([[0], np.cumsum(rows)])  # rows before each date, and all
    last = len(rows)
    test_from = _nearest(older, len(ranks) * (1 - split.test), 2, last - 1)
    validation_from = _nearest(older, len(ranks) * (1 - split.test - split.validation), 1, test_from - 1)
    where = np.full(last, TRAIN)
    where[validation_from:test_from], where[test_from:] = VALIDATION, TEST
    return where[ranks].astype(np.int64)


def _nearest(sums: Ints, wanted: float, low: int, high: int) -> int:
    """Of the positions low to high the one whose sum is nearest to what is wanted."""
    return low + int(np.argmin(np.abs(sums[low : high + 1] - wanted)))


def _stratified(
    members: Ints, labels: Sequence[str], split: SplitSection, generator: np.random.Generator
) -> Ints:
    """(N,) part of each row: the groups of each label are dealt out one by one, the largest to train."""
    rows: dict[int, list[int]] = {}
    for i, member in enumerate(members.tolist()):
        rows.setdefault(member, []).append(i)
    by_label: dict[str, list[list[int]]] = {}
    for group in rows.values():
        label = Counter(labels[i] for i in group).most_common(1)[0][0]
        by_label.setdefault(label, []).append(group)
    where = np.full(len(labels), TRAIN, dtype=np.int64)
    for label in sorted(by_label):
        _deal(by_label[label], split, where, generator)
    return where


def _deal(
    owned: Sequence[list[int]], split: SplitSection, where: Ints, generator: np.random.Generator
) -> None:
    """Give the groups of one label to the parts, each of which gets one where there are three or more."""
    total = sum(map(len, owned))
    order = [owned[i] for i in generator.permutation(len(owned))]
    for part, share in ((TEST, split.test), (VALIDATION, split.validation)):
        wanted = round(total * share)
        if len(owned) >= LEAST_GROUPS and not wanted:
            wanted = 1
        left: list[list[int]] = []
        for group in order:
            if wanted > 0 and len(group) <= max(wanted, 1):
                where[group] = part
                wanted -= len(group)
            else:
                left.append(group)
        if len(left) == len(order) and len(owned) >= LEAST_GROUPS:
            smallest = min(left, key=len)
            where[smallest] = part
            left.remove(smallest)
        order = left


def _arranged(
    members: Ints, labels: Sequence[str], split: SplitSection, generator: np.random.Generator
) -> Ints:
    """(N,) part of each row: the best of many random orders of the groups, cut where the sizes fit."""
    names = {label: i for i, label in enumerate(sorted(set(labels)))}
    count = int(members.max()) + 1
    table = np.zeros((count, len(names)), dtype=np.int64)
    np.add.at(table, (members, np.array([names[label] for label in labels])), 1)
    shares = np.array([1 - split.validation - split.test, split.validation, split.test])
    best, least = np.zeros(count, dtype=np.int64), math.inf
    for _ in range(ARRANGEMENTS):
        order = generator.permutation(count)
        sums = np.concatenate([[0], np.cumsum(table[order].sum(axis=1))])
        test = _nearest(sums, len(labels) * split.test, 1, count - 2)
        held = _nearest(sums, len(labels) * (split.test + split.validation), test + 1, count - 1)
        where = np.full(count, TRAIN, dtype=np.int64)
        where[order[:test]], where[order[test:held]] = TEST, VALIDATION
        cost = _cost(table, where, shares)
        if cost < least:
            best, least = where, cost
    return best[members]


def _cost(table: Ints, where: Ints, shares: NDArray[np.float64]) -> float:
    """How far an arrangement is from the wanted shares of all rows and of each label."""
    parts = np.array([table[where == part].sum(axis=0) for part in range(len(PARTS))])
    of_label = parts / parts.sum(axis=0)
    of_all = parts.sum(axis=1) / parts.sum()
    return float(
        np.abs(of_all - shares).sum()
        + np.abs(of_label - shares[:, None]).sum(axis=0).mean()
        + MISSING * (parts == 0).sum()
    )


def _unreached(members: Ints, labels: Sequence[str], where: Ints) -> list[str]:
    """Warn of labels that do not stand in every part."""
    reached: dict[str, set[int]] = {}
    held: dict[str, set[int]] = {}
    for member, label, part in zip(members.tolist(), labels, where.tolist(), strict=True):
        reached.setdefault(label, set()).add(part)
        held.setdefault(label, set()).add(member)
    few = [label for label in sorted(reached) if len(reached[label]) < len(PARTS) > len(held[label])]
    far = [label for label in sorted(reached) if len(reached[label]) < len(PARTS) <= len(held[label])]
    lines: Mapping[str, list[str]] = {
        "has fewer than three groups of rows and cannot stand in every part": few,
        "does not stand in every part": far,
    }
    return [f"split: label {listing(map(repr, names))} {what}" for what, names in lines.items() if names]
