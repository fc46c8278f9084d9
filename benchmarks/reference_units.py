"""The same models in reference units: on one core, on two, under a quota of half a core, with two threads.

    python -m benchmarks.reference_units

A budget in `ref` is worth something when a model takes as many times the reference's time wherever it runs.
Students with random weights run in turns with the reference, with one thread, which is the default, and on
two cores with two as well; the reference has as many threads as they. The quota is that of a control group
of its own, which takes root; what cannot be tried is skipped and says why.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, ratio, write
from squeeze.cli.output import shown
from squeeze.errors import MissingBackend
from squeeze.progress import Progress
from squeeze.runtime import usable_cores
from squeeze.targets import reference
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import Subject

__all__ = ["CONDITIONS", "QUOTA", "Condition", "main", "models"]

VOCABULARY = 14_000
SHAPES: Mapping[str, tuple[int, int, int, int, int]] = {
    "tiny": (3, 384, 4, 32, 384),
    "4x256": (4, 256, 4, 64, 1024),
}
"""Layers, hidden width, heads, head size, feed-forward neurons; the first is that of profiles/tiny.toml."""
QUOTA = 0.5
PERIOD_US = 100_000  # the kernel's default
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
GROUP = "squeeze-reference-units"


@dataclass(frozen=True)
class Condition:
    """What this process may use.

    Attributes:
        cores: that it may run on.
        threads: of every model.
        quota: share of a core; None: all of them.
    """

    cores: int
    threads: int = 1
    quota: float | None = None


CONDITIONS: Mapping[str, Condition] = {
    "one core": Condition(1),
    "two cores": Condition(2),
    "half a core": Condition(1, quota=QUOTA),
    "two threads": Condition(2, threads=2),
}


def main(
    length: Annotated[int, typer.Option(help="Tokens a text of the students.")] = 48,
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls of each model at least.")] = 3.0,
    results: Results = RESULTS,
) -> None:
    """Measure in each condition; writes reference-units.json."""
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        subjects = [*models(Path(folder)), reference.subject()]
        found = {name: _condition(name, subjects, length, seconds, progress) for name in CONDITIONS}
    write(results, "reference-units", {"version": reference.VERSION, "tokens": length, "conditions": found})


def models(folder: Path) -> list[Subject]:
    """Students of both shapes, each in float and in int8."""
    from benchmarks.exports import random_student
    from squeeze.graphs import int8, lean
    from squeeze.models.embedding import EmbeddingShape

    made = []
    for name, (layers, hidden, heads, head_size, ffn) in SHAPES.items():
        student = random_student(VOCABULARY, EmbeddingShape(width=hidden), head_size, layers, heads, ffn)
        fp32, whole = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
        lean.export(student, fp32, lean.OPSET)
        int8.quantize(fp32, whole)
        made += [Subject(fp32, f"{name} fp32", vocabulary=VOCABULARY)]
        made += [Subject(whole, f"{name} int8-dynamic", vocabulary=VOCABULARY)]
    return made


def _condition(
    name: str, subjects: Sequence[Subject], length: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    asked = CONDITIONS[name]
    if asked.cores > usable_cores():
        return {"threads": asked.threads, "skipped": f"this process may use {usable_cores()} core"}
    settings = Settings(threads=asked.threads, sequence=length, min_seconds=seconds, starts=1)
    try:
        with on(asked.cores), quota(asked.quota) if asked.quota else nullcontext():
            progress.log(name)
            return {"threads": asked.threads, **_figures(measure(subjects, settings, progress))}
    except MissingBackend as error:
        return {"threads": asked.threads, "skipped": error.message}


def _figures(measured: Sequence[Measurement]) -> dict[str, Any]:
    *students, unit = measured
    state = unit.machine
    return {
        "reference_p50_ms": unit.p50.plain(),
        "models": {
            each.name: {"p50_ms": each.p50.plain(), "units": ratio(each.blocks(), unit.blocks())}
            for each in students
        },
        "machine": None if state is None else state.plain(),
        "notes": list(dict.fromkeys(note for each in measured for note in each.notes)),
    }


@contextmanager
def on(cores: int) -> Iterator[None]:
    """This process and its children on the last of the cores that it may use."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


@contextmanager
def quota(cores: float) -> Iterator[None]:
    """This process and its children in a control group that may use so many cores.

    Raises:
        MissingBackend: no such group can be made.
    """
    root, limits = (V1, _limits_v1(cores)) if (V1 / "cpu.cfs_quota_us").is_file() else (V2, _limits_v2(cores))
    group, home = root / GROUP, _home(root)
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(value, encoding="ascii")
        _move(group)
    except OSError as error:
        _remove(group)
        raise MissingBackend(f"no control group of our own can be made ({error.strerror})") from error
    try:
        yield
    finally:
        _move(home)
        _remove(group)


def _limits_v1(cores: float) -> dict[str, str]:
    return {"cpu.cfs_period_us": f"{PERIOD_US}", "cpu.cfs_quota_us": f"{round(cores * PERIOD_US)}"}


def _limits_v2(cores: float) -> dict[str, str]:
    return {"cpu.max": f"{round(cores * PERIOD_US)} {PERIOD_US}"}


def _home(root: Path) -> Path:
    """The group that this process is in."""
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if ("cpu" in controllers.split(",")) if root == V1 else not controllers:
            return root / group.lstrip("/")
    return root


def _move(group: Path) -> None:
    (group / "cgroup.procs").write_text(f"{os.getpid()}", encoding="ascii")


def _remove(group: Path) -> None:
    if group.is_dir():
        group.rmdir()


if __name__ == "__main__":
    cli(main)
