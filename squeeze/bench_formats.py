"""A bench report for people (Markdown) and for continuous integration (a summary, JUnit XML)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from squeeze.bench import BenchReport, Judgement
from squeeze.markup import code, inert, literal, table
from squeeze.stages.gate.stage import Check
from squeeze.targets.measurement import Comparison, Estimate, Measurement

__all__ = ["comparison", "junit", "markdown", "notes", "setting", "summary", "told"]

HEAD = (
    "model",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "texts/s",
    "load ms",
    "first ms",
    "peak MB",
    "size MB",
)
COMPACT = ("model", "p50 ms", "p95 ms", "p99 ms", "load ms", "peak MB", "size MB")
SIGNS = {
    "pass": "\N{WHITE HEAVY CHECK MARK}",
    "fail": "\N{CROSS MARK}",
    "inconclusive": "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
}


def markdown(report: BenchReport, judgement: Judgement | None = None) -> str:
    """Tables of figures, comparisons and checks, then what they were measured on.

    Intervals stand in brackets.
    """
    parts = [table(HEAD, [_row(each) for each in report.measurements])]
    if report.comparisons:
        parts.append("\n".join(comparison(report, each) for each in report.comparisons))
    if judgement is not None and judgement.checks:
        rows = [_check_row(check) for check in judgement.checks]
        parts.append(table(("budget", "value", "limit", "verdict", "note"), rows))
        parts.append(f"Verdict: **{judgement.verdict}**")
    parts.append(literal(setting(report.measurements[0])))
    parts.extend(_notes(report))
    return "\n\n".join(parts) + "\n"


def summary(report: BenchReport, judgement: Judgement | None = None) -> str:
    """The report for the summary page of a CI job: the verdict first, what explains it folded away.

    Names come from whoever wrote the change that is judged, so they are kept from being read as Markdown.

    Args:
        report: what was measured.
        judgement: the budgets held against it; None when there were none.
    """
    title = f"{SIGNS[judgement.verdict]} {judgement.verdict}" if judgement else "measured, no budget"
    parts = [f"### squeeze bench: {title}"]
    if judgement is not None and judgement.checks:
        parts.append("\n".join(_check_line(check) for check in judgement.checks))
    parts.append(table(COMPACT, [_compact(each) for each in report.measurements]))
    if report.comparisons:
        parts.append("\n".join(f"- {comparison(report, each)}" for each in report.comparisons))
    folded = [literal(setting(report.measurements[0]))]
    folded.extend(f"- {literal(line)}" for line in notes(report))
    return "\n\n".join([*parts, _folded("environment and notes", folded)]) + "\n"


def _folded(title: str, lines: Sequence[str]) -> str:
    """What a reader opens with a click; Markdown inside it needs the empty lines."""
    return "\n\n".join([f"<details><summary>{title}</summary>", *lines, "</details>"])


def _check_line(check: Check) -> str:
    told_of = f"**{literal(check.name)}** {literal(_values(check))}: {check.verdict}"
    return f"- {SIGNS[check.verdict]} {told_of}" + (f" ({literal(check.note)})" if check.note else "")


def junit(judgement: Judgement, report: BenchReport | None = None, suite: str = "squeeze bench") -> str:
    """JUnit XML: one test case a check; what is inconclusive is an error, not a failure.

    `testsuites` is the root and properties come before test cases, as the schema of Jenkins' xUnit plugin
    (junit-10.xsd) has it. GitLab shows the text of a failure and not its message, and takes class name and
    name of a test case for its identity, so both hold all that there is to say.

    Args:
        judgement: what is told.
        report: where the figures and the time of the suite come from; without it the suite has neither.
        suite: its name.
    """
    root = ElementTree.Element("testsuites", name=suite)
    inner = ElementTree.SubElement(root, "testsuite", name=suite)
    seconds = sum(_seconds(each) for each in report.measurements) if report else 0.0
    for element in (root, inner):
        for key, verdict in (("tests", None), ("failures", "fail"), ("errors", "inconclusive")):
            element.set(key, str(sum(verdict in (None, check.verdict) for check in judgement.checks)))
        element.set("time", f"{seconds:.3f}")
    inner.set("skipped", "0")
    properties = ElementTree.SubElement(inner, "properties")
    for name, value in _properties(judgement, report):
        ElementTree.SubElement(properties, "property", name=_clean(name), value=_clean(value))
    for check in judgement.checks:
        _case(inner, suite, check)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _seconds(each: Measurement) -> float:
    """Time of the timed calls, of loading and of first inferences; the rest was not timed."""
    return (sum(each.samples_ms) + sum(each.loads_ms) + sum(each.firsts_ms)) / 1e3


def _properties(judgement: Judgement, report: BenchReport | None) -> Iterator[tuple[str, str]]:
    """The figures that a reader of the XML may want to draw over time, and where they come from."""
    yield "verdict", judgement.verdict
    if report is None:
        return
    first = report.measurements[0]
    for key in ("cpu", "machine", "onnxruntime", "gpu"):
        if key in first.environment:
            yield key, str(first.environment[key])
    yield from (("target", first.target), ("threads", str(first.threads)), ("batch", str(first.batch)))
    for each in report.measurements:
        for key in ("p50", "p90", "p95", "p99"):
            yield f"{each.name} {key}_ms", f"{getattr(each, key).value:.6g}"
        yield from ((f"{each.name} {key}", f"{getattr(each, key):.6g}") for key in ("load_ms", "first_ms"))
        yield from ((f"{each.name} {key}", str(getattr(each, key))) for key in ("rss_bytes", "shipped_bytes"))
    for found in report.comparisons:
        yield f"{found.name} speedup", f"{found.speedup:.6g}"


def _case(suite: ElementTree.Element, name: str, check: Check) -> None:
    """One check. Judging takes no time: what measuring took stands at the suite."""
    label = _clean(f"{check.name} {check.limit:g} {check.unit}".strip())
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=label, time="0.000")
    if check.verdict == "pass":
        return
    tag = "failure" if check.verdict == "fail" else "error"
    line = _clean(told(check))
    element = ElementTree.SubElement(case, tag, type=check.verdict, message=line)
    element.text = f"{line}\n{_clean(check.note)}" if check.note else line


def told(check: Check) -> str:
    """A check in one line, without its note.

    >>> told(Check(name="p95", value=6.123456, limit=5.0, unit="ms", verdict="fail"))
    'p95: 6.123 ms, limit 5 ms: fail'
    """
    return f"{check.name}: {_values(check)}: {check.verdict}"


def _values(check: Check) -> str:
    value = "no figure" if check.value is None else f"{check.value:.4g} {check.unit}".strip()
    return f"{value}, limit {check.limit:g} {check.unit}".strip()


def _clean(text: str) -> str:
    """A line without the signs that XML cannot hold, and none that a CI runs."""
    return "".join(sign for sign in inert(text) if sign.isprintable())


def _row(each: Measurement) -> tuple[str, ...]:
    return (
        code(each.name),
        _estimate(each.p50),
        _estimate(each.p95),
        _estimate(each.p99),
        f"{each.throughput_per_s:.4g}",
        f"{each.load_ms:.3g}",
        f"{each.first_ms:.3g}",
        f"{each.rss_bytes / 1e6:.1f}",
        f"{each.shipped_bytes / 1e6:.3g}",
    )


def _compact(each: Measurement) -> tuple[str, ...]:
    cells = dict(zip(HEAD, _row(each), strict=True))
    return tuple(cells[key] for key in COMPACT)


def _estimate(figure: Estimate) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3g} (no interval)"
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def comparison(report: BenchReport, each: Comparison) -> str:
    """How much faster one model of a report is, in one sentence of Markdown."""
    interval = (
        "no interval" if each.low is None or each.high is None else f"{each.low:.3g} to {each.high:.3g}"
    )
    way = "in turns" if each.interleaved else "against an earlier report"
    units = "blocks" if report.rounds is None else "rounds"
    return (
        f"{code(each.name)} is **{each.speedup:.3g}** times as fast as {code(each.baseline)} "
        f"({interval} at {each.confidence:.0%}, {each.blocks} {units}, {way})"
    )


def _check_row(check: Check) -> tuple[str, ...]:
    value = "none" if check.value is None else f"{check.value:.4g} {check.unit}"
    return literal(check.name), value, f"{check.limit:g} {check.unit}", check.verdict, literal(check.note)


def setting(first: Measurement) -> str:
    """What the figures were measured on and how, in one sentence."""
    around, cores = first.environment, ", ".join(map(str, first.cores)) or "any"
    lengths = "as declared"
    if first.sequence is not None:
        each = first.sequence
        lengths = f"{each.minimum} to {each.maximum} tokens (median {each.median:g})"
    place = f"{around['gpu']}, {_pinned(around)}, " if first.target == "gpu" else ""
    return (
        f"Measured on {place}{around['cpu']}, threads: {first.threads}, cores: {cores}, "
        f"batch {first.batch}, {lengths}, onnxruntime {around.get('onnxruntime')}; "
        f"intervals at {first.confidence:.0%}."
    )


def _pinned(around: Mapping[str, Any]) -> str:
    """What was chosen for a GPU, without which its times mean nothing."""
    graph = "one CUDA graph a shape" if around["cuda_graph"] else "no CUDA graph"
    waiting = {True: "spinning", False: "sleeping", None: "waiting as ONNX Runtime does"}[around["spin"]]
    copies = "with" if around["transfers"] else "without"
    version = f" {around['tensorrt']}" if "tensorrt" in around else ""
    return f"{around['provider']}{version}, {graph}, {waiting}, {copies} copies"


def _notes(report: BenchReport) -> Iterator[str]:
    lines = [f"- {code(name)}: {literal(note)}" for name, note in _told_notes(report)]
    if lines:
        yield "\n".join(lines)


def notes(report: BenchReport) -> tuple[str, ...]:
    """Why the figures may not be trusted, one line a reason, as plain text."""
    return tuple(f"{name}: {note}" for name, note in _told_notes(report))


def _told_notes(report: BenchReport) -> Iterator[tuple[str, str]]:
    told_of: Sequence[Measurement | Comparison] = (*report.measurements, *report.comparisons)
    yield from ((each.name, note) for each in told_of for note in each.notes)
