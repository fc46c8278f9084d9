"""The teacher's cached answers against the teacher in the loop: speed of one distillation.

    python -m benchmarks.cache ../shared/data

Both sides are squeeze's own distil stage on the same batches. The one with the cache starts from an
empty one and pays for filling it. In the other, what gives the teacher's answers is replaced by one
that asks the teacher about every batch. The teacher's forward passes are counted on the teacher.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer

from benchmarks.common import RESULTS, DataRoot, Out, Results, cli, ratio, write
from benchmarks.datasets import Recipe
from benchmarks.students import RUNS, teacher_run
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.pipeline.planning import pending
from squeeze.profile import Profile
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.stages import distil

__all__ = ["main"]

SET = "sst2"
SIGNALS = "squeeze.distillation.inputs.Signals"
LOSSES = '[{name = "logit_mse"}, {name = "hidden_mse"}]'
BATCH, RATE = 32, 4e-4


def main(
    data: DataRoot,
    repeats: Annotated[int, typer.Option(help="Runs of each side; six and more give an interval.")] = 6,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 3,
    limit: Annotated[int, typer.Option(help="Training texts.")] = 2000,
    teacher_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change the teacher's profile; repeatable.")
    ] = None,
    student_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change the student's profile; repeatable.")
    ] = None,
    out: Out = RUNS,
    results: Results = RESULTS,
) -> None:
    """Time both sides in turns and count the teacher's work; writes cache.json."""
    made = teacher_run(out, Recipe("teacher", data, extra=tuple(teacher_set or ())), SET).artifacts["teacher"]
    profile = _profile(data, made, epochs, limit, tuple(student_set or ()))
    inputs = dict(pipeline.run(profile, out, until="teacher", wait=True).artifacts)
    pairs: list[dict[str, Any]] = []
    with shown() as progress, progress.task("pairs", repeats) as advance:
        for number in range(repeats):
            # The order changes from pair to pair, so that what drifts favours neither side.
            sides = ("cached", "in_loop") if number % 2 == 0 else ("in_loop", "cached")
            pairs.append({side: _run(profile, inputs, in_loop=side == "in_loop") for side in sides})
            advance(1)
    again = _second_run(profile, inputs)
    _check_counts(pairs, again)
    speeds = {side: [[pair[side]["per_second"]] for pair in pairs] for side in ("cached", "in_loop")}
    record = {
        "set": SET,
        "epochs": epochs,
        "training_texts": limit,
        "speedup": ratio(speeds["cached"], speeds["in_loop"]),
        "pairs": pairs,
        "second_run": again,
    }
    write(results, "cache", record)


def _profile(data: Path, teacher: Artifact, epochs: int, limit: int, extra: tuple[str, ...]) -> Profile:
    """The tiny student in one phase on the bare training texts.

    It keeps the whole vocabulary: then one pass of the teacher answers for a batch in the loop too, where a
    student that segments its text otherwise would need two.
    """
    model = (teacher.path / "members" / "0").resolve()
    phase = f'{{name = "kd", epochs = {epochs}, batch = {BATCH}, learning_rate = {RATE}, losses = {LOSSES}}}'
    sets = (
        f"teacher.model={model}",
        f"distil.phases=[{phase}]",
        "distil.augment.copies=0",
        "student.vocabulary.trim=false",
        *extra,
    )
    return Recipe("tiny", data, limit).profile(f"{SET}-cache", SET, 0, *sets)


def _run(profile: Profile, inputs: dict[str, Artifact], *, in_loop: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return _distil(profile, inputs, Path(folder), "first", in_loop=in_loop)


def _second_run(profile: Profile, inputs: dict[str, Artifact]) -> dict[str, Any]:
    """The same distillation twice with one cache; the figures of the second."""
    with tempfile.TemporaryDirectory() as folder:
        _distil(profile, inputs, Path(folder), "first", in_loop=False)
        return _distil(profile, inputs, Path(folder), "second", in_loop=False)


def _distil(
    profile: Profile, inputs: dict[str, Artifact], folder: Path, name: str, *, in_loop: bool
) -> dict[str, Any]:
    """Run the stage; speed is texts seen over time in training and in filling the cache."""
    work = Work(folder / name / "out", folder / name / "scratch", folder / "cache", threads=usable_cores())
    for part in (work.out, work.scratch, work.cache):
        part.mkdir(parents=True, exist_ok=True)
    ready = pending(distil.STAGE, profile, {kind: inputs[kind] for kind in ("dataset", "teacher")})
    with _watched(in_loop=in_loop) as passes:
        result = distil.STAGE.run(ready.config, ready.inputs, work).plain()
    (phase,) = result["phases"]
    seconds = phase["seconds"] + result["cache"]["seconds"]
    return {
        "samples": phase["samples"],
        "training_s": phase["seconds"],
        "filling_s": result["cache"]["seconds"],
        "per_second": phase["samples"] / seconds,
        "passes_filling": passes["filling"],
        "passes_training": passes["training"],
        "score": phase["best_score"],
    }


@contextmanager
def _watched(*, in_loop: bool) -> Iterator[dict[str, int]]:
    """Count the teacher's forward passes; with `in_loop` it is asked about every batch."""
    from benchmarks.in_loop import Counting, InLoop

    passes = {"filling": 0, "training": 0}
    kind = InLoop if in_loop else Counting

    def signals(*arguments: Any, **named: Any) -> Counting:
        made = kind(*arguments, **named)
        made.count_into(passes)
        return made

    with patch(SIGNALS, signals):
        yield passes


def _check_counts(pairs: Sequence[dict[str, Any]], again: dict[str, Any]) -> None:
    """Refuse figures that were not measured on what they claim.

    Raises:
        StageFailed: the teacher worked where it must not, or did not work where it must.
    """
    if any(pair["cached"]["passes_training"] for pair in pairs) or again["passes_training"]:
        raise StageFailed("the teacher ran during an epoch, although its answers are cached")
    if again["passes_filling"]:
        raise StageFailed(f"a second run asked the teacher again, {again['passes_filling']} times")
    if not all(pair["cached"]["passes_filling"] and pair["in_loop"]["passes_training"] for pair in pairs):
        raise StageFailed("the teacher's forward passes were not counted")


if __name__ == "__main__":
    cli(main)
