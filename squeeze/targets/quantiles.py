"""The latency quantiles of every report, from raw samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from squeeze.core.stats import quantile, samples_needed
from squeeze.targets.measurement import Estimate, Measurement

__all__ = ["QUANTILES", "estimate", "explain_missing", "of"]

QUANTILES: Mapping[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def estimate(samples: Sequence[float], share: float, confidence: float) -> Estimate:
    """A quantile and its interval, as the record that reports hold.

    >>> estimate([1.0, 2.0, 3.0], 0.5, confidence=0.95)
    Estimate(value=2.0, low=None, high=None)
    """
    found = quantile(samples, share, confidence)
    return Estimate(value=found.value, low=found.low, high=found.high)


def of(measurement: Measurement, name: str, confidence: float) -> Estimate:
    """A measured quantile at another confidence; needs the raw samples.

    Args:
        measurement: with its samples.
        name: a key of ``QUANTILES``.
        confidence: 0 < confidence < 1.
    """
    return estimate(measurement.samples_ms, QUANTILES[name], confidence)


def explain_missing(measurement: Measurement, name: str, confidence: float) -> str:
    """Why a quantile has no interval, and what would give it one."""
    needed = samples_needed(QUANTILES[name], confidence)
    return (
        f"{measurement.runs} runs are too few for an interval of {name} at {confidence:.0%}: "
        f"set min_runs to {needed} or more"
    )
