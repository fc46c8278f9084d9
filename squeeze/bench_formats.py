"""A bench report as Markdown for people and as JUnit XML for continuous integration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from squeeze.bench import BenchReport, Judgement
from squeeze.stages.gate.stage import Check
from squeeze.targets.measurement import Comparison, Estimate, Measurement

__all__ = ["junit", "markdown"]

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


def markdown(report: BenchReport, judgement: Judgement | None = None) -> str:
    """Tables of figures, comparisons and checks, then what they were measured on.

    Intervals stand in brackets.
    """
    parts = [_table(HEAD, [_row(each) for each in report.measurements])]
    if report.comparisons:
        parts.append("\n".join(_comparison(each) for each in report.comparisons))
    if judgement is not None and judgement.checks:
        rows = [_check_row(check) for check in judgement.checks]
        parts.append(_table(("budget", "value", "limit", "verdict", "note"), rows))
        parts.append(f"Verdict: **{judgement.verdict}**")
    parts.append(_setting(report.measurements[0]))
    parts.extend(_notes(report))
    return "\n\n".join(parts) + "\n"


def junit(judgement: Judgement, suite: str = "squeeze bench") -> str:
    """JUnit XML: one test case a check; what is inconclusive is an error, not a failure."""
    counts = {
        verdict: sum(check.verdict == verdict for check in judgement.checks)
        for verdict in ("fail", "inconclusive")
    }
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(judgement.checks)),
        failures=str(counts["fail"]),
        errors=str(counts["inconclusive"]),
    )
    for check in judgement.checks:
        _case(root, suite, check)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(root: ElementTree.Element, suite: str, check: Check) -> None:
    case = ElementTree.SubElement(
        root, "testcase", classname=suite, name=f"{check.name} {check.limit:g} {check.unit}"
    )
    if check.verdict == "pass":
        return
    tag = "failure" if check.verdict == "fail" else "error"
    ElementTree.SubElement(case, tag, message=_clean(_told(check))).text = _clean(check.note)


def _told(check: Check) -> str:
    value = "no figure" if check.value is None else f"{check.value:.4g} {check.unit}"
    return f"{check.name}: {value}, limit {check.limit:g} {check.unit}: {check.verdict}"


def _clean(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def _row(each: Measurement) -> tuple[str, ...]:
    return (
        f"`{each.name}`",
        _estimate(each.p50),
        _estimate(each.p95),
        _estimate(each.p99),
        f"{each.throughput_per_s:.4g}",
        f"{each.load_ms:.3g}",
        f"{each.first_ms:.3g}",
        f"{each.rss_bytes / 1e6:.1f}",
        f"{each.shipped_bytes / 1e6:.3g}",
    )


def _estimate(figure: Estimate) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3g} (no interval)"
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def _comparison(each: Comparison) -> str:
    interval = (
        "no interval" if each.low is None or each.high is None else f"{each.low:.3g} to {each.high:.3g}"
    )
    way = "in turns" if each.interleaved else "against an earlier report"
    return (
        f"`{each.name}` is **{each.speedup:.3g}** times as fast as `{each.baseline}` "
        f"({interval} at {each.confidence:.0%}, {each.blocks} blocks, {way})"
    )


def _check_row(check: Check) -> tuple[str, ...]:
    value = "none" if check.value is None else f"{check.value:.4g} {check.unit}"
    return check.name, value, f"{check.limit:g} {check.unit}", check.verdict, check.note


def _setting(first: Measurement) -> str:
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
    told: Sequence[Measurement | Comparison] = (*report.measurements, *report.comparisons)
    lines = [f"- `{each.name}`: {note}" for each in told for note in each.notes]
    if lines:
        yield "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
