"""From records of the campaigns over mutated profiles, data files and models to lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.campaign import MOST_BYTES, MOST_SECONDS
from benchmarks.tables import Record, stays, table

__all__ = ["mutated_data", "mutated_models", "mutated_profiles"]

MOST_MB = MOST_BYTES / 1e6


def mutated_profiles(record: Record) -> list[str]:
    """Exit codes of both commands, what went wrong, and the largest figures."""
    codes = record["codes"]
    profiles = sum(number for command, number in codes.items() if command.startswith("plan "))
    return [
        f"{profiles:,} profiles, seed {record['seed']}; `explain` reads every fourth.",
        "",
        *_codes(codes, "commands"),
        f"- Internal errors: {_none(record['internal_errors'])}; other exit codes than 0, 2 and 3: "
        f"{_none(record['wrong_codes'])}.",
        *_most(record["slowest_s"], record["largest_mb"], "process, which does some hundred of them"),
    ]


def mutated_data(record: Record) -> list[str]:
    """Exit codes of both commands, what went wrong, and the largest figures."""
    internal, codes, refused = (
        [case for case in record["faults"] if any(word in fault for fault in case["faults"])]
        for word in ("internal", "code", "refuses")
    )
    return [
        f"{record['cases']:,} files, seed {record['seed']}.",
        "",
        *_codes(record["codes"], "files"),
        f"- Internal errors: {_none(internal)}; other exit codes than 0 and 2: {_none(codes)}; refused by "
        f"`plan` and taken by the stage: {_none(refused)}.",
        *_most(record["slowest_s"], record["largest_mb"], "command"),
    ]


def mutated_models(record: Record) -> list[str]:
    """Exit codes of both commands, what went wrong, and the largest figures."""
    return [
        f"{record['cases']:,} files, seed {record['seed']}.",
        "",
        *_codes(record["codes"], "commands"),
        f"- Internal errors: {record['internal_errors']}, {stays(record['internal_errors'], 0)}; files with "
        f"a wrong code, message, time or amount of memory: {_none(record['wrong'])}.",
        f"- Slowest: `doctor` {record['slowest_doctor_s']:.2f} s of the processor, at most {MOST_SECONDS:g}: "
        f"{stays(record['slowest_doctor_s'], MOST_SECONDS)}; `bench`, within limits of its own, "
        f"{record['slowest_bench_s']:.1f} s.",
    ]


def _codes(codes: Record, unit: str) -> list[str]:
    return [*table(("exit codes", unit), [(name, f"{count:,}") for name, count in codes.items()]), ""]


def _none(cases: Sequence[object]) -> str:
    """How many there are, where there must be none."""
    return f"{len(cases)}, {stays(len(cases), 0)}"


def _most(seconds: float, megabytes: float, unit: str) -> list[str]:
    return [
        f"- Slowest command: {seconds:g} s of the processor, at most {MOST_SECONDS:g}: "
        f"{stays(seconds, MOST_SECONDS)}; largest {unit}: {megabytes:,.0f} MB, at most {MOST_MB:,.0f}: "
        f"{stays(megabytes, MOST_MB)}."
    ]
