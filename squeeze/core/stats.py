"""Statistics of latency samples: quantiles that admit when they are not known, and paired ratios.

Nothing here assumes a distribution: latencies are skewed, have several modes and drift. The unit of
every result is the unit of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from squeeze.schema import Frozen

__all__ = [
    "CONFIDENCE",
    "Interval",
    "Quantile",
    "coefficient_of_variation",
    "levels",
    "median_absolute_deviation",
    "paired_ratio",
    "quantile",
    "samples_needed",
    "steady",
]

CONFIDENCE = 0.95


class Interval(Frozen):
    """A confidence interval, both ends included."""

    low: float
    high: float


class Quantile(Frozen):
    """An estimated quantile and its interval; no interval (both ends None) when the samples are too few."""

    value: float
    low: float | None
    high: float | None


def quantile(samples: ArrayLike, share: float, confidence: float = CONFIDENCE) -> Quantile:
    """A quantile with its exact, distribution-free interval (David & Nagaraja, Order Statistics, 7.1).

    The number of samples at or below the true quantile is binomial (n, share), so two order
    statistics enclose it with at least the asked confidence, half of the risk on each side, whatever
    the distribution. With ties the interval is wider than it need be. The value itself is
    interpolated between the two nearest samples.

    Args:
        samples: n >= 1 values in any order, taken independently.
        share: 0 < share < 1; 0.95 for p95.
        confidence: 0 < confidence < 1.

    Returns:
        The value; ``low`` and ``high`` are None when no sample is far enough out to bound both
        sides, that is below ``samples_needed(share, confidence)``.

    >>> quantile(range(1, 101), share=0.5)
    Quantile(value=50.5, low=40.0, high=61.0)
    >>> quantile(range(1, 21), share=0.99).high is None
    True
    """
    ordered = np.sort(_flat(samples))
    value = float(np.quantile(ordered, share))
    n = len(ordered)
    risk = (1 - confidence) / 2
    # Ranks count from 1: the largest with P(B < low) <= risk, the smallest with P(B >= high) <= risk.
    below = _chance_below(n, share)
    low = int(np.searchsorted(below, risk, side="right"))
    high = int(np.searchsorted(below, 1 - risk, side="left")) + 1
    if low < 1 or high > n:
        return Quantile(value=value, low=None, high=None)
    return Quantile(value=value, low=float(ordered[low - 1]), high=float(ordered[high - 1]))


def samples_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """Fewest samples with which ``quantile`` can give an interval.

    The largest of n samples bounds the quantile from above unless all n fall below it, which has
    the chance share ** n; the other side likewise.

    >>> samples_needed(0.5), samples_needed(0.95), samples_needed(0.99)
    (6, 72, 368)
    """
    risk = (1 - confidence) / 2
    extreme = max(share, 1 - share)
    return int(np.ceil(np.log(risk) / np.log(extreme)))


def paired_ratio(
    numerator: Sequence[ArrayLike], denominator: Sequence[ArrayLike], confidence: float = CONFIDENCE
) -> Quantile:
    """How many times larger one side is: the median over blocks of the ratio of the blocks' medians.

    Samples inside a block are correlated (temperature, clock, neighbours), so a block counts as one
    observation. What slows both sides of a block cancels in its ratio; the interval is that of
    ``quantile``, exact for any distribution of the ratios.

    Args:
        numerator: B blocks of positive samples, of any lengths >= 1.
        denominator: B blocks; block i was measured beside block i of the numerator.
        confidence: 0 < confidence < 1.

    Returns:
        The ratio; no interval below ``samples_needed(0.5, confidence)`` blocks, 6 at 95 %.

    >>> paired_ratio([[2.0, 2.2, 1.8], [4.0], [6.0]], [[1.0, 1.0, 9.0], [2.0], [3.0]])
    Quantile(value=2.0, low=None, high=None)
    """
    above, below = _block_medians(numerator, denominator)
    return quantile(above / below, share=0.5, confidence=confidence)


def coefficient_of_variation(samples: ArrayLike) -> float:
    """Standard deviation (n - 1) over the mean; 0 for a single sample. The mean must not be 0.

    >>> coefficient_of_variation([1.0, 2.0, 3.0])
    0.5
    """
    values = _flat(samples)
    return float(values.std(ddof=1) / values.mean()) if len(values) > 1 else 0.0


def median_absolute_deviation(samples: ArrayLike) -> float:
    """Median distance from the median, not scaled; times 1.4826 it estimates a normal's deviation.

    >>> median_absolute_deviation([1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0])
    1.0
    """
    values = _flat(samples)
    return float(np.median(np.abs(values - np.median(values))))


def levels(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """One latency a model from blocks in which all ran in turns; what slows a whole block cancels.

    Args:
        blocks: (B, P) positive medians of P models in B blocks.

    Returns:
        (P,) the blocks' usual pace times the median over blocks of what a model takes at that pace.
    """
    logs = np.log(blocks)
    pace = np.median(logs, axis=1, keepdims=True)
    found: NDArray[np.float64] = np.exp(np.median(logs - pace, axis=0) + np.median(pace))
    return found


def steady(samples: Sequence[float], window: int, tolerance: float) -> bool:
    """Tell whether warm-up is over: the medians of the last two windows agree.

    Args:
        samples: all samples so far, oldest first, all positive.
        window: samples in a window, >= 1; the two windows do not overlap.
        tolerance: largest accepted difference as a share of the later median, 0.05 for 5 %.

    Returns:
        False while there are fewer than two full windows.

    >>> steady([9.0, 8.0, 1.0, 1.1, 1.0, 1.0], window=2, tolerance=0.1)
    True
    >>> steady([9.0, 8.0, 1.0, 1.1], window=2, tolerance=0.1)
    False
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if len(samples) < 2 * window:
        return False
    before = float(np.median(samples[-2 * window : -window]))
    after = float(np.median(samples[-window:]))
    return abs(after - before) <= tolerance * after


def _chance_below(n: int, share: float) -> NDArray[np.float64]:
    """(n,) P(B < r) for the ranks r = 1..n and B binomial (n, share); scipy.stats takes a second to load."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    hits = np.arange(n)
    log_choose = log_factorial[n] - log_factorial[hits] - log_factorial[n - hits]
    return np.cumsum(np.exp(log_choose + hits * np.log(share) + (n - hits) * np.log1p(-share)))


def _flat(samples: ArrayLike) -> NDArray[np.float64]:
    """The samples as one float vector; refuse none at all."""
    values = np.asarray(samples, dtype=np.float64).ravel()
    if not values.size:
        raise ValueError("no samples")
    return values


def _block_medians(
    numerator: Sequence[ArrayLike], denominator: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B,) medians of both sides' blocks; refuse sides of different length."""
    if len(numerator) != len(denominator) or not len(numerator):
        raise ValueError(f"need equally many blocks, at least 1, got {len(numerator)} and {len(denominator)}")
    above = np.array([np.median(_flat(block)) for block in numerator])
    below = np.array([np.median(_flat(block)) for block in denominator])
    return above, below
