"""Energy of the points of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from squeeze.errors import MissingBackend
from squeeze.progress import Progress
from squeeze.sweeping.asking import answer
from squeeze.sweeping.options import SweepOptions
from squeeze.sweeping.records import Energy, Point
from squeeze.targets import energy as rapl
from squeeze.targets.limits import spread
from squeeze.targets.subjects import Subject

__all__ = ["add", "summary"]

ROUNDS = 3
SECONDS = 2.0  # of a round; counters are renewed about every millisecond


def add(
    subject: Subject,
    points: Sequence[Point],
    options: SweepOptions,
    progress: Progress,
    root: Path = rapl.POWERCAP,
) -> tuple[tuple[Point, ...], str | None]:
    """The points with their energy, or as they are with the reason why there is none.

    Args:
        subject: the model.
        points: of a sweep.
        options: of that sweep.
        progress: told of each point.
        root: where the counters lie.
    """
    try:
        rapl.zones(root)
    except MissingBackend as error:
        return tuple(points), f"not readable here: {error.message}"
    found = []
    with progress.task("energy", len(points)) as advance:
        for point in points:
            found.append(_with(subject, point, options, root))
            advance(1, note=str(point.place))
    return tuple(found), None


def summary(found: Mapping[str, Any]) -> Energy:
    """Figures of an answer of the measuring process; see squeeze/targets/energy.py."""
    rounds = found["rounds"]
    whole = [each["joules"] / each["calls"] for each in rounds]
    watts = [each["idle_joules"] / each["idle_seconds"] for each in rounds]
    above = [
        (each["joules"] - idle * each["seconds"]) / each["calls"]
        for each, idle in zip(rounds, watts, strict=True)
    ]
    return Energy(
        joules_per_call=spread(median(whole), whole),
        above_idle_per_call=spread(median(above), above),
        idle_watts=median(watts),
        calls=sum(each["calls"] for each in rounds),
        zones=tuple(found["zones"]),
    )


def _with(subject: Subject, point: Point, options: SweepOptions, root: Path) -> Point:
    if point.measurement is None:
        return point
    place = point.place
    lengths = list(subject.lengths or ()) or None if place.sequence is None else [place.sequence]
    start = answer("start", subject, options, threads=place.threads, batch=place.batch, lengths=lengths)
    found = answer(
        "energy",
        subject,
        options,
        root=str(root),
        rounds=ROUNDS,
        seconds=SECONDS,
        threads=place.threads,
        batch=place.batch,
        lengths=lengths,
        models=[{"path": str(subject.path.resolve()), "bound": start["bound"]}],
    )
    return point.model_copy(update={"energy": summary(found)})
