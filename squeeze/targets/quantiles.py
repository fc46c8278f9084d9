"""The latency quantiles of every report, from raw samples in their blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from squeeze.core.stats import Interval, quantile, samples_needed
from squeeze.targets.measurement import Estimate, Measurement

__all__ = ["QUANTILES", "block_interval", "estimate", "explain_missing", "mean_interval", "of"]

QUANTILES: Mapping[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
RESAMPLES = 1_000
SEED = 0  # the same samples always give the same interval


def estimate(blocks: Sequence[Sequence[float]], share: float, confidence: float) -> Estimate:
    """A quantile of all samples with an interval that believes the blocks no more than they agree.

    The order statistics' interval takes the samples for independent. Samples of one block are not:
    a neighbour's work or a slower clock lasts longer than a call. So the interval also covers what a
    bootstrap of whole blocks gives, which is the wider one as soon as the blocks differ.

    Args:
        blocks: samples in the order they were taken.
        share: 0 < share < 1; 0.95 for p95.
        confidence: 0 < confidence < 1.

    Returns:
        No interval when there are too few samples for one.

    >>> estimate([[1.0, 2.0, 3.0]], 0.5, confidence=0.95)
    Estimate(value=2.0, low=None, high=None)
    """
    found = quantile([sample for block in blocks for sample in block], share, confidence)
    if found.low is None or found.high is None:
        return Estimate(value=found.value)
    drawn = block_interval(blocks, share, confidence)
    low, high = (
        (found.low, found.high) if drawn is None else (min(found.low, drawn.low), max(found.high, drawn.high))
    )
    return Estimate(value=found.value, low=low, high=high)


def block_interval(blocks: Sequence[Sequence[float]], share: float, confidence: float) -> Interval | None:
    """Percentile interval of a quantile when whole blocks are drawn again (cluster bootstrap).

    Returns:
        None for fewer blocks than a median's interval needs.
    """
    count = len(blocks)
    if count < samples_needed(0.5, confidence):
        return None
    samples = np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks])
    order = np.argsort(samples, kind="stable")
    block_of = np.repeat(np.arange(count), [len(block) for block in blocks])[order]
    times_drawn = _times_drawn(count)
    places = np.empty(RESAMPLES, dtype=np.int64)
    for row, times in enumerate(times_drawn):
        reached = np.cumsum(times[block_of])
        places[row] = np.searchsorted(reached, share * reached[-1])
    return _middle(samples[order][places], confidence)


def mean_interval(blocks: Sequence[Sequence[float]], confidence: float) -> Interval | None:
    """Percentile interval of the mean of all samples when whole blocks are drawn again.

    Returns:
        None for fewer blocks than a median's interval needs.

    >>> mean_interval([[1.0, 3.0]] * 6, confidence=0.95)
    Interval(low=2.0, high=2.0)
    """
    if len(blocks) < samples_needed(0.5, confidence):
        return None
    times_drawn = _times_drawn(len(blocks))
    sums, counts = np.array([sum(block) for block in blocks]), np.array([len(block) for block in blocks])
    return _middle((times_drawn @ sums) / (times_drawn @ counts), confidence)


def _times_drawn(count: int) -> NDArray[np.int64]:
    """(RESAMPLES, count) how often each block is drawn, always the same."""
    return np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)


def _middle(resampled: NDArray[np.float64], confidence: float) -> Interval:
    risk = (1 - confidence) / 2
    low, high = np.quantile(resampled, [risk, 1 - risk])
    return Interval(low=float(low), high=float(high))


def of(measurement: Measurement, name: str, confidence: float) -> Estimate:
    """A measured quantile at another confidence; needs the raw samples.

    Args:
        measurement: with its samples.
        name: a key of ``QUANTILES``.
        confidence: 0 < confidence < 1.
    """
    return estimate(measurement.blocks(), QUANTILES[name], confidence)


def explain_missing(measurement: Measurement, name: str, confidence: float) -> str:
    """Why a quantile has no interval, and what would give it one."""
    needed = samples_needed(QUANTILES[name], confidence)
    return (
        f"{measurement.runs} runs are too few for an interval of {name} at {confidence:.0%}: "
        f"set min_runs to {needed} or more"
    )
