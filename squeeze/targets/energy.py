"""Energy of a processor package through RAPL, as Linux's powercap shows it.

Facts: Documentation/power/powercap/powercap.rst of the kernel. A zone is a folder `intel-rapl:N` (AMD's
processors have the same name there); `energy_uj` counts microjoules up to `max_energy_range_uj` and then
starts again. Since the fix of CVE-2020-8694 only root reads it by default.

The counters are of whole packages: whatever else runs there is in them. So each look at the model is followed
by as long a sleep, and what the sleep took is told beside it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import MissingBackend
from squeeze.targets import sessions
from squeeze.targets.inputs import draw_lengths, feed, slots
from squeeze.targets.ort import guarded, specs

__all__ = ["POWERCAP", "Zone", "answer", "joules", "read", "zones"]

POWERCAP = Path("/sys/class/powercap")
FEEDS = 20  # different inputs, used in turn
WARM_CALLS = 10


@dataclass(frozen=True)
class Zone:
    """One counter.

    Attributes:
        folder: where its files lie.
        name: such as ``package-0``; packages of the same name cannot be.
        range_uj: where it starts again, in microjoules.
    """

    folder: Path
    name: str
    range_uj: int


def zones(root: Path = POWERCAP) -> tuple[Zone, ...]:
    """The counters of all packages.

    Left out are parts of a package (cores, memory) and `psys`, which counts the packages again.

    Raises:
        MissingBackend: there are none, or they cannot be read; the message says which.
    """
    folders = sorted(path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1)
    if not folders:
        raise MissingBackend(f"no RAPL counters in {root}", hint="virtual machines and most boards have none")
    found = [_zone(folder) for folder in folders]
    packages = tuple(zone for zone in found if zone.name.startswith("package"))
    if not packages:
        raise MissingBackend(f"{root} counts no package, only {', '.join(zone.name for zone in found)}")
    read(packages)
    return packages


def read(counted: Sequence[Zone]) -> list[int]:
    """What each counter says now, in microjoules.

    Raises:
        MissingBackend: a counter cannot be read.
    """
    return [int(_text(zone.folder / "energy_uj")) for zone in counted]


def joules(counted: Sequence[Zone], before: Sequence[int], after: Sequence[int]) -> float:
    """Energy between two readings, all counters together.

    A counter that went down has started again, once: at 200 W the smallest usual range, 65 kJ, lasts more
    than 5 minutes.

    >>> joules([Zone(Path(), "package-0", 1_000_000)], [900_000], [100_000])
    0.2
    """
    spent = 0
    for zone, first, last in zip(counted, before, after, strict=True):
        spent += last - first if last >= first else last - first + zone.range_uj
    return spent / 1e6


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Calls, seconds and joules of rounds of calls, and seconds and joules of as many sleeps.

    Args:
        request: ``root`` of the counters, ``rounds``, ``seconds`` of each; one model with its bound; what a
            session is opened with and what its inputs are made of.
    """
    counted = zones(Path(request["root"]))
    (wanted,) = request["models"]
    path = Path(wanted["path"])
    session = sessions.open_model(path, request)
    values = _feeds(session, request, int(wanted["bound"]))
    rounds = []
    with guarded(path, "cannot be run"):
        for each in values[:WARM_CALLS]:
            session.run(None, each)
        for _ in range(request["rounds"]):
            calls, seconds, spent = _busy(session, values, counted, request["seconds"])
            idle_seconds, idle = _idle(counted, seconds)
            rounds.append(
                {
                    "calls": calls,
                    "seconds": seconds,
                    "joules": spent,
                    "idle_seconds": idle_seconds,
                    "idle_joules": idle,
                }
            )
    return {"rounds": rounds, "zones": [zone.name for zone in counted]}


def _busy(
    session: Any, values: Sequence[Any], counted: Sequence[Zone], seconds: float
) -> tuple[int, float, float]:
    """Calls, seconds and joules of one round."""
    calls, before, begun = 0, read(counted), time.perf_counter()
    for each in cycle(values):
        session.run(None, each)
        calls += 1
        if time.perf_counter() - begun >= seconds:
            break
    return calls, time.perf_counter() - begun, joules(counted, before, read(counted))


def _idle(counted: Sequence[Zone], seconds: float) -> tuple[float, float]:
    """Seconds and joules of a sleep."""
    before, begun = read(counted), time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - begun, joules(counted, before, read(counted))


def _feeds(session: Any, request: Mapping[str, Any], bound: int) -> list[Any]:
    batch, generator = request["batch"], np.random.default_rng(request["seed"])
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    filled = slots(specs(session), shapes, batch)
    if request["lengths"] is None:
        return [feed(filled, None, bound, generator) for _ in range(FEEDS)]
    drawn = draw_lengths(request["lengths"], FEEDS, batch, generator).tolist()
    return [feed(filled, lengths, bound, generator) for lengths in drawn]


def _zone(folder: Path) -> Zone:
    return Zone(folder, _text(folder / "name"), int(_text(folder / "max_energy_range_uj")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        hint = "only root may read RAPL counters by default" if isinstance(error, PermissionError) else ""
        raise MissingBackend(f"{path}: cannot be read ({error.strerror})", hint=hint) from error
