"""How long each file takes: distributions on one axis, and the figures with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from squeeze.report.evidence import Evidence
from squeeze.report.page import words
from squeeze.report.page.charts import histogram
from squeeze.report.page.parts import Cell, Part, Section, Table, Words
from squeeze.report.teacher_time import of_all
from squeeze.targets.measurement import Comparison, Estimate, Measurement, Report

__all__ = ["latency"]

SHOWN = 99.5  # percentile up to which samples are drawn: one stray call would press all others together
MOST_FILES = 12


def latency(found: Evidence) -> Section:
    """Distributions, quantiles, memory, and what disturbed the measurement."""
    if found.bench is None:
        return Section(
            "latency", "Latency", (Words("The run was not measured: it has no bench.", quiet=True),)
        )
    teacher = found.report.teacher_time
    beside = () if teacher is None else (Words(of_all(teacher)),)
    return Section("latency", "Latency", (*_parts(found.bench), *beside))


def _parts(report: Report) -> Iterator[Part]:
    """What was measured, target by target: times of two machines belong on no common axis."""
    targets = dict.fromkeys(each.target for each in report.measurements)
    for target in targets:
        timed = tuple(each for each in report.measurements if each.target == target)
        yield from _on_one(timed[:MOST_FILES], report.comparisons, target if len(targets) > 1 else "")


def _on_one(timed: tuple[Measurement, ...], comparisons: Sequence[Comparison], target: str) -> Iterator[Part]:
    one = timed[0]
    lengths = f"; texts of {one.sequence.minimum} to {one.sequence.maximum} tokens" if one.sequence else ""
    where = f"{words.things(one.threads, 'thread')} of {one.environment.get('cpu', 'an unknown processor')}"
    where += f" ({target})" if target else ""
    yield Words(f"{words.things(one.batch, 'text')} a call, on {where}{lengths}. All files ran in turns.")
    sampled = [each for each in timed if each.samples_ms]
    if sampled:
        yield from _drawn(sampled)
        yield Words(f"Drawn up to the {SHOWN}th percentile of the slowest file.", quiet=True)
    else:
        yield Words("The raw samples are not there.", quiet=True)
    yield _table(timed)
    yield Words("Below a quantile is its confidence interval.", quiet=True)
    names = {each.name for each in timed}
    yield from (Words(_faster(each)) for each in comparisons if each.name in names)
    yield from (Words(f"{each.name}: {note}", quiet=True) for each in timed for note in _notes(each))


def _drawn(timed: list[Measurement]) -> Iterator[Part]:
    most = max(float(np.percentile(each.samples_ms, SHOWN)) for each in timed)
    least = min(min(each.samples_ms) for each in timed)
    span = (max(0.0, least - 0.05 * (most - least)), max(most, least * 1.01) + 1e-6)
    for each in timed:
        marks = ((each.p50.value, "p50"), (each.p95.value, "p95"))
        yield histogram(
            f"{each.name}: milliseconds of {len(each.samples_ms):,} calls", each.samples_ms, span, marks
        )


def _table(timed: tuple[Measurement, ...]) -> Table:
    rows = tuple(
        (
            Cell(each.name),
            *(_estimate(value) for value in (each.p50, each.p90, each.p95, each.p99)),
            Cell(f"{each.throughput_per_s:,.0f}"),
            Cell(words.milliseconds(each.load_ms)),
            Cell(words.milliseconds(each.first_ms)),
            Cell(words.megabytes(each.rss_bytes), f"{words.megabytes(each.rss_baseline_bytes)} before"),
        )
        for each in timed
    )
    headers = (
        "file",
        "p50 ms",
        "p90 ms",
        "p95 ms",
        "p99 ms",
        "texts/s",
        "load ms",
        "first call ms",
        "peak memory MB",
    )
    return Table(headers, rows)


def _estimate(value: Estimate) -> Cell:
    if value.low is None or value.high is None:
        return Cell(words.milliseconds(value.value))
    interval = f"{words.milliseconds(value.low)} to {words.milliseconds(value.high)}"
    return Cell(words.milliseconds(value.value), interval)


def _faster(each: Comparison) -> str:
    said = f"{each.name} is {each.speedup:.2f} times as fast as {each.baseline}"
    if each.low is None or each.high is None:
        return f"{said}."
    return f"{said} ({each.low:.2f} to {each.high:.2f} at {100 * each.confidence:.0f} %)."


def _notes(each: Measurement) -> Iterator[str]:
    yield from each.notes
    if not each.warm:
        yield "the warm-up did not end steady"
