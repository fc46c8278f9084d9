"""How much faster one model is than another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from squeeze.core.stats import Interval, Quantile, paired_ratio, samples_needed
from squeeze.targets.limits import disturbed
from squeeze.targets.measurement import Comparison, Measurement

__all__ = ["against_report", "interleaved", "unpaired_interval"]

RESAMPLES = 2_000
SEED = 0  # the same samples always give the same interval


def interleaved(baseline: Measurement, model: Measurement) -> Comparison:
    """Compare two models that ran in turns in one process: block i of one beside block i of the other."""
    found = paired_ratio(baseline.blocks(), model.blocks(), model.confidence)
    return _comparison(baseline, model, found, paired=True)


def against_report(baseline: Measurement, model: Measurement) -> Comparison:
    """Compare with an earlier report, block by block drawn from each side on its own.

    What changed on the machine between the two runs is not in the interval; differences that can be
    seen are noted.
    """
    above, below = baseline.blocks(), model.blocks()
    medians = [float(np.median([np.median(block) for block in side])) for side in (above, below)]
    interval = unpaired_interval(above, below, model.confidence)
    ends = interval.plain() if interval else {"low": None, "high": None}
    return _comparison(baseline, model, Quantile(value=medians[0] / medians[1], **ends), paired=False)


def unpaired_interval(
    numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]], confidence: float
) -> Interval | None:
    """Bootstrap interval of a ratio of medians of blocks that were not measured side by side.

    Args:
        numerator: blocks of samples.
        denominator: blocks of samples, not necessarily as many.
        confidence: 0 < confidence < 1.

    Returns:
        None when either side has too few blocks for a median's interval.
    """
    sides = [np.array([np.median(block) for block in side]) for side in (numerator, denominator)]
    if min(map(len, sides)) < samples_needed(0.5, confidence):
        return None
    generator = np.random.default_rng(SEED)
    above, below = (
        np.median(side[generator.integers(len(side), size=(RESAMPLES, len(side)))], axis=1) for side in sides
    )
    risk = (1 - confidence) / 2
    low, high = np.quantile(above / below, [risk, 1 - risk])
    return Interval(low=float(low), high=float(high))


def _comparison(baseline: Measurement, model: Measurement, found: Quantile, *, paired: bool) -> Comparison:
    return Comparison(
        name=model.name,
        baseline=baseline.name,
        speedup=found.value,
        low=found.low,
        high=found.high,
        confidence=model.confidence,
        blocks=min(len(baseline.blocks()), len(model.blocks())),
        interleaved=paired,
        baseline_disturbed=disturbed(baseline, "p50"),
        notes=() if paired else tuple(_differences(baseline, model)),
    )


def _differences(baseline: Measurement, model: Measurement) -> list[str]:
    """What makes an earlier report a poor reference."""
    notes = ["compared with an earlier report: drift between the two runs is not in the interval"]
    for name in ("target", "threads", "batch", "sequence"):
        before, now = getattr(baseline, name), getattr(model, name)
        if name == "sequence":
            before, now = (None if each is None else round(each.mean) for each in (before, now))
        if before != now:
            notes.append(f"{name} was {before}, now {now}")
    for name in ("cpu", "machine", "onnxruntime"):
        before, now = baseline.environment.get(name), model.environment.get(name)
        if before != now:
            notes.append(f"{name} was {before}, now {now}")
    return notes
