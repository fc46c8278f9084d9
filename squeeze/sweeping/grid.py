"""Measure a grid of threads, batches and lengths in several short walks over it.

A machine's pace drifts: clocks, heat, neighbours. Where one point after the other gets all its time, drift
looks like a difference between points. So each walk visits all points in random order and each point gets a
share of its calls from each walk, in processes of its own. A walk then counts as one block of a point's
measurement, because calls of one process share more luck than its clock's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from squeeze.core.stats import quantile
from squeeze.errors import Inconclusive, SqueezeError, StageFailed, UsageError
from squeeze.progress import Progress, Silent
from squeeze.sweeping.options import SweepOptions
from squeeze.sweeping.records import Place, Point
from squeeze.targets.cpu import Settings
from squeeze.targets.figures import of_calls, of_starts
from squeeze.targets.measurement import Estimate, Measurement
from squeeze.targets.noise import remarks
from squeeze.targets.quantiles import mean_interval
from squeeze.targets.reach import Measure
from squeeze.targets.subjects import Subject

__all__ = ["efficiency", "merged", "sweep", "throughput"]

Found = Mapping[Place, Sequence[Measurement]]


def sweep(
    subject: Subject, grid: Sequence[Place], options: SweepOptions, measure: Measure, progress: Progress
) -> tuple[Point, ...]:
    """Measure every point; one that cannot be measured keeps its error, and the rest goes on.

    Args:
        subject: the model.
        grid: points, at least one.
        options: how.
        measure: measures on the target.
        progress: told of each point of each walk.

    Raises:
        SqueezeError: the first error, when no point could be measured.
    """
    found: dict[Place, list[Measurement]] = defaultdict(list)
    errors: dict[Place, SqueezeError] = {}
    generator = np.random.default_rng(options.seed)
    with progress.task("sweep", options.passes * len(grid)) as advance:
        for walk in range(options.passes):
            for index in generator.permutation(len(grid)):
                place = grid[index]
                if place not in errors:
                    try:
                        found[place].append(_once(subject, place, options, walk, measure))
                    except (UsageError, StageFailed, Inconclusive) as error:
                        errors[place] = error
                advance(1, note=str(place))
    if len(errors) == len(grid):
        raise next(iter(errors.values()))
    whole = {place: each for place, each in found.items() if place not in errors}
    return tuple(_point(place, whole, errors.get(place), options) for place in grid)


def merged(found: Sequence[Measurement], min_runs: int, confidence: float) -> Measurement:
    """One measurement out of those of several walks; a walk is a block of it.

    Args:
        found: of one point, in the order of the walks.
        min_runs: calls that were asked for, all walks together.
        confidence: of the intervals.
    """
    first = found[0]
    blocks = [list(each.samples_ms) for each in found]
    widths = [[width for block in each.block_widths for width in block * each.passes] for each in found]
    has_length = first.sequence is not None
    calls = of_calls(blocks, widths, batch=first.batch, confidence=confidence, has_length=has_length)
    starts = of_starts(
        [ms for each in found for ms in each.loads_ms],
        [ms for each in found for ms in each.firsts_ms],
        [each.rss_bytes for each in found],
        [each.rss_baseline_bytes for each in found],
    )
    state = {
        "samples_ms": calls["samples_ms"],
        "preemptions": sum(each.preemptions for each in found),
        "warm": all(each.warm for each in found),
        "warmup_runs": sum(each.warmup_runs for each in found),
        "passes": 1,
    }
    stopped = {"stopped": calls["runs"] < min_runs}
    notes = tuple(remarks({**state, **stopped}, calls["cv"], first.environment))
    return first.model_copy(update={**calls, **starts, **state, "notes": notes})


def throughput(found: Measurement) -> Estimate:
    """Texts a second, one call after the other, with the interval of the mean call over the walks."""
    value, mean = found.throughput_per_s, mean_interval(found.blocks(), found.confidence)
    if mean is None:
        return Estimate(value=value)
    return Estimate(value=value, low=1e3 * found.batch / mean.high, high=1e3 * found.batch / mean.low)


def efficiency(many: Measurement, one: Measurement) -> Estimate:
    """Share of the ideal: texts a second over threads times those of one thread, the median over the walks.

    Args:
        many: with several threads.
        one: the same batch and lengths with one thread, in the same walks.
    """
    ratios = [
        np.mean(alone) / np.mean(together) / many.threads
        for alone, together in zip(one.blocks(), many.blocks(), strict=True)
    ]
    return Estimate(**quantile(ratios, 0.5, many.confidence).plain())


def _once(subject: Subject, place: Place, options: SweepOptions, walk: int, measure: Measure) -> Measurement:
    """One point in one walk.

    Raises:
        UsageError: the model's length is fixed and one was asked for, or its batch is.
        StageFailed: the model cannot run like this.
        Inconclusive: a device slowed down.
    """
    settings = Settings(
        threads=place.threads,
        batch=place.batch,
        sequence=place.sequence,
        min_runs=-(-options.min_runs // options.passes),
        min_seconds=options.min_seconds / options.passes,
        max_seconds=options.max_seconds / options.passes,
        starts=1,
        seed=options.seed + walk,  # other inputs and lengths, the same for all points of a walk
        confidence=options.confidence,
    )
    (found,) = measure([subject], settings, Silent())
    return found


def _point(place: Place, whole: Found, error: SqueezeError | None, options: SweepOptions) -> Point:
    if error is not None:
        return Point(place=place, error=error.message)
    measurement = merged(whole[place], options.min_runs, options.confidence)
    alone = whole.get(place.model_copy(update={"threads": 1})) if place.threads > 1 else None
    one = merged(alone, options.min_runs, options.confidence) if alone else None
    return Point(
        place=place,
        measurement=measurement,
        throughput=throughput(measurement),
        efficiency=efficiency(measurement, one) if one else None,
    )
