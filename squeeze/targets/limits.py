"""When a measured figure meets its limit, and when nobody can say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from squeeze.targets.machine import THROUGHPUT, Disturbance, doubts
from squeeze.targets.measurement import Estimate, Measurement
from squeeze.targets.quantiles import QUANTILES, explain_missing, mean_interval, of

__all__ = [
    "Judge",
    "Verdict",
    "at_least",
    "at_most",
    "disturbed",
    "doubted",
    "latency",
    "overall",
    "spread",
    "throughput",
]

Verdict = Literal["pass", "fail", "inconclusive"]
Judge: TypeAlias = Callable[[Estimate, float], Verdict]


def at_most(figure: Estimate, limit: float) -> Verdict:
    """Judge a figure that must not exceed its limit by its interval, not by its value.

    A limit inside the interval is inconclusive, and so is a figure without an interval.

    >>> [at_most(Estimate(value=5.0, low=4.0, high=6.0), limit) for limit in (6.0, 5.0, 3.0)]
    ['pass', 'inconclusive', 'fail']
    """
    if figure.low is None or figure.high is None:
        return "inconclusive"
    return "pass" if figure.high <= limit else "fail" if figure.low > limit else "inconclusive"


def at_least(figure: Estimate, limit: float) -> Verdict:
    """Judge a figure that must reach its limit, the same way.

    >>> at_least(Estimate(value=55.0, low=52.0, high=58.0), 50.0)
    'pass'
    """
    if figure.low is None or figure.high is None:
        return "inconclusive"
    return "pass" if figure.low >= limit else "fail" if figure.high < limit else "inconclusive"


def latency(
    measurement: Measurement, name: str, limit: float, confidence: float
) -> tuple[Estimate, Verdict, str]:
    """Judge a latency quantile.

    Other programs can only make a model look slower. So a pass stands on a busy machine too, but a
    failure that they alone may have caused is inconclusive. What may go either way makes both inconclusive.
    A verdict stands that holds for all that a disturbance may have done: squeeze/targets/machine.py.

    Args:
        measurement: with its samples.
        name: a key of ``QUANTILES``.
        limit: milliseconds.
        confidence: of the interval, 0..1.

    Returns:
        The quantile, the verdict, and what must be said about it.
    """
    figure = of(measurement, name, confidence)
    if figure.low is None or figure.high is None:
        return figure, "inconclusive", explain_missing(measurement, name, confidence)
    note = f"interval {figure.low:.3g} to {figure.high:.3g} ms at {confidence:.0%}"
    verdict, doubt = doubted(figure, limit, at_most, doubts(measurement, name))
    return figure, verdict, _joined(note, doubt)


def throughput(measurement: Measurement, limit: float, confidence: float) -> tuple[Estimate, Verdict, str]:
    """Judge texts a second by the interval of the mean call, with the same care about a busy machine.

    Every call counts in a mean, so that as few pre-empted ones as would show in p99 are too many.

    Args:
        measurement: with its samples.
        limit: texts a second, at least.
        confidence: of the interval, 0..1.

    Returns:
        The figure, the verdict, and what must be said about it.
    """
    mean = mean_interval(measurement.blocks(), confidence)
    if mean is None:
        few = f"{len(measurement.blocks())} blocks are too few for an interval: raise min_runs"
        return Estimate(value=measurement.throughput_per_s), "inconclusive", few
    low, high = (1e3 * measurement.batch / each for each in (mean.high, mean.low))
    figure = Estimate(value=measurement.throughput_per_s, low=low, high=high)
    note = f"interval {low:.4g} to {high:.4g} /s at {confidence:.0%}"
    verdict, doubt = doubted(figure, limit, at_least, doubts(measurement, THROUGHPUT))
    return figure, verdict, _joined(note, doubt)


def doubted(
    figure: Estimate, limit: float, judge: Judge, found: Sequence[Disturbance]
) -> tuple[Verdict, str]:
    """A verdict that what disturbed the measurement cannot have made, and what took it away.

    Args:
        figure: with its interval.
        limit: in the unit of the figure.
        judge: ``at_most`` or ``at_least``.
        found: from ``machine.doubts``, or ``machine.reasons`` for a ratio of models in turns.

    Returns:
        The verdict; why it is inconclusive and what would help, or "" where nothing took one away.

    >>> busy = Disturbance(kind="load", text="others ran", hint="stop them")
    >>> figure = Estimate(value=5.0, low=4.0, high=6.0)
    >>> [doubted(figure, limit, at_most, [busy]) for limit in (6.0, 3.0)]
    [('pass', ''), ('inconclusive', 'others ran (stop them)')]
    """
    verdict = judge(figure, limit)
    reasons = [each for each in found if verdict != _whatever(figure, limit, judge, each)]
    if verdict == "inconclusive" or not reasons:
        return verdict, ""
    hint = reasons[0].hint
    return "inconclusive", f"{'; '.join(each.text for each in reasons)} ({hint})"


def _whatever(figure: Estimate, limit: float, judge: Judge, cause: Disturbance) -> Verdict:
    """The verdict that holds whatever a disturbance did to the figure."""
    verdict = judge(figure, limit)
    if cause.slows and verdict == "pass":
        return verdict
    if cause.error is None or cause.error >= 1 or figure.low is None or figure.high is None:
        return "inconclusive"
    low, high = figure.low * (1 - cause.error), figure.high / (1 - cause.error)
    return judge(Estimate(value=figure.value, low=low, high=high), limit)


def _joined(note: str, doubt: str) -> str:
    return f"{note}; {doubt}" if doubt else note


def disturbed(measurement: Measurement, name: str) -> bool:
    """Whether pre-empted calls are so many that a quantile may show them and not the model.

    That is, at least half as many as there are calls above the quantile: 25 % of all for p50,
    2.5 % for p95, 0.5 % for p99.
    """
    return measurement.preemptions > measurement.runs * (1 - QUANTILES[name]) / 2


def spread(value: float, repeats: Iterable[float]) -> Estimate:
    """A figure with the range of its few repeats in place of an interval.

    >>> spread(3.0, [9.0, 2.0, 3.0])
    Estimate(value=3.0, low=2.0, high=9.0)
    """
    values = tuple(repeats)
    return Estimate(value=value, low=min(values), high=max(values))


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict out of many: a failure counts most, and nothing judged is no pass.

    >>> overall(["pass", "inconclusive"]), overall([])
    ('inconclusive', 'inconclusive')
    """
    found = set(verdicts)
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"
