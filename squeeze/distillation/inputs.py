"""What a student learns from, ready to use, and the training on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.data import dataset
from squeeze.data.dataset import Dataset, Split
from squeeze.data.teacher_cache import Spent
from squeeze.data.texts import joined
from squeeze.distillation import pool as pools
from squeeze.distillation.cache import Signals
from squeeze.distillation.config import (
    PREDICTIONS,
    AugmentSection,
    CacheReport,
    Phase,
    PhaseReport,
    StudentSection,
)
from squeeze.distillation.phases import PhaseInputs, run_phase
from squeeze.distillation.pool import Pool
from squeeze.distillation.resolve import StudentPlan, existing_student, refuse_phases, resolve_student
from squeeze.distillation.teachers import Teacher, load_teachers
from squeeze.distillation.tokenized import (
    TokenizedPool,
    Vocabulary,
    choose_vocabulary,
    existing_vocabulary,
    tokenize_pool,
)
from squeeze.errors import ProfileError
from squeeze.models import conversion, storage, tokens
from squeeze.models.encoder import Encoder
from squeeze.models.inference import logits
from squeeze.models.shapes import EncoderShape
from squeeze.runtime import give_back
from squeeze.stage import Work
from squeeze.tasks import Task, qualities

__all__ = [
    "DistillationInputs",
    "Logits",
    "TrainingPlan",
    "evaluate",
    "load_inputs",
    "predict",
    "quality_by_split",
    "subsample",
    "train",
    "write_student",
]

Logits = dict[str, NDArray[np.float32]]
"""(N, K) by split."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a student is trained.

    Attributes:
        task: what the outputs stand for.
        seed: of every random choice.
        phases: trainings in a row.
        augment: how training texts are changed.
        rows: training texts to learn from, drawn at random; None: all. The vocabulary counts them all.
    """

    task: Task
    seed: int
    phases: tuple[Phase, ...]
    augment: AugmentSection
    rows: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.task.section.labels

    @property
    def max_length(self) -> int:
        """Tokens at which texts are cut."""
        return self.task.section.max_length


@dataclass(frozen=True)
class DistillationInputs:
    """All that a student's training reads.

    Attributes:
        training: the plan that it was loaded for.
        student: what is made, or trained further.
        data: all splits.
        teachers: members of the `task` teacher and, where a phase asks for it, the `base` teacher.
        pool: the texts.
        text: the texts as the student reads them.
    """

    training: TrainingPlan
    student: StudentPlan
    data: Dataset
    teachers: Mapping[str, Sequence[Teacher]]
    pool: Pool
    text: TokenizedPool

    @property
    def first(self) -> Teacher:
        """The teacher that students come out of."""
        return self.teachers["task"][0]

    @property
    def teacher_shapes(self) -> dict[str, EncoderShape]:
        """Of the first member of each teacher."""
        return {name: members[0].encoder.shape for name, members in self.teachers.items()}


def load_inputs(
    artifacts: Mapping[str, Artifact],
    training: TrainingPlan,
    student: StudentSection | Path,
    scratch: Path | None = None,
) -> DistillationInputs:
    """Load data and teachers, resolve the student against them, and read the text.

    Args:
        artifacts: `dataset` and `teacher`.
        training: how the student learns.
        student: the section of one that is to be made, or the folder of one that is trained further.
        scratch: folder in which the text in numbers lies; None: it lies in memory.

    Raises:
        ProfileError: a key asks for what the teacher or the text does not have.
    """
    data = dataset.load(artifacts["dataset"].path)
    names: list[str] = ["task", *(phase.teacher for phase in training.phases)]
    folder = artifacts["teacher"].path
    teachers = {name: load_teachers(folder, name, training.labels) for name in dict.fromkeys(names)}
    first = teachers["task"][0]
    shape = first.encoder.shape
    if isinstance(student, Path):
        plan = existing_student(student, training.max_length, shape)
    else:
        plan = resolve_student(student, training.max_length, len(training.labels), shape)
    shapes = {name: members[0].encoder.shape for name, members in teachers.items()}
    refuse_phases(training.phases, plan.shape, shapes)
    pool = _pool(training, data, first)
    text = tokenize_pool(pool.texts, _vocabulary(plan, data, first), plan.max_length, scratch)
    return DistillationInputs(training, plan, data, teachers, pool, text)


def subsample(data: Dataset, rows: int, seed: int) -> Dataset:
    """The same data with a random part of the training text, in its order."""
    train = data.splits["train"]
    kept = np.sort(np.random.default_rng(seed).permutation(len(train))[:rows])
    part = Split(tuple(train.texts[row] for row in kept), train.labels[kept])
    return Dataset({**data.splits, "train": part}, ())


def _pool(training: TrainingPlan, data: Dataset, first: Teacher) -> Pool:
    """The text of all phases.

    Raises:
        ProfileError: a phase asks for text that there is none of.
    """
    if training.rows is not None:
        data = subsample(data, training.rows, training.seed)
    table = first.encoder.embedding.table().detach().numpy()
    pool = pools.build(
        data, first.tokenizer_json, table, training.augment, training.max_length, training.seed
    )
    for phase in training.phases:
        if not len(pool.rows(phase.data)):
            raise ProfileError(
                f'phase {phase.name}, data: "{phase.data}", and there is no such text',
                hint="give [data] unlabelled, or copies in the section's augment",
            )
    return pool


def _vocabulary(student: StudentPlan, data: Dataset, first: Teacher) -> Vocabulary:
    texts = joined(data.splits["train"].texts, data.unlabelled)
    if student.vocabulary is not None:
        pieces = first.encoder.shape.vocabulary
        return choose_vocabulary(first.tokenizer_json, texts, student.vocabulary, pieces)
    assert student.path is not None
    own = tokens.read_spec(student.path)
    return existing_vocabulary(own, student.shape.vocabulary, first.tokenizer_json, texts)


def train(
    student: Encoder, inputs: DistillationInputs, work: Work, *, again: bool = False
) -> tuple[CacheReport, list[PhaseReport]]:
    """Train the student in place, all phases in a row.

    What any of them reads of a teacher is computed before the first.

    Args:
        student: what is trained.
        inputs: what it learns from, and the phases.
        work: where cache and checkpoints lie.
        again: another student will learn from these inputs; else its teachers' weights are let go.

    Returns:
        What the teachers computed, and how each phase went.
    """
    held_out, text, training = inputs.data.splits["validation"], inputs.text, inputs.training
    shared = PhaseInputs(
        pool=inputs.pool,
        encoded=text.encoded,
        validation=tokens.encode(text.tokenizer, held_out.texts),
        labels=held_out.labels,
        task=training.task,
        pad=text.pad,
        seed=training.seed,
        work=work,
    )
    signals = {
        name: Signals(
            members, inputs.pool.texts, text.aligned, training.max_length, work, training.task.answers
        )
        for name, members in inputs.teachers.items()
    }
    prepared = [_prepare(student, training.phases, name, signal) for name, signal in signals.items()]
    if not again:
        for signal in signals.values():
            signal.release()
    give_back(collect=False)  # what the teachers and their activations took
    spent = sum(prepared, Spent())
    cache = CacheReport(
        texts=len(inputs.pool.texts), computed=spent.texts, bytes=spent.bytes, seconds=spent.seconds
    )
    return cache, [run_phase(student, phase, signals[phase.teacher], shared) for phase in training.phases]


def _prepare(student: Encoder, phases: Sequence[Phase], which: str, signals: Signals) -> Spent:
    """Have everything computed that the phases read of one teacher."""
    depths = len(student.shape.layers), len(signals.teachers[0].encoder.shape.layers)
    mine = [phase for phase in phases if phase.teacher == which]
    return signals.prepare(
        list(dict.fromkeys(feature for phase in mine for feature in phase.features(*depths)))
    )


def write_student(folder: Path, student: Encoder, text: TokenizedPool, task: Task) -> int:
    """Weights, shape and tokenizer, also for transformers where it fits; returns the bytes of the weights."""
    tokenizer_json = text.vocabulary.tokenizer_json
    student.eval()
    storage.save_student(folder, student)
    tokens.write_spec(folder / "tokenizer.json", tokenizer_json)
    if conversion.fits_bert(student.shape):
        other = folder / "transformers"
        section = task.section
        model = conversion.write_bert(student, section.labels, text.pad, section.problem_type)
        model.save_pretrained(other)
        tokens.write_transformers(other, tokenizer_json, student.shape.positions)
    return (folder / storage.WEIGHTS).stat().st_size


def predict(student: Encoder, tokenizer: Tokenizer, pad: int, data: Dataset) -> Logits:
    """Logits on every held-out split.

    Args:
        student: in evaluation mode.
        tokenizer: cuts at the longest input that it reads.
        pad: number of its padding piece.
        data: all splits.
    """
    return {
        name: logits(student, tokens.encode(tokenizer, split.texts), pad, student.shape.labels)
        for name, split in data.splits.items()
        if name != "train"
    }


def quality_by_split(logits: Logits, data: Dataset, teacher: Artifact, task: Task) -> dict[str, Quality]:
    """Quality of logits by split, beside those of the teacher."""
    return qualities(task, logits, data, load_file(teacher.path / PREDICTIONS))


def evaluate(
    student: Encoder, inputs: DistillationInputs, teacher: Artifact, folder: Path
) -> dict[str, Quality]:
    """Quality on every held-out split; the logits are written for the next stages.

    Args:
        student: in evaluation mode.
        inputs: what it learned from.
        teacher: whose answers stand beside the student's.
        folder: of the student's artefact.
    """
    answers = predict(student, inputs.text.tokenizer, inputs.text.pad, inputs.data)
    save_file(answers, folder / PREDICTIONS)
    return quality_by_split(answers, inputs.data, teacher, inputs.training.task)
