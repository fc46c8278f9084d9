"""Everything that one `squeeze sweep` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze.artifact import digest_file
from squeeze.errors import UsageError
from squeeze.progress import Progress
from squeeze.runtime import environment, versions
from squeeze.sweeping import choice, energy, grid
from squeeze.sweeping.cold import cold
from squeeze.sweeping.options import SweepOptions, places
from squeeze.sweeping.records import Point, SweepReport
from squeeze.sweeping.texts import builtin, time_texts
from squeeze.targets import energy as rapl
from squeeze.targets.reach import measuring
from squeeze.targets.subjects import Subject, find, model_bytes

__all__ = ["Wanted", "followed", "run"]

CPU = "cpu"
LIBRARIES = ("onnxruntime", "tokenizers", "numpy")


@dataclass(frozen=True)
class Wanted:
    """Which parts to measure.

    Attributes:
        grid: threads, batches and lengths.
        cold: first answers of fresh processes.
        texts: what to answer, or None.
        source: where the texts came from.
        energy: joules of each point of the grid.
    """

    grid: bool = True
    cold: bool = False
    texts: Sequence[str] | None = None
    source: str = ""
    energy: bool = False


def run(
    path: Path, form: str | None, wanted: Wanted, options: SweepOptions, progress: Progress
) -> SweepReport:
    """Measure one model.

    Args:
        path: a model file, or the folder of a bundle.
        form: of a bundle; None for the one that ships.
        wanted: which parts.
        options: how.
        progress: shows where it is.

    Raises:
        UsageError: nothing there that could be measured.
        SqueezeError: the model cannot be run.
    """
    followed(options, wanted)
    subject = _subject(path, form)
    texts = wanted.texts
    timed = time_texts(subject, texts, wanted.source, options, progress) if texts else None
    started = cold(subject, _middle(texts or builtin()), options, progress) if wanted.cold else None
    points = _grid(subject, options, progress) if wanted.grid else ()
    note = None
    if wanted.energy:
        points, note = energy.add(subject, points, options, progress)
    return SweepReport(
        name=subject.name,
        form=subject.form,
        sha256=digest_file(subject.path),
        size_bytes=model_bytes(subject.path),
        confidence=options.confidence,
        passes=options.passes,
        seed=options.seed,
        points=points,
        choice=choice.choose(points, options.limit, options.confidence) if options.limit else None,
        cold=started,
        texts=timed,
        energy_note=note,
        environment=_around(points),
    )


def followed(options: SweepOptions, wanted: Wanted) -> None:
    """Refuse options that the target or the parts that are measured do not have.

    Raises:
        UsageError: an option that would have no effect, or a part that a device is not asked for.
        MissingBackend: energy counters are asked for and cannot be read.
    """
    _on_devices(options, wanted)
    timed = wanted.grid or wanted.texts is not None
    needed = {
        "passes": ("--passes", wanted.grid, "a grid"),
        "repeats": ("--repeats", wanted.cold, "--cold"),
        "min_runs": ("--min-runs", timed, "a grid or --texts"),
        "min_seconds": ("--seconds", timed, "a grid or --texts"),
    }
    for name, (option, used, what) in needed.items():
        if not used and getattr(options, name) != SweepOptions.model_fields[name].default:
            raise UsageError(f"{option}: no effect without {what}")
    if wanted.energy:
        rapl.zones(rapl.POWERCAP)


def _on_devices(options: SweepOptions, wanted: Wanted) -> None:
    """Devices are asked for a grid alone, and have a folder for our files."""
    if options.device_dir is not None and options.target == CPU:
        raise UsageError("--device-dir: no effect with --target cpu", hint="it goes with adb and ssh")
    parts = {"--cold": wanted.cold, "--texts": wanted.texts is not None, "--energy": wanted.energy}
    asked = [name for name, there in parts.items() if there]
    if options.target != CPU and asked:
        raise UsageError(f"{options.target}: {' and '.join(asked)} are measured on the target cpu only")


def _grid(subject: Subject, options: SweepOptions, progress: Progress) -> tuple[Point, ...]:
    from squeeze.targets.devices.visiting import Habits

    with measuring(options.target, Habits(folder=options.device_dir), progress) as measure:
        return grid.sweep(subject, places(options, subject), options, measure, progress)


def _around(points: Sequence[Point]) -> dict[str, Any]:
    """The machine of this process, or the device that was measured."""
    there = [each.measurement for each in points if each.measurement and each.measurement.target != CPU]
    return {**versions(LIBRARIES), **(there[0].environment if there else environment())}


def _subject(path: Path, form: str | None) -> Subject:
    if form == "all":
        raise UsageError(
            "--form all: a sweep is of one model", hint="name one form; squeeze bench compares them"
        )
    return find(path, form)[0]


def _middle(texts: Sequence[str]) -> str:
    """The text of middle length."""
    return sorted(texts, key=len)[len(texts) // 2]
