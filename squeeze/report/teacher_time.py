"""How much faster the exported files are than the teacher, in words."""

from __future__ import annotations

from squeeze.stages.bench.stage import TeacherTime
from squeeze.targets.measurement import Estimate

__all__ = ["how", "of_all", "of_one"]


def how(timed: TeacherTime) -> str:
    """What was timed, and how.

    For example `fp32 ONNX, timed in turns`.
    """
    which = f"the first of {timed.members} teachers, " if timed.members > 1 else ""
    turns = "timed in turns" if timed.runtime == "fp32 ONNX" else "not timed in turns"
    slowed = " while other programs slowed it" if timed.disturbed else ""
    return f"{which}{timed.runtime}, {turns}{slowed}"


def of_one(timed: TeacherTime, form: str) -> str:
    """The sentence of one form; empty for a form that was not timed."""
    found = timed.speedups.get(form)
    if found is None:
        return ""
    return f"{_times(timed, found)} as fast as your teacher's {timed.p50_ms.value:.3g} ms ({how(timed)})"


def of_all(timed: TeacherTime) -> str:
    """The sentence of all forms, with intervals."""
    each = [
        f"{form} is {_times(timed, found)} as fast{_interval(found)}"
        for form, found in timed.speedups.items()
    ]
    return f"The teacher takes {timed.p50_ms.value:.3g} ms at the median ({how(timed)}): {', '.join(each)}."


def _times(timed: TeacherTime, found: Estimate) -> str:
    return f"{'up to ' if timed.disturbed else ''}{_ratio(found.value)} times"


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" ({_ratio(found.low)} to {_ratio(found.high)})"


def _ratio(value: float) -> str:
    """Two digits at least.

    >>> _ratio(18.36), _ratio(1.523), _ratio(0.061)
    ('18', '1.5', '0.06')
    """
    return f"{value:,.{0 if value >= 10 else 1 if value >= 0.1 else 2}f}"
