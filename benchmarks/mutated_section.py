"""From a record of benchmarks.mutated_data to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, stays, table

__all__ = ["mutated_data"]

LIMIT_S, LIMIT_MB = 2.0, 1000


def mutated_data(record: Record) -> list[str]:
    """Exit codes of both commands, what went wrong, and the largest figures."""
    internal = [case for case in record["faults"] if any("internal" in fault for fault in case["faults"])]
    codes = [case for case in record["faults"] if any("code" in fault for fault in case["faults"])]
    refused = [case for case in record["faults"] if any("refuses" in fault for fault in case["faults"])]
    return [
        f"{record['cases']:,} files, seed {record['seed']}.",
        "",
        *table(("exit codes", "files"), [(codes, str(count)) for codes, count in record["codes"].items()]),
        "",
        f"- Internal errors: {len(internal)}, {stays(len(internal), 0)}; other exit codes than 0 and 2: "
        f"{len(codes)}, {stays(len(codes), 0)}; refused by `plan` and taken by the stage: {len(refused)}, "
        f"{stays(len(refused), 0)}.",
        f"- Slowest command: {record['slowest_s']:g} s of the processor, at most {LIMIT_S:g}: "
        f"{stays(record['slowest_s'], LIMIT_S)}; largest: {record['largest_mb']:,} MB, at most {LIMIT_MB:,}: "
        f"{stays(record['largest_mb'], LIMIT_MB)}.",
    ]
