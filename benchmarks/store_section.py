"""Sections of the campaigns over stored files: flipped bytes and mutated bundles."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["flipped_bytes", "mutated_bundles"]

Record = dict[str, Any]


def flipped_bytes(record: Record) -> list[str]:
    """How many flipped bytes were found, and where others lay."""
    missed = Counter(each["file"] for each in record["missed"])
    where = "; missed in " + ", ".join(sorted(missed)) if missed else ""
    verdict = "fail" if missed else "pass"
    return [
        f"- run `{record['run']}` and its bundle, {record['files']} files, seed {record['seed']}: one byte "
        f"flipped at {record['positions']:,} positions, {record['found']:,} found with exit code 4{where}: "
        f"{verdict}"
    ]


def mutated_bundles(record: Record) -> list[str]:
    """How the commands ended."""
    faults = Counter(each["why"] for each in record["faults"])
    told = ", ".join(f"{why} {count}" for why, count in faults.most_common()) or "none"
    return [
        f"- bundle of run `{record['run']}`, seed {record['seed']}: {record['cases']:,} mutated bundles "
        f"through `predict` and `report --html`, {record['commands']:,} commands; faults: {told}",
        f"- most: {record['slowest_s']:.2f} s of processor time, {record['largest_bytes'] / 1e6:.0f} MB: "
        f"{'fail' if faults else 'pass'}",
    ]
