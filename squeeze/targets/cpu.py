"""Measure models on the CPU of this machine, through ONNX Runtime, in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.artifact import digest_file
from squeeze.core.stats import CONFIDENCE
from squeeze.errors import UsageError
from squeeze.progress import Progress
from squeeze.runtime import environment, usable_cores
from squeeze.targets import machine
from squeeze.targets.figures import of_calls, of_starts
from squeeze.targets.measurement import MachineState, Measurement
from squeeze.targets.noise import remarks
from squeeze.targets.process import ask
from squeeze.targets.subjects import Subject, model_bytes, shared_lengths

__all__ = [
    "CPU",
    "GRACE",
    "START_TIMEOUT_S",
    "Settings",
    "Where",
    "all_starts",
    "cores",
    "measure",
    "measurement",
    "names",
    "request_for",
    "surroundings",
]

PROVIDER = "CPUExecutionProvider"
START_TIMEOUT_S = 120.0
GRACE = 2.0  # a block in progress at max_seconds is finished, not cut
NAMED = 4  # models that a line of progress names one by one


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: threads inside one operator, at most the usable cores.
        batch: texts a call.
        sequence: tokens a text; None for the lengths that a bundle knows.
        shapes: whole input shapes by input name, for models whose inputs cannot be guessed.
        min_runs: least number of timed calls a model.
        min_seconds: least time of timed calls a model.
        max_seconds: most time a model, warm-up included.
        within: most time of a comparison in rounds.
        starts: fresh processes for load time, first inference and peak memory.
        even: whether a fast model repeats each block, so that all have about the same time; without it rounds
            are short, which is what many models want whose ratios matter while the machine's pace drifts.
        seed: of inputs, lengths and the order of models in a block.
        confidence: of the intervals.
    """

    threads: int = 1
    batch: int = 1
    sequence: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    min_runs: int = 200
    min_seconds: float = 3.0
    max_seconds: float = 60.0
    within: float = 60.0
    starts: int = 3
    even: bool = True
    seed: int = 0
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Where:
    """What is measured on.

    Attributes:
        target: its name in reports.
        request: what the measuring process must know of it.
        facts: what stands in the environment of each measurement.
    """

    target: str = "cpu"
    request: Mapping[str, Any] = field(default_factory=lambda: {"provider": PROVIDER})
    facts: Mapping[str, Any] = field(default_factory=lambda: {"provider": PROVIDER})


CPU = Where()


def measure(
    subjects: Sequence[Subject], settings: Settings, progress: Progress, where: Where = CPU
) -> tuple[Measurement, ...]:
    """Measure models, all of them in turns on inputs of the same lengths.

    Each is loaded in ``starts`` fresh processes of its own first; then one process holds them all
    and is timed. This process sleeps meanwhile and nothing is drawn.

    Args:
        subjects: at least one.
        settings: how.
        progress: told of each process before it starts.
        where: what to measure on; squeeze/targets/gpu.py gives that of a GPU.

    Raises:
        UsageError: more threads than usable cores, or a file that is no model.
        StageFailed: a model cannot be run.
    """
    around = surroundings(settings, where)
    starts = all_starts(subjects, settings, progress, where)
    bounds = [first[0]["bound"] for first in starts]
    progress.log(
        f"timing {names(subjects)} for up to "
        f"{settings.max_seconds * len(subjects):.0f} s; nothing is drawn meanwhile"
    )
    request = request_for("time", subjects, bounds, settings, subjects, where)
    answer = ask(request, settings.max_seconds * len(subjects) * GRACE + START_TIMEOUT_S)
    around |= {"onnxruntime": starts[0][0]["onnxruntime"]}
    return tuple(
        _timed(
            subject, started, {**answer, **timed, "left": started[0]["left"]}, request, around, settings
        ).model_copy(update={"target": where.target})
        for subject, started, timed in zip(subjects, starts, answer["models"], strict=True)
    )


def surroundings(settings: Settings, where: Where) -> dict[str, Any]:
    """What will be measured on.

    Raises:
        UsageError: more threads than usable cores.
    """
    if settings.threads > usable_cores():
        raise UsageError(f"threads {settings.threads}: this process may use {usable_cores()} cores")
    return {**_environment(settings), **where.facts}


def names(subjects: Sequence[Subject]) -> str:
    """The models in one line, however many there are."""
    each = [subject.name for subject in subjects]
    return ", ".join(each) if len(each) <= NAMED else f"{each[0]} and {len(each) - 1} more"


def all_starts(
    subjects: Sequence[Subject], settings: Settings, progress: Progress, where: Where
) -> list[list[dict[str, Any]]]:
    """Answers of the fresh processes, by model; the models take turns."""
    answers: list[list[dict[str, Any]]] = [[] for _ in subjects]
    with progress.task("load", len(subjects) * settings.starts) as advance:
        for _ in range(settings.starts):
            for subject, found in zip(subjects, answers, strict=True):
                bound = found[0]["bound"] if found else subject.vocabulary
                request = request_for("start", [subject], [bound], settings, subjects, where)
                found.append(ask(request, max(START_TIMEOUT_S, settings.max_seconds * GRACE)))
                advance(1, note=subject.name)
    known = {name for found in answers for name in found[0]["inputs"]}
    for name in settings.shapes.keys() - known:
        raise UsageError(
            f"shape of {name}: no model has such an input", hint=f"one of {', '.join(sorted(known))}"
        )
    return answers


def request_for(
    role: str,
    models: Sequence[Subject],
    bounds: Sequence[int | None],
    settings: Settings,
    everyone: Sequence[Subject],
    where: Where,
) -> dict[str, Any]:
    """The worker's request; lengths are those of all models that are compared."""
    return {
        "role": role,
        "models": [
            {"path": str(model.path.resolve()), "bound": bound, "fixed": model.fixed}
            for model, bound in zip(models, bounds, strict=True)
        ],
        **where.request,
        "threads": settings.threads,
        # The idle threads of one model would take the cores from the one being timed.
        "spinning": settings.threads == 1 or len(everyone) == 1,
        "cores": cores(settings.threads),
        "shapes": {name: list(shape) for name, shape in settings.shapes.items()},
        "batch": settings.batch,
        "sequence": settings.sequence,
        "lengths": shared_lengths([each for each in everyone if not each.fixed], settings.sequence),
        "even": settings.even,
        "seed": settings.seed,
        "min_runs": settings.min_runs,
        "min_seconds": settings.min_seconds,
        "max_seconds": settings.max_seconds,
    }


def cores(threads: int) -> list[int]:
    """The cores to stay on: the last ones, because systems put their own work on the first."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


def _environment(settings: Settings) -> dict[str, Any]:
    """What the figures were measured on, before the measuring itself loads the machine."""
    return {
        **environment(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "governor": _governor(cores(settings.threads)),
        "seed": settings.seed,
    }


def _governor(cores: Sequence[int]) -> str | None:
    """How the clock of the first core is governed; None where that cannot be read."""
    try:
        folder = Path(f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq")
        return (folder / "scaling_governor").read_text(encoding="ascii").strip()
    except (OSError, IndexError):
        return None


def _timed(
    subject: Subject,
    starts: Sequence[Mapping[str, Any]],
    answer: Mapping[str, Any],
    request: Mapping[str, Any],
    around: Mapping[str, Any],
    settings: Settings,
) -> Measurement:
    """Put one model's answers together."""
    figures = {**_timing_figures(answer, settings), **_start_figures(starts)}
    return measurement(subject, starts[0]["inputs"], figures, answer, request, around)


def measurement(
    subject: Subject,
    inputs: Mapping[str, str],
    figures: Mapping[str, Any],
    answer: Mapping[str, Any],
    request: Mapping[str, Any],
    around: Mapping[str, Any],
) -> Measurement:
    """A measurement of one model.

    Args:
        subject: the model.
        inputs: as it declares them.
        figures: fields that come from samples and fresh processes.
        answer: of the process that timed it, for what must be remarked.
        request: that it answered.
        around: what it ran on.
    """
    state = MachineState.parse(answer["machine"])
    notes = [*remarks(answer, figures["cv"], around), *machine.notes(state)]
    if not request["spinning"]:
        notes.append("idle threads sleep instead of spinning, because several models share the process")
    return Measurement(
        name=subject.name,
        file=subject.path.name,
        form=subject.form,
        sha256=digest_file(subject.path),
        size_bytes=model_bytes(subject.path),
        tokenizer_bytes=subject.tokenizer_bytes,
        threads=request["threads"],
        cores=tuple(request["cores"]),
        spinning=request["spinning"],
        inputs=inputs,
        **figures,
        environment=around,
        machine=state,
        notes=tuple(notes),
    )


def _timing_figures(answer: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Samples of the process that held all models, and what follows from them."""
    samples, widths, passes = answer["samples_ms"], answer["widths"], answer["passes"]
    ends = np.cumsum([len(block) * passes for block in widths])[:-1]
    blocks = [block.tolist() for block in np.split(np.asarray(samples), ends)]
    timing = of_calls(
        blocks,
        widths,
        batch=settings.batch,
        confidence=settings.confidence,
        has_length=answer["has_length"],
    )
    return {
        **timing,
        **{name: answer[name] for name in ("warmup_runs", "warm", "passes", "preemptions")},
    }


def _start_figures(starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Load time, first inference and memory of several fresh processes."""
    keys = ("load_ms", "first_ms", "rss_bytes", "rss_baseline_bytes")
    return of_starts(*([start[key] for start in starts] for key in keys))
