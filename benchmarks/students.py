"""Students of four sets and two shapes against their teachers: macro-F1, size, and TF-IDF beside them.

    python -m benchmarks.students ../shared/data --jobs 2

One fine-tuned teacher a set, one student for each set, shape and seed. Everything lies below --out
and is found again: a run that was cut goes on where it was, and a second one only writes the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, DataRoot, Jobs, Limit, Out, Results, StudentSet, TeacherSet, cli, write
from benchmarks.datasets import EXTRA_TEXT, SETS, Recipe, chosen, copies, unlabelled_files
from benchmarks.tfidf import baseline
from benchmarks.workers import Job, Pool
from squeeze import pipeline
from squeeze.cli.output import shown
from squeeze.data import dataset
from squeeze.errors import StageFailed
from squeeze.progress import Progress

__all__ = [
    "EVERY_SHAPE",
    "RUNS",
    "SHAPES",
    "TEACHER_SEED",
    "Plan",
    "main",
    "student_name",
    "teacher_folder",
    "teacher_run",
]

RUNS = Path("runs/students")
SHAPES = ("tiny", "small")
EVERY_SHAPE = (*SHAPES, "medium")
"""With one that only the fronts have."""
TEACHER_SEED = 13


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        out: folder of all runs.
        teacher: recipe of the teachers.
        shapes: recipe of the students by shape, from shallow to deep.
        seeds: of the students.
        unlabelled: sets whose text is added without labels.
    """

    out: Path
    teacher: Recipe
    shapes: dict[str, Recipe]
    seeds: tuple[int, ...]
    unlabelled: tuple[str, ...]


def main(
    data: DataRoot,
    sets: Annotated[str, typer.Option(help="Which sets.")] = ",".join(SETS),
    shapes: Annotated[str, typer.Option(help="Templates of benchmarks/profiles.")] = ",".join(SHAPES),
    seeds: Annotated[str, typer.Option(help="Seeds of the students.")] = "0,1,2",
    unlabelled: Annotated[
        str, typer.Option(help="Sets whose text is added without labels; `others`: all other ones.")
    ] = "",
    jobs: Jobs = 1,
    limit: Limit = None,
    teacher_set: TeacherSet = None,
    student_set: StudentSet = None,
    out: Out = RUNS,
    results: Results = RESULTS,
) -> None:
    """Train and measure all students; writes students-SET.json."""
    names = chosen(sets, tuple(SETS), "--sets")
    plan = Plan(
        out=out,
        teacher=Recipe("teacher", data, limit, tuple(teacher_set or ())),
        shapes={
            shape: Recipe(shape, data, limit, tuple(student_set or ()))
            for shape in chosen(shapes, EVERY_SHAPE, "--shapes")
        },
        seeds=tuple(int(seed) for seed in seeds.split(",")),
        unlabelled=chosen(unlabelled, (*SETS, *EXTRA_TEXT, "others"), "--unlabelled"),
    )
    with shown() as progress, Pool(jobs) as pool:
        failures = _walk(pool, plan, names, results, progress)
    if failures:
        lines = "\n".join(f"{name}: {message}" for name, message in failures.items())
        raise StageFailed(f"{len(failures)} jobs failed\n{lines}")


def student_name(which: str, shape: str, seed: int) -> str:
    """Name of a student's run."""
    return f"{which}-{shape}-{seed}"


def teacher_run(plan_out: Path, recipe: Recipe, which: str) -> pipeline.RunResult:
    """The fine-tuned teacher of a set, made if it is not there."""
    profile = recipe.profile(f"{which}-teacher", which, TEACHER_SEED)
    return pipeline.run(profile, plan_out, until="teacher", wait=True)


def teacher_folder(out: Path, recipe: Recipe, which: str) -> str:
    """Worker: where the weights of that teacher lie, for `teacher.model` of another profile."""
    return str((teacher_run(out, recipe, which).artifacts["teacher"].path / "members" / "0").resolve())


def _walk(pool: Pool, plan: Plan, names: Sequence[str], results: Path, progress: Progress) -> dict[str, str]:
    """Teachers first, then students; the results of a set are written when all of it is there."""
    jobs = [Job(name, make_teacher, (plan, name)) for name in names]
    teachers, failures = pool.run("teacher", jobs, progress)
    # All shapes of a seed in one job: they learn from the same texts and share the teacher's answers.
    jobs = [
        Job(f"{name}-{seed}", make_students, (plan, name, seed, teachers[name]["folder"]))
        for name in names
        for seed in plan.seeds
        if name in teachers
    ]
    students, failed = pool.run("students", jobs, progress)
    for name in teachers:
        mine = [students[f"{name}-{seed}"] for seed in plan.seeds if f"{name}-{seed}" in students]
        write(results, f"students-{name}", _record(plan, name, teachers[name], mine))
    return {**failures, **failed}


def _record(
    plan: Plan, which: str, teacher: dict[str, Any], students: list[dict[str, Any]]
) -> dict[str, Any]:
    known = {name: value for name, value in teacher.items() if name != "folder"}
    return {
        "set": which,
        "limit": plan.teacher.limit,
        "unlabelled": [name for name in plan.unlabelled if name != which],
        **known,
        "recipes": {shape: _recipe(recipe, which) for shape, recipe in plan.shapes.items()},
        "students": {shape: [each[shape] for each in students] for shape in plan.shapes},
    }


def _recipe(recipe: Recipe, which: str) -> dict[str, Any]:
    """What the students of a shape have in common; paths are left out."""
    profile = recipe.profile("recipe", which, 0, copies(which))
    distil = profile.distil.plain() if profile.distil else None
    return {"student": profile.student.plain(), "distil": distil, "max_length": profile.task.max_length}


def make_teacher(plan: Plan, which: str) -> dict[str, Any]:
    """Worker: the teacher of a set and the TF-IDF row."""
    made = teacher_run(plan.out, plan.teacher, which).artifacts
    data = dataset.load(made["dataset"].path)
    return {
        "folder": str((made["teacher"].path / "members" / "0").resolve()),
        "rows": {name: len(split) for name, split in data.splits.items()},
        "teacher": made["teacher"].result,
        "tfidf": baseline(data),
    }


def make_students(plan: Plan, which: str, seed: int, teacher: str) -> dict[str, Any]:
    """Worker: the students of one seed by shape."""
    # The deepest first: what it needs of the teacher's layers holds what the others need.
    made = {shape: _student(plan, which, shape, seed, teacher) for shape in reversed(plan.shapes)}
    return {shape: made[shape] for shape in plan.shapes}


def _student(plan: Plan, which: str, shape: str, seed: int, teacher: str) -> dict[str, Any]:
    recipe = plan.shapes[shape]
    extra = [copies(which)]
    extra += [unlabelled_files(recipe.root, which, plan.unlabelled)] if plan.unlabelled else []
    profile = recipe.profile(
        student_name(which, shape, seed), which, seed, f"teacher.model={teacher}", *extra
    )
    made = pipeline.run(profile, plan.out, until="export", wait=True).artifacts
    bundle = {name: value for name, value in made["bundle"].result.items() if name != "lengths"}
    return {
        "seed": seed,
        "digest": made["bundle"].digest,
        "distil": made["encoder"].result,
        "export": bundle,
    }


if __name__ == "__main__":
    cli(main)
