"""Do scores without training order students as a short distillation does? Rank correlations and time.

    python -m benchmarks.correlation ../shared/data --jobs 2

Random students of one space, carved out of one fine-tuned teacher, are scored and then distilled alike:
two epochs on 3,000 texts without changed copies. Baselines stand beside the scores: one that does not beat
them is not worth its place. Everything lies below --out and is found again after a cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.common import RESULTS, DataRoot, Jobs, Limit, Out, Results, StudentSet, TeacherSet, cli, write
from benchmarks.datasets import SETS, Recipe, chosen
from benchmarks.quality import score as score_of
from benchmarks.ranks import agreement, correlation
from benchmarks.students import RUNS, teacher_folder
from benchmarks.workers import Job, Pool
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.cli.output import shown
from squeeze.costs.measure import cost_table
from squeeze.costs.request import CostRequest
from squeeze.distillation import initialize
from squeeze.distillation.config import DistilConfig
from squeeze.distillation.inputs import TrainingPlan, load_inputs
from squeeze.distillation.resolve import resolve_student
from squeeze.errors import StageFailed
from squeeze.models import carve
from squeeze.models.encoder import EncoderShape
from squeeze.models.inference import to_tensors
from squeeze.pipeline.planning import pending
from squeeze.profile import Profile
from squeeze.progress import Progress, Silent
from squeeze.scores.subjects import Candidate, Ground
from squeeze.scores.table import SCORES, available, score_all
from squeeze.stages import distil
from squeeze.tasks import task_of

__all__ = ["Design", "main", "students"]

LOSSES = '[{name = "logit_mse"}, {name = "hidden_mse", weight = 30.0, layers = "skip"}]'
LAYERS = (2, 3, 4, 5, 6)
HEADS = (1, 2, 3, 4, 5, 6)
NEURONS = (96, 192, 288, 384, 480, 576, 672, 768)
TABLES = (
    *(("product", number) for number in (16, 32, 64, 96)),
    *(("factorised", number) for number in (32, 64, 96)),
)
NUMBER = {"product": "subvectors", "factorised": "rank"}
BATCH = 64  # texts that are scored on
NEAR = 0.1  # students count as of one size up to this difference in parameters
SEED = 0
LENGTHS = (0.0, 0.5, 1.0)  # quantiles of the texts' lengths at which latency is measured


@dataclass(frozen=True)
class Design:
    """One student.

    Attributes:
        layers: how many of the teacher's.
        heads: of each.
        neurons: of each.
        kind: of the table.
        number: its sub-vectors or its rank.
    """

    layers: int
    heads: int
    neurons: int
    kind: str
    number: int

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"L{self.layers}-A{self.heads}-F{self.neurons}-{self.kind}-{self.number}"

    @property
    def changes(self) -> tuple[str, ...]:
        """`--set` texts that make a profile this student's."""
        return (
            f"student.layers={self.layers}",
            f"student.heads={self.heads}",
            f"student.ffn={self.neurons}",
            f"student.embedding.kind={self.kind}",
            f"student.embedding.{NUMBER[self.kind]}={self.number}",
        )


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        out: folder of all runs.
        which: the set.
        student: recipe of the students.
        teacher: folder of the fine-tuned teacher.
        epochs: of each student.
        rows: training texts of each.
        latency: whether a cost table is measured, for the baseline of predicted latency.
    """

    out: Path
    which: str
    student: Recipe
    teacher: str
    epochs: int
    rows: int
    latency: bool

    def profile(self, design: Design) -> Profile:
        """The profile of one student."""
        phase = (
            f'{{name = "short", epochs = {self.epochs}, batch = 32, learning_rate = 4e-4, losses = {LOSSES}}}'
        )
        sets = (
            f"teacher.model={self.teacher}",
            f"distil.phases=[{phase}]",
            "distil.augment.copies=0",
            f"data.limit={self.rows}",
        )
        name = f"{self.which}-correlation-{design.name}"
        return self.student.profile(name, self.which, SEED, *sets, *design.changes)


def main(
    data: DataRoot,
    which: Annotated[str, typer.Option("--set", help="Which set.")] = "sst2",
    number: Annotated[int, typer.Option("--students", min=3, help="How many.")] = 24,
    epochs: Annotated[int, typer.Option(help="Of each student.")] = 2,
    rows: Annotated[int, typer.Option(help="Training texts of each student.")] = 3_000,
    latency: Annotated[bool, typer.Option(help="Measure a cost table, which wants a quiet machine.")] = True,
    jobs: Jobs = 1,
    limit: Limit = None,
    teacher_set: TeacherSet = None,
    student_set: StudentSet = None,
    out: Out = RUNS,
    results: Results = RESULTS,
) -> None:
    """Score and distil the students; writes correlation-SET.json."""
    (name,) = chosen(which, tuple(SETS), "--set")
    teacher = Recipe("teacher", data, limit, tuple(teacher_set or ()))
    student = Recipe("tiny", data, None, tuple(student_set or ()))
    designs = students(number, SEED)
    with shown() as progress, Pool(jobs) as pool:
        made = _run(pool, "teacher", [Job(name, teacher_folder, (out, teacher, name))], progress)
        plan = Plan(out, name, student, made[name], epochs, min(rows, limit or rows), latency)
        jobs_of_students = [Job(each.name, train, (plan, each)) for each in designs]
        trained = _run(pool, "students", jobs_of_students, progress)
        scored = _run(pool, "scores", [Job("all", score, (plan, designs))], progress)["all"]
    rows_of_result = [
        {"name": each.name, **trained[each.name], "scores": scored["scores"][each.name]} for each in designs
    ]
    write(results, f"correlation-{name}", _record(plan, limit, rows_of_result, scored["seconds"]))


def _run(pool: Pool, what: str, jobs: Sequence[Job], progress: Progress) -> dict[str, Any]:
    found, failures = pool.run(what, jobs, progress)
    if failures:
        raise StageFailed("\n".join(f"{name}: {why}" for name, why in failures.items()))
    return found


def students(number: int, seed: int) -> list[Design]:
    """So many different students of the space, at random."""
    rng = np.random.default_rng(seed)
    found: dict[str, Design] = {}
    while len(found) < number:
        layers, heads, neurons = (int(rng.choice(values)) for values in (LAYERS, HEADS, NEURONS))
        kind, size = TABLES[rng.integers(len(TABLES))]
        design = Design(layers, heads, neurons, kind, size)
        found[design.name] = design
    return list(found.values())


def train(plan: Plan, design: Design) -> dict[str, Any]:
    """Worker: one student, distilled for a short time."""
    made = pipeline.run(plan.profile(design), plan.out, until="distil", wait=True).artifacts["encoder"].result
    quality = {name: score_of(found) for name, found in made["quality"].items()}
    return {"parameters": made["parameters"], "quality": quality, "seconds": made["seconds"]}


def score(plan: Plan, designs: Sequence[Design]) -> dict[str, Any]:
    """Worker: all scores of all students, and the seconds that they took for all of them.

    `scoring` is what a search pays, all scores that are not costly at once; then each is timed alone. What
    several students share, such as the variance that a form of the table holds, is computed for the first.
    """
    settings = [_settings(plan, design)[0] for design in designs]
    ground, candidate = _ground(plan, designs[0])
    if plan.latency:
        ground.latency = _latency(plan, [candidate(each).shape for each in settings], ground.mask)
    seconds: dict[str, float] = dict.fromkeys(("scoring", *SCORES), 0.0)
    found: dict[str, dict[str, float]] = {}
    for design, config in zip(designs, settings, strict=True):
        started = time.perf_counter()
        student = candidate(config)
        found[design.name] = score_all(student, ground)
        seconds["scoring"] += time.perf_counter() - started
        for name in available(student, ground):
            started = time.perf_counter()
            found[design.name] |= score_all(student, ground, [name])
            seconds[name] += time.perf_counter() - started
    return {"scores": found, "seconds": {name: value for name, value in seconds.items() if value}}


def _ground(plan: Plan, first: Design) -> tuple[Ground, Callable[[DistilConfig], Candidate]]:
    """What students are held against, and what makes one of its settings."""
    config, artifacts = _settings(plan, first)
    task, distil = config.task, config.distil
    training = TrainingPlan(task_of(task), config.seed, distil.phases, distil.augment)
    inputs = load_inputs(artifacts, training, config.student)
    text, pool, teacher = inputs.text, inputs.pool, inputs.first.encoder
    rows = np.random.default_rng(SEED).permutation(len(pool.texts))[:BATCH]
    ids, mask = to_tensors(text.encoded, rows, text.pad)
    theirs, their_mask = to_tensors(text.aligned, rows, 0)
    labels = torch.from_numpy(pool.labels[rows])
    batches = initialize.labelled_batches(pool, text.aligned, 0, distil.importance_batches, config.seed)
    importance = initialize.importance(teacher, batches)
    carver = carve.Carver(teacher)

    def candidate(config: DistilConfig) -> Candidate:
        student = resolve_student(config.student, task.max_length, len(task.labels), teacher.shape)
        cut = initialize.cut_of(student, importance, text.vocabulary, config.seed)
        shape = student.with_pieces(len(text.vocabulary.kept))
        return Candidate(shape, partial(carver, cut), cut, ids, mask)

    return Ground(teacher, theirs, their_mask, labels, importance, SEED), candidate


def _latency(plan: Plan, shapes: Sequence[EncoderShape], mask: Tensor) -> Callable[[EncoderShape], float]:
    """Predicted milliseconds of a shape in int8, mean over the texts that are scored on."""
    lengths = [int(length) for length in mask.sum(1)]
    points = {int(point) for point in np.quantile(lengths, LENGTHS)}
    table = cost_table(CostRequest.spanning(shapes, points), plan.out / ".cache", 1, Silent())
    return lambda shape: float(table.latencies_ms(shape, "int8-dynamic", lengths).mean())


def _settings(plan: Plan, design: Design) -> tuple[DistilConfig, dict[str, Artifact]]:
    """What the distil stage of a student would get."""
    profile = plan.profile(design)
    made = pipeline.run(profile, plan.out, until="teacher", wait=True).artifacts
    inputs = {kind: made[kind] for kind in ("dataset", "teacher")}
    config = pending(distil.STAGE, profile, inputs).config
    assert isinstance(config, DistilConfig)
    return config, inputs


def _record(
    plan: Plan, limit: int | None, made: Sequence[dict[str, Any]], seconds: dict[str, float]
) -> dict[str, Any]:
    quality = [row["quality"]["test"] for row in made]
    sizes = [row["parameters"] for row in made]
    found = {}
    for name in made[0]["scores"]:
        values = [row["scores"][name] for row in made]
        found[name] = {
            "kind": SCORES[name].kind,
            "costly": SCORES[name].costly,
            **correlation(values, quality),
            "of_one_size": agreement(values, quality, sizes, NEAR),
            "seconds": seconds[name],
        }
    distilling = sum(row["seconds"] for row in made)
    return {
        "set": plan.which,
        "limit": limit,
        "epochs": plan.epochs,
        "rows": plan.rows,
        "near": NEAR,
        "students": made,
        "scores": found,
        "seconds": {"distilling": distilling, "scoring": seconds["scoring"]},
        "speedup": distilling / seconds["scoring"],
    }


if __name__ == "__main__":
    cli(main)
