"""What a verdict covers, and what it says nothing about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from squeeze.report.model import RunReport
from squeeze.stages.gate.stage import Check, GateResult
from squeeze.tasks import METRICS

__all__ = ["NOTHING", "coverage", "outcome"]

NOTHING = "Nothing was judged: the run has no budget, or ended before the gate."
LIMITS: Mapping[str, tuple[str, ...]] = {
    "latency": ("p50_ms", "p95_ms", "p99_ms"),
    "load time": ("load_ms",),
    "peak memory": ("rss_mb",),
    "size": ("size_mb",),
    "quality": ("retention", *METRICS),
    "recall of each label": ("recall",),
}
"""Keys of [budget] by what they limit."""
TIMES = ("latency", "load time", "peak memory")


def coverage(report: RunReport) -> Iterator[str]:
    """What was judged, what could not be decided, and what has no limit; a sentence each."""
    gate = report.gate
    if gate is None:
        yield NOTHING
        return
    keys = {_key(check) for check in gate.checks}
    judged = [name for name, limits in LIMITS.items() if keys & set(limits)]
    timed = gate.targets if set(TIMES) & set(judged) else ()
    where = f", timed on {' and '.join(timed)} only" if timed else ""
    yield f"Judged: {', '.join(judged) or 'nothing'} of {gate.form}{where}."
    if undecided := _named(gate, "inconclusive"):
        yield f"Not decided, because the figures are too noisy: {undecided}."
    if absent := [name for name in LIMITS if name not in judged]:
        yield f"Not judged, because the budget sets no limit: {', '.join(absent)}."


def outcome(gate: GateResult) -> str:
    """Which limits are kept and which are not, in one sentence."""
    failed, undecided = _named(gate, "fail"), _named(gate, "inconclusive")
    if failed:
        return f"{gate.form} misses {failed}."
    if undecided:
        return f"{gate.form}: {undecided} could not be decided."
    return f"{gate.form} keeps every limit of its budget: {_named(gate, 'pass')}."


def _key(check: Check) -> str:
    """The key of [budget], without the target that a name may end with and without a label."""
    return check.name.partition(" on ")[0].partition(".")[0]


def _named(gate: GateResult, verdict: str) -> str:
    return ", ".join(check.name for check in gate.checks if check.verdict == verdict)
