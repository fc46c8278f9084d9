"""How much faster one model is than another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from squeeze.core.rounds import least_rounds, quotient, ratio
from squeeze.core.stats import Interval, Quantile, paired_ratio, samples_needed
from squeeze.targets.limits import disturbed, spread
from squeeze.targets.measurement import Comparison, Estimate, Measurement
from squeeze.targets.quantiles import QUANTILES, of

__all__ = [
    "Through",
    "against_report",
    "calls_needed",
    "elsewhere",
    "in_rounds",
    "interleaved",
    "ratio_of",
    "unpaired_interval",
]

RESAMPLES = 2_000
SEED = 0  # the same samples always give the same interval
MACHINE = ("cpu", "machine", "system", "usable_cores", "machine_id")
"""What tells one machine from another in the environment of a measurement."""


@dataclass(frozen=True)
class Through:
    """The reference workload on both sides of a comparison with an earlier report.

    Attributes:
        there: as it was measured beside the baseline.
        there_level: confidence of one interval of that report.
        here: as it was measured beside the model.
        here_level: confidence of one interval now.
    """

    there: Measurement
    there_level: float
    here: Measurement
    here_level: float


def interleaved(baseline: Measurement, model: Measurement) -> Comparison:
    """Compare two models that ran in turns in one process: block i of one beside block i of the other."""
    found = paired_ratio(baseline.blocks(), model.blocks(), model.confidence)
    ratios = _exact(baseline, model) | dict(_start_ratios(baseline, model, model.confidence))
    return _comparison(baseline, model, found, ratios | {"p50": _estimate(_inverse(found))}, interleaved=True)


def in_rounds(baseline: Measurement, model: Measurement, level: float) -> Comparison:
    """Compare two models that ran in turns in several processes.

    Args:
        baseline: with its rounds.
        model: with the same rounds.
        level: confidence of one interval; see ``Rounds.level``.
    """
    ratios = _paired_ratios(baseline, model, level)
    return _comparison(baseline, model, _inverse(ratios["p50"]), ratios, interleaved=True)


def against_report(baseline: Measurement, model: Measurement, through: Through | None = None) -> Comparison:
    """Compare with an earlier report, on the same machine or through a reference workload.

    With a reference on both sides it is (model / reference now) / (baseline / reference then): what
    makes a machine faster or slower for both cancels. Without one, what changed on the machine between
    the two runs is not in the interval, and differences that can be seen are noted.

    Args:
        baseline: of the report.
        model: as measured now.
        through: the reference on both sides, where there is one.
    """
    apart = elsewhere(baseline, model)
    ratios = _exact(baseline, model)
    if through is not None:
        ratios |= dict(_through_ratios(baseline, model, through))
        found = _inverse(ratios["p50"])
    else:
        found = _unpaired(baseline, model)
        ratios |= (
            {} if apart else {**dict(_unpaired_ratios(baseline, model)), "p50": _estimate(_inverse(found))}
        )
    return _comparison(
        baseline,
        model,
        found,
        ratios,
        interleaved=False,
        through_reference=through is not None,
        other_machine=apart,
    )


def ratio_of(baseline: Measurement, model: Measurement, name: str, level: float) -> Estimate | None:
    """How many times the baseline's a figure is, of two models that ran in turns.

    Args:
        baseline: with its samples.
        model: with the same rounds or blocks.
        name: a latency quantile, load, first, size or rss.
        level: confidence of the interval.

    Returns:
        None for a quantile for which some round has too few calls.
    """
    if name in QUANTILES:
        return _quantile_ratio(baseline, model, QUANTILES[name], level)
    return (_exact(baseline, model) | dict(_start_ratios(baseline, model, level)))[name]


def calls_needed(share: float) -> int:
    """Calls of a round that its quantile needs: so many that one of them is expected beyond it.

    >>> [calls_needed(share) for share in (0.5, 0.9, 0.95, 0.99)]
    [1, 10, 20, 100]
    """
    return 1 if share == 0.5 else math.ceil(round(1 / (1 - share), 6))


def elsewhere(baseline: Measurement, model: Measurement) -> bool:
    """Whether the machine was another one."""
    return any(baseline.environment.get(name) != model.environment.get(name) for name in MACHINE)


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


def _unpaired(baseline: Measurement, model: Measurement) -> Quantile:
    """Ratio of the medians of blocks that were not measured side by side; above 1 the model is faster."""
    above, below = baseline.blocks(), model.blocks()
    medians = [float(np.median([np.median(block) for block in side])) for side in (above, below)]
    interval = unpaired_interval(above, below, model.confidence)
    ends = interval.plain() if interval else {"low": None, "high": None}
    return Quantile(value=medians[0] / medians[1], **ends)


def _paired_ratios(baseline: Measurement, model: Measurement, level: float) -> dict[str, Estimate]:
    found = {name: _quantile_ratio(baseline, model, share, level) for name, share in QUANTILES.items()}
    return (
        _exact(baseline, model)
        | dict(_start_ratios(baseline, model, level))
        | {name: each for name, each in found.items() if each is not None}
    )


def _quantile_ratio(baseline: Measurement, model: Measurement, share: float, level: float) -> Estimate | None:
    above, below = model.rounds(), baseline.rounds()
    calls = min(sum(map(len, each)) for each in (*above, *below))
    return None if calls < calls_needed(share) else _estimate(ratio(above, below, share, level))


def _start_ratios(baseline: Measurement, model: Measurement, level: float) -> Iterator[tuple[str, Estimate]]:
    """Load time and first inference over fresh processes; by the range of the repeats where they are few."""
    for name, above, below in _starts(baseline, model):
        pairs = min(len(above), len(below))
        if pairs < least_rounds(level):
            yield name, _estimate(quotient(_quantile(above), _quantile(below)))
            continue
        each = [[[ms]] for ms in above[:pairs]], [[[ms]] for ms in below[:pairs]]
        yield name, _estimate(ratio(*each, 0.5, level))


def _starts(
    baseline: Measurement, model: Measurement
) -> tuple[tuple[str, Sequence[float], Sequence[float]], ...]:
    return ("load", model.loads_ms, baseline.loads_ms), ("first", model.firsts_ms, baseline.firsts_ms)


def _quantile(repeats: Sequence[float]) -> Quantile:
    """A median with the range of its repeats."""
    return _as_quantile(spread(float(np.median(repeats)), repeats))


def _exact(baseline: Measurement, model: Measurement) -> dict[str, Estimate]:
    """Sizes are what they are."""
    found = {
        "size": model.shipped_bytes / baseline.shipped_bytes,
        "rss": model.rss_bytes / baseline.rss_bytes,
    }
    return {name: Estimate(value=value, low=value, high=value) for name, value in found.items()}


def _unpaired_ratios(baseline: Measurement, model: Measurement) -> Iterator[tuple[str, Estimate]]:
    for name in QUANTILES:
        sides = [_as_quantile(of(each, name, model.confidence)) for each in (model, baseline)]
        yield name, _estimate(quotient(*sides))
    for name, above, below in _starts(baseline, model):
        yield name, _estimate(quotient(_quantile(above), _quantile(below)))


def _through_ratios(
    baseline: Measurement, model: Measurement, through: Through
) -> Iterator[tuple[str, Estimate]]:
    for name, share in QUANTILES.items():
        now = _quantile_ratio(through.here, model, share, through.here_level)
        then = _quantile_ratio(through.there, baseline, share, through.there_level)
        if now is not None and then is not None:
            yield name, _estimate(quotient(_as_quantile(now), _as_quantile(then)))


def _as_quantile(figure: Estimate) -> Quantile:
    return Quantile(value=figure.value, low=figure.low, high=figure.high)


def _estimate(found: Quantile) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)


def _inverse(found: Quantile | Estimate) -> Quantile:
    low, high = (None if end is None else 1 / end for end in (found.high, found.low))
    return Quantile(value=1 / found.value, low=low, high=high)


def _comparison(
    baseline: Measurement,
    model: Measurement,
    found: Quantile,
    ratios: Mapping[str, Estimate],
    *,
    interleaved: bool,
    **how: Any,
) -> Comparison:
    return Comparison(
        name=model.name,
        baseline=baseline.name,
        speedup=found.value,
        low=found.low,
        high=found.high,
        confidence=model.confidence,
        blocks=min(len(baseline.blocks()), len(model.blocks())),
        interleaved=interleaved,
        ratios=ratios,
        baseline_disturbed=disturbed(baseline, "p50"),
        notes=() if interleaved else tuple(_differences(baseline, model, **how)),
        **how,
    )


def _differences(
    baseline: Measurement, model: Measurement, *, through_reference: bool, other_machine: bool
) -> Iterator[str]:
    """What makes an earlier report a poor reference."""
    if through_reference:
        place = "another machine" if other_machine else "this machine"
        yield f"compared with an earlier report of {place} through the reference workload that both measured"
    elif other_machine:
        yield (
            "the earlier report is of another machine and has not this reference workload: no time is judged "
            "by it; make it again there with `squeeze bench MODEL --reference --json`"
        )
    else:
        yield "compared with an earlier report: drift between the two runs is not in the interval"
    for name in ("target", "threads", "batch", "sequence"):
        before, now = getattr(baseline, name), getattr(model, name)
        if name == "sequence":
            before, now = (None if each is None else round(each.mean) for each in (before, now))
        if before != now:
            yield f"{name} was {before}, now {now}"
    for name in ("cpu", "machine", "onnxruntime"):
        before, now = baseline.environment.get(name), model.environment.get(name)
        if before != now:
            yield f"{name} was {before}, now {now}"
