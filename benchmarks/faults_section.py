"""The section of RESULTS.md on inputs that were once read wrongly."""

from __future__ import annotations

from benchmarks.tables import Record, table

__all__ = ["faults"]

WORDS = {True: "right", False: "WRONG", None: "not run here"}


def faults(record: Record) -> list[str]:
    """One row a case."""
    cases = record["cases"]
    rows = [(name, WORDS[entry["right"]], entry["seen"].replace("|", "/")) for name, entry in cases.items()]
    right = sum(entry["right"] is True for entry in cases.values())
    return [f"{right} of {len(cases)} cases are right.", "", *table(("case", "verdict", "seen"), rows)]
