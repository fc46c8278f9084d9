"""Find what makes data unfit before anything is spent on it.

Two texts are the same when they are equal after Unicode NFKC, case folding and collapsing of
white space: a copy in capitals or with full-width letters teaches the test's answer just as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from squeeze.data.leakage import find_near_duplicates
from squeeze.data.looks import looks
from squeeze.data.table import Label, Table
from squeeze.data.wording import rows_text, same_text

__all__ = [
    "FEW_ROWS",
    "Findings",
    "LabelRules",
    "hint",
    "inspect",
    "overlap",
    "same_text",
    "unusable",
]

TRAIN = "train"
FEW_ROWS = 100
"""Below so many rows of a test, one row moves its accuracy by more than a point: worth a warning."""


@dataclass(frozen=True)
class Findings:
    """What the checks found.

    Attributes:
        problems: one line each; none may remain before training.
        warnings: one line each; worth knowing, and no reason to stop.
        dropped: positions (0-based) of training rows to leave out, because validation or a test has them too.
        near: positions (0-based) of further training rows to leave out, which nearly equal such a row.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    dropped: frozenset[int]
    near: frozenset[int] = frozenset()


class LabelRules(Protocol):
    """What a task asks of its labels; see ``squeeze.tasks.base.Task``."""

    def label_problems(self, name: str, table: Table) -> list[str]:
        """What no row may have."""
        ...

    def test_warnings(self, name: str, table: Table) -> list[str]:
        """What a held-out split lacks."""
        ...

    def train_problems(self, name: str, labels: Sequence[Label]) -> list[str]:
        """Why nothing can be learned."""
        ...

    def looks(self, labels: Sequence[Label], *, partial: bool) -> list[str]:
        """Signs that the labels are of another task."""
        ...

    def hint(self) -> str:
        """What the labels are held against."""
        ...


def hint(task: LabelRules) -> str:
    """What the data is held against."""
    return f"{task.hint()}; rows are lines of text files, and positions in other formats"


def inspect(
    tables: Mapping[str, Table],
    task: LabelRules,
    duplicates: str,
    near_duplicates: str = "drop",
    partial: Collection[str] = (),
) -> Findings:
    """All that is wrong or worth knowing about the splits there are: an unreadable one hides nothing.

    Args:
        tables: by split: ``train``, ``validation``, ``test`` and further tests.
        task: says which labels are right.
        duplicates: ``refuse`` training texts that also stand in validation or a test, or ``drop`` them.
        near_duplicates: likewise for training texts that nearly equal one of those; ``keep`` leaves them in.
        partial: splits of which only the first rows are known: nothing is said to be missing from them.
    """
    keys = {split: [same_text(text) for text in table.texts] for split, table in tables.items()}
    problems: list[str] = []
    warnings: list[str] = []
    for split, table in tables.items():
        name = f"{split} ({table.place})"
        problems += [*_text_problems(name, table, keys[split]), *task.label_problems(name, table)]
        warnings += _repeats(name, table, keys[split])
        if split != TRAIN and split not in partial:
            problems += [f"{name}: no rows"] * (not table)
            warnings += [*_few_rows(name, table), *task.test_warnings(name, table)]
    shared, dropped = _shared_with_train(tables, keys)
    warnings += _validation_in_tests(tables, keys)
    near = find_near_duplicates(tables, dropped, near_duplicates)
    problems += near.problems
    warnings += near.warnings
    if duplicates == "refuse":
        problems += shared
        dropped = frozenset()
    elif dropped:
        warnings.append(f"{TRAIN}: {len(dropped)} rows dropped that also stand in validation or a test")
    warnings += looks(tables)
    if TRAIN in tables:
        warnings += _label_looks(tables[TRAIN], task, partial=TRAIN in partial)
        if TRAIN not in partial:
            problems += _unlearnable(tables[TRAIN], task, dropped | near.dropped)
    return Findings(tuple(problems), tuple(warnings), dropped, near.dropped)


def unusable(text: str) -> bool:
    """Whether there is nothing to read in a text, or something that no tokenizer can."""
    return not text.strip() or _has_surrogate(text)


def overlap(table: Table, tables: Mapping[str, Table]) -> frozenset[int]:
    """Positions (0-based) of the rows of one table whose text stands in any of the others."""
    held = {same_text(text) for other in tables.values() for text in other.texts}
    return frozenset(i for i, text in enumerate(table.texts) if same_text(text) in held)


def _text_problems(name: str, table: Table, keys: Sequence[str]) -> list[str]:
    empty = [row for row, key in zip(table.rows, keys, strict=True) if not key]
    # JSON can spell half of a surrogate pair, which no tokenizer and no UTF-8 file can hold.
    broken = [row for row, text in zip(table.rows, table.texts, strict=True) if _has_surrogate(text)]
    return [
        f"{name}: {what} in {rows_text(rows)}"
        for what, rows in (("empty text", empty), ("half a surrogate pair (broken Unicode)", broken))
        if rows
    ]


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _repeats(name: str, table: Table, keys: Sequence[str]) -> list[str]:
    """Warn of texts that stand in one split more than once."""
    labels_of: dict[str, set[Label]] = {}
    repeats: list[int] = []
    contradictions: list[int] = []
    for row, key, label in zip(table.rows, keys, table.labels or (), strict=True):
        seen = labels_of.setdefault(key, set())
        if key and seen:
            (repeats if seen == {label} else contradictions).append(row)
        seen.add(label)
    lines = []
    if repeats:
        lines.append(f"{name}: {len(repeats)} rows repeat an earlier one: {rows_text(repeats)}")
    if contradictions:
        lines.append(
            f"{name}: {len(contradictions)} rows repeat an earlier text under another label: "
            f"{rows_text(contradictions)}"
        )
    return lines


def _few_rows(name: str, table: Table) -> list[str]:
    if not 0 < len(table) < FEW_ROWS:
        return []
    return [f"{name}: only {len(table)} rows, one row moves accuracy by {100 / len(table):.1f} points"]


def _shared_with_train(
    tables: Mapping[str, Table], keys: Mapping[str, Sequence[str]]
) -> tuple[list[str], frozenset[int]]:
    """One line for each split that shares texts with train, and the positions of those texts in train."""
    lines: list[str] = []
    dropped: set[int] = set()
    for split in tables:
        if split == TRAIN or TRAIN not in tables:
            continue
        both = _shared(keys[TRAIN], keys[split])
        dropped.update(i for i, _ in both)
        if both:
            lines.append(
                f"{len(both)} {TRAIN} texts also stand in {split}: {_both_rows(TRAIN, split, tables, both)}; "
                f'`duplicates = "drop"` leaves them out of {TRAIN}'
            )
    return lines, frozenset(dropped)


def _validation_in_tests(tables: Mapping[str, Table], keys: Mapping[str, Sequence[str]]) -> list[str]:
    """Warn of texts on which choices are made and which are reported on as well."""
    lines = []
    for split in tables:
        if split in {TRAIN, "validation"} or "validation" not in tables:
            continue
        both = _shared(keys["validation"], keys[split])
        if both:
            where = _both_rows("validation", split, tables, both)
            lines.append(f"{len(both)} validation texts also stand in {split}: {where}")
    return lines


def _shared(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """(position in left, first position in right) of every text of left that right has too."""
    first: dict[str, int] = {}
    for i, key in enumerate(right):
        first.setdefault(key, i)
    return [(i, first[key]) for i, key in enumerate(left) if key and key in first]


def _both_rows(left: str, right: str, tables: Mapping[str, Table], both: Sequence[tuple[int, int]]) -> str:
    ours = rows_text([tables[left].rows[i] for i, _ in both])
    theirs = rows_text([tables[right].rows[j] for _, j in both])
    return f"{left} {ours} = {right} {theirs}"


def _label_looks(table: Table, task: LabelRules, *, partial: bool) -> list[str]:
    name = f"{TRAIN} ({table.place})"
    return [f"{name}: {line}" for line in task.looks(table.labels or (), partial=partial)]


def _unlearnable(table: Table, task: LabelRules, dropped: frozenset[int]) -> list[str]:
    name = f"{TRAIN} ({table.place})"
    kept = [label for i, label in enumerate(table.labels or ()) if i not in dropped]
    after = f" (after dropping {len(dropped)} duplicates)" if dropped else ""
    return [f"{line}{after}" for line in task.train_problems(name, kept)]
