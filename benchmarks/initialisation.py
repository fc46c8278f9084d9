"""A student carved out of its teacher against the same one from random weights, at equal epochs.

    python -m benchmarks.initialisation ../shared/data

All else is equal: shape, vocabulary, text, phases, seed. A product-quantized table has codes that
are not trained, so at random they are a handicap of their own; with --embeddings dense there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, DataRoot, Jobs, Limit, Out, Results, StudentSet, TeacherSet, cli, write
from benchmarks.datasets import Recipe
from benchmarks.students import RUNS, teacher_folder
from benchmarks.workers import Job, Pool
from squeeze import pipeline
from squeeze.cli.output import shown
from squeeze.errors import StageFailed

__all__ = ["main", "train"]

SET = "sst2"
STARTS = ("carve", "random")


def main(
    data: DataRoot,
    seeds: Annotated[str, typer.Option(help="Seeds of the students.")] = "0,1,2",
    embeddings: Annotated[str, typer.Option(help="Kinds of [student.embedding].")] = "product,dense",
    jobs: Jobs = 1,
    limit: Limit = None,
    teacher_set: TeacherSet = None,
    student_set: StudentSet = None,
    out: Out = RUNS,
    results: Results = RESULTS,
) -> None:
    """Train every pair; writes initialisation.json."""
    teacher = Recipe("teacher", data, limit, tuple(teacher_set or ()))
    student = Recipe("tiny", data, limit, tuple(student_set or ()))
    kinds, numbers = embeddings.split(","), [int(seed) for seed in seeds.split(",")]
    with shown() as progress, Pool(jobs) as pool:
        made, failures = pool.run("teacher", [Job(SET, teacher_folder, (out, teacher, SET))], progress)
        work = [
            Job(f"{k}-{s}", train, (out, student, k, s, made[SET])) for k in kinds for s in numbers if made
        ]
        pairs, failed = pool.run("pairs", work, progress)
    if failures or failed:
        raise StageFailed("\n".join(f"{name}: {why}" for name, why in {**failures, **failed}.items()))
    found = {kind: [pairs[f"{kind}-{seed}"] for seed in numbers] for kind in kinds}
    write(results, "initialisation", {"set": SET, "limit": limit, "pairs": found})


def train(out: Path, recipe: Recipe, kind: str, seed: int, teacher: str) -> dict[str, Any]:
    """Worker: both students of one embedding and seed."""
    found: dict[str, Any] = {"seed": seed}
    for start in STARTS:
        changes = (f"teacher.model={teacher}", f"student.init={start}", f"student.embedding.kind={kind}")
        profile = recipe.profile(f"{SET}-{start}-{kind}-{seed}", SET, seed, *changes)
        result = pipeline.run(profile, out, until="distil", wait=True).artifacts["encoder"].result
        found[start] = {"quality": result["quality"], "phases": result["phases"]}
    return found


if __name__ == "__main__":
    cli(main)
