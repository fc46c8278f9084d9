"""When a measured figure meets its limit, and when nobody can say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from squeeze.targets.measurement import Estimate

__all__ = ["Verdict", "at_least", "at_most", "overall", "spread"]

Verdict = Literal["pass", "fail", "inconclusive"]


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
