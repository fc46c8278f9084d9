"""From a record of benchmarks.reference_units to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables import Record, interval, stays, table, three

__all__ = ["AIM", "apart", "reference_units"]

AIM = 0.1
"""How far a model's figures in reference units may lie apart."""
ONE = "one thread in all"


def reference_units(record: Record) -> list[str]:
    """Every model in reference units, by condition, and how far its figures lie apart."""
    measured = {name: found for name, found in record["conditions"].items() if "skipped" not in found}
    names = list(dict.fromkeys(model for found in measured.values() for model in found["models"]))
    rows = [
        (model, *(interval(found["models"][model]["units"]) for found in measured.values()))
        for model in names
    ]
    units = [interval(found["reference_p50_ms"], " ms") for found in measured.values()]
    return [
        f"p50 in units of the reference workload, version {record['version']}; models at {record['tokens']} "
        "tokens, all in turns, the reference with as many threads as they.",
        "",
        *table(("model", *measured), [*rows, ("the reference itself", *units)]),
        "",
        *_verdicts({name: found for name, found in measured.items() if found["threads"] == 1}, names, ONE),
        *_verdicts(measured, names, "two threads among them"),
        *[
            f"- {name}: not measured, {found['skipped']}"
            for name, found in record["conditions"].items()
            if "skipped" in found
        ],
        *[f"- {name}: {note}" for name, found in measured.items() for note in found["notes"]],
    ]


def _verdicts(measured: Record, names: list[str], what: str) -> Iterator[str]:
    if len(measured) < 2:
        yield f"- {what}: nothing to compare, {len(measured)} condition was measured"
        return
    for model in names:
        units = [found["models"][model]["units"]["value"] for found in measured.values()]
        times = [found["models"][model]["p50_ms"]["value"] for found in measured.values()]
        yield (
            f"- {model}: {three(100 * apart(units))} % apart in units ({three(100 * apart(times))} % in ms) "
            f"in {len(measured)} conditions, {what}, at most {100 * AIM:g} %: {stays(apart(units), AIM)}"
        )


def apart(values: list[float]) -> float:
    """How much larger the largest is than the smallest, as a share of it.

    >>> round(apart([1.0, 1.1, 1.05]), 3)
    0.1
    """
    return max(values) / min(values) - 1
