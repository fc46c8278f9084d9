"""What tasks with named labels share: which labels a row has, and what is wrong with them."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

from squeeze.data.table import Label, Table
from squeeze.data.wording import SHOWN, listing, nearest, rows_text, shown
from squeeze.tasks.base import Task

__all__ = ["LEAST_PER_LABEL", "LabelledTask"]

LEAST_PER_LABEL = 2
"""Training rows for each label, on average, below which nothing can be learned."""


class LabelledTask(Task):
    """A task whose rows have some of the names in `[task] labels`."""

    @abstractmethod
    def names(self, label: Label) -> tuple[str, ...]:
        """The labels of one row, each once."""

    def column_question(self) -> str:
        """What to ask where many labels are unknown."""
        return "is this the label column?"

    def label_problems(self, name: str, table: Table) -> list[str]:
        """Labels that the task does not have."""
        unknown: dict[str, list[int]] = {}
        known = set(self.section.labels)
        for row, label in zip(table.rows, table.labels or (), strict=True):
            for part in self.names(label):
                if part not in known:
                    unknown.setdefault(part, []).append(row)
        lines = [
            f"{name}: unknown label {shown(part)}{nearest(part, self.section.labels)} in {rows_text(rows)}"
            for part, rows in unknown.items()
        ]
        more = len(lines) - SHOWN
        rest = [f"{name}: {more} more unknown labels; {self.column_question()}"] if more > 0 else []
        return lines[:SHOWN] + rest

    def test_warnings(self, name: str, table: Table) -> list[str]:
        """Labels without a row, whose F1 counts as 0."""
        missing = self._missing(table.labels or ())
        if not missing or not len(table):
            return []
        return [f"{name}: no row has label {listing(map(repr, missing))}, its F1 counts as 0"]

    def train_problems(self, name: str, labels: Sequence[Label]) -> list[str]:
        """Too few rows, or a label without rows."""
        least = LEAST_PER_LABEL * len(self.section.labels)
        if len(labels) < least:
            return [f"{name}: {len(labels)} rows, at least {least} are needed ({LEAST_PER_LABEL} a label)"]
        missing = self._missing(labels)
        return [f"{name}: no row has label {listing(map(repr, missing))}"] if missing else []

    def counts(self, labels: Sequence[Label]) -> dict[str, int]:
        """Rows by label; a row counts for each of its labels."""
        counts = Counter(part for label in labels for part in self.names(label))
        return {label: counts[label] for label in self.section.labels}

    def _missing(self, labels: Sequence[Label]) -> list[str]:
        return [label for label, count in self.counts(labels).items() if not count]
