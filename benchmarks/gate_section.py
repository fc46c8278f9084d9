"""From a record of benchmarks.gate_trials to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from scipy.stats import binomtest

from benchmarks.tables import Record, interval, points, reaches, stays, table, three

__all__ = ["gate"]

FALSE_ALARMS, INCONCLUSIVE = 0.01, 0.10
"""Aims for A/A: failures at most, in all; inconclusive at most, without a busy process."""
FOUND = {"slow10": 0.95, "slow5": 0.90}
"""Aims: share of regressions that are called failures."""


def gate(record: Record) -> list[str]:
    """Verdicts of all kinds of trials with exact intervals, and whether the aims are reached."""
    trials = record["trials"]
    medians = [each["p50_ms"] for each in trials["aa"]] or [0.0]
    groups = {
        "A/A, quiet": [each for each in trials["aa"] if not each["hog"]],
        "A/A, busy process from midway": [each for each in trials["aa"] if each["hog"]],
        **{_slower(record, name): trials[name] for name in FOUND if trials[name]},
    }
    return [
        f"Each trial is one comparison with the limit {record['budget']}. A/A: a model of "
        f"{three(min(medians))} to {three(max(medians))} ms against a copy of its file. Shares are in points "
        "of 100, with exact binomial (Clopper-Pearson) intervals at 95 %.",
        "",
        *table(
            ("trials", "number", "pass", "fail", "inconclusive", "seconds, median (most)"),
            [_row(name, found) for name, found in groups.items() if found],
        ),
        "",
        *_aims(trials),
    ]


def _slower(record: Record, name: str) -> str:
    true = record["truth"][name]
    return f"{true['model']} against {true['baseline']}, in truth {interval(true['ratio'], ' x')}"


def _row(name: str, found: Sequence[Record]) -> tuple[str, ...]:
    seconds = [each["seconds"] for each in found]
    shares = (_share(found, verdict) for verdict in ("pass", "fail", "inconclusive"))
    return name, str(len(found)), *shares, f"{median(seconds):.1f} ({max(seconds):.1f})"


def _share(found: Sequence[Record], verdict: str) -> str:
    """How many, and the share with its exact interval."""
    count = _count(found, verdict)
    ends = binomtest(count, len(found)).proportion_ci(0.95, method="exact")
    return f"{count} ({points(ends.low)} to {points(ends.high)})"


def _count(found: Sequence[Record], verdict: str) -> int:
    return sum(each["verdict"] == verdict for each in found)


def _aims(trials: Record) -> Iterator[str]:
    quiet = [each for each in trials["aa"] if not each["hog"]]
    if trials["aa"]:
        value = _count(trials["aa"], "fail") / len(trials["aa"])
        verdict = stays(value, FALSE_ALARMS)
        yield f"- False alarms: {points(value)} %, at most {points(FALSE_ALARMS)}: {verdict}"
    if quiet:
        value = _count(quiet, "inconclusive") / len(quiet)
        yield (
            f"- Inconclusive without a busy process: {points(value)} %, at most {points(INCONCLUSIVE)}: "
            f"{stays(value, INCONCLUSIVE)}"
        )
    for name, least in FOUND.items():
        if trials[name]:
            value = _count(trials[name], "fail") / len(trials[name])
            yield f"- {name}: {points(value)} % found, at least {points(least)}: {reaches(value, least)}"
