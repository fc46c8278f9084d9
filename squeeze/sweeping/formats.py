"""A sweep as Markdown; intervals stand in brackets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squeeze.markup import code, literal, table
from squeeze.sweeping.records import Choice, Cold, Place, Point, SweepReport, Texts
from squeeze.targets.measurement import Estimate

__all__ = ["markdown"]


def markdown(report: SweepReport) -> str:
    """Tables of all parts that were measured, then what they were measured on."""
    parts = [
        *(_grid(report) if report.points else ()),
        *(_cold(report.cold) if report.cold else ()),
        *(_texts(report.texts) if report.texts else ()),
        _setting(report),
    ]
    return "\n\n".join(parts) + "\n"


def _grid(report: SweepReport) -> Iterator[str]:
    joules = any(point.energy for point in report.points)
    head = ["threads", "batch", "tokens", "p50 ms", "p95 ms", "texts/s", "against 1 thread"]
    yield table(
        [*head, *(["J a call", "above idle"] if joules else ())],
        [_row(each, joules) for each in report.points],
    )
    failed = [f"- {point.place}: {literal(point.error)}" for point in report.points if point.error]
    notes = [
        f"- {point.place}: {literal(note)}"
        for point in report.points
        if point.measurement
        for note in point.measurement.notes
    ]
    if failed or notes:
        yield "\n".join([*failed, *notes])
    if report.energy_note:
        yield f"Energy: {literal(report.energy_note)}"
    if report.choice:
        yield _choice(report.choice, report.points)


def _row(point: Point, joules: bool) -> list[str]:
    place, found, spent = point.place, point.measurement, point.energy
    tokens = f"{place.sequence}" if place.sequence else _own(point)
    cells = [f"{place.threads}", f"{place.batch}", tokens]
    if found is None:
        return [*cells, *["failed"] * 2, *["-"] * (4 if joules else 2)]
    cells += [
        _estimate(found.p50),
        _estimate(found.p95),
        _estimate(point.throughput),
        _estimate(point.efficiency),
    ]
    if joules:
        cells += (
            [_estimate(each) for each in (spent.joules_per_call, spent.above_idle_per_call)]
            if spent
            else ["-"] * 2
        )
    return cells


def _own(point: Point) -> str:
    """What own lengths are."""
    if point.measurement is None or point.measurement.sequence is None:
        return "as declared" if point.measurement else "own"
    each = point.measurement.sequence
    return f"own: {each.minimum} to {each.maximum}, median {each.median:g}"


def _choice(found: Choice, points: Sequence[Point]) -> str:
    limit = f"{found.figure} at most {found.limit_ms:g} ms"
    if found.best is None:
        told = f"{limit}: **none** of {len(points)} points"
        told += ", all are too slow" if found.verdict == "fail" else " is surely fast enough"
    else:
        best = next(point for point in points if point.place == found.best)
        told = f"{limit}: **{found.best}** with {_estimate(best.throughput)} texts/s"
    lines = [f"{told}. Verdict: **{found.verdict}**"]
    lines += _listed("not to be told from it", found.equals)
    lines += _listed(f"undecided, {found.figure} may lie on either side", found.undecided)
    return "\n".join(lines)


def _listed(what: str, places: Sequence[Place]) -> list[str]:
    return [f"- {what}: {'; '.join(map(str, places))}"] if places else []


def _cold(found: Cold) -> Iterator[str]:
    states = list(found.figures)
    rows = [
        [step, *(_estimate(found.figures[state][step]) for state in states)]
        for step in found.figures[states[0]]
    ]
    yield table(["start, ms", *(f"{state} page cache" for state in states)], rows)
    lines = [
        f"{len(found.starts)} fresh processes; "
        f"files: {literal(', '.join(found.files))} ({found.file_bytes / 1e6:.3g} MB)"
    ]
    if found.ratio:
        lines.append(f"A cold start takes **{_estimate(found.ratio)}** times a warm one.")
    yield "\n".join([*lines, *(f"- {literal(note)}" for note in found.notes)])


def _texts(found: Texts) -> Iterator[str]:
    rows = [[step, *(_estimate(figure) for figure in each.values())] for step, each in found.figures.items()]
    yield table(["text to label, ms", *next(iter(found.figures.values()))], rows)
    lengths = found.sequence
    labels = ", ".join(f"{literal(label)} {count}" for label, count in sorted(found.labels.items()))
    told = (
        f"{found.texts} texts ({literal(found.source)}), {lengths.minimum} to {lengths.maximum} tokens "
        f"(median {lengths.median:g}), {found.cut} cut; {found.runs} calls, one text each. "
        f"The tokenizer takes {found.tokenizer_share:.1%} of the time. Labels: {labels}."
    )
    yield "\n".join([told, *(f"- {literal(note)}" for note in found.notes)])


def _setting(report: SweepReport) -> str:
    around = report.environment
    place = literal(_place(report) + around["cpu"])
    passes = (
        f" {report.passes} walks over the grid in random order, seed {report.seed};" if report.points else ""
    )
    return (
        f"{code(report.name)} ({report.size_bytes / 1e6:.3g} MB) on {place}, "
        f"{around['usable_cores']} usable cores, onnxruntime {around['onnxruntime']};{passes} "
        f"intervals at {report.confidence:.0%}."
    )


def _place(report: SweepReport) -> str:
    """The device, where it is not this machine."""
    targets = {point.measurement.target for point in report.points if point.measurement}
    return "".join(f"{target}: " for target in sorted(targets - {"cpu"}))


def _estimate(figure: Estimate | None) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{_figure(figure.value)} (no interval)"
    return f"{_figure(figure.value)} [{_figure(figure.low)}, {_figure(figure.high)}]"


def _figure(value: float) -> str:
    """Three digits, or all before the point.

    >>> _figure(0.012345), _figure(54321.0)
    ('0.0123', '54321')
    """
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
