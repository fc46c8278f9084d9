"""What a student learns from, ready to use: teachers, text in both numberings, held-out text."""

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
from squeeze.distillation.config import (
    PREDICTIONS,
    CacheReport,
    DistilConfig,
    Phase,
    PhaseReport,
    VocabularyReport,
)
from squeeze.distillation.phases import Ground, run_phase
from squeeze.distillation.pool import Pool
from squeeze.distillation.shape import reach, refuse_misfits, refuse_phases
from squeeze.distillation.start import Vocabulary, choose_vocabulary, vocabulary_of
from squeeze.distillation.teachers import Signals, Teacher, load_teachers
from squeeze.distillation.terms import needed
from squeeze.errors import ProfileError
from squeeze.models import conversion, storage, tokens, vocabulary
from squeeze.models.encoder import Encoder
from squeeze.models.inference import logits
from squeeze.models.tokens import Encodings
from squeeze.runtime import give_back
from squeeze.stage import Work
from squeeze.tasks import Task, qualities, task_of

__all__ = [
    "Answers",
    "Material",
    "Reading",
    "examine",
    "fewer",
    "gather",
    "judge",
    "learn",
    "predict",
    "vocabulary_report",
    "write_student",
]

Answers = dict[str, NDArray[np.float32]]
"""Logits (N, K) by split."""


@dataclass(frozen=True)
class Reading:
    """The text as the student reads it.

    Attributes:
        words: its vocabulary.
        tokenizer: cuts at the longest input that student and teacher both read.
        encoded: the pool in the student's numbers.
        aligned: the same pieces in the first teacher's numbers.
    """

    words: Vocabulary
    tokenizer: Tokenizer
    encoded: Encodings
    aligned: Encodings

    @property
    def pad(self) -> int:
        """Number of the student's padding piece."""
        return tokens.pad_id(self.words.spec)


@dataclass(frozen=True)
class Material:
    """All that a student's training stands on.

    Attributes:
        config: the settings it was gathered for.
        data: all splits.
        teachers: members of the `task` teacher and, where a phase asks for it, the `base` teacher.
        pool: the text.
        reading: the text as the student reads it.
    """

    config: DistilConfig
    data: Dataset
    teachers: Mapping[str, Sequence[Teacher]]
    pool: Pool
    reading: Reading

    @property
    def task(self) -> Task:
        """What the outputs stand for."""
        return task_of(self.config.task)

    @property
    def first(self) -> Teacher:
        """The teacher that students come out of."""
        return self.teachers["task"][0]


def gather(
    config: DistilConfig,
    inputs: Mapping[str, Artifact],
    student: Path | None = None,
    rows: int | None = None,
    scratch: Path | None = None,
) -> Material:
    """Load data and teachers, and read the text.

    Args:
        config: the settings; the first thing that is done is to hold them against the teachers.
        inputs: `dataset` and `teacher`.
        student: folder of a student that is to be trained further, which reads text as it did before;
            None: one is made as `[student]` says.
        rows: training texts to learn from, drawn at random; None: all. The vocabulary counts them all.
        scratch: folder in which the text in numbers lies; None: it lies in memory.

    Raises:
        ProfileError: a key asks for what the teacher or the text does not have.
    """
    data = dataset.load(inputs["dataset"].path)
    wanted = ["task", *{phase.teacher for phase in config.distil.phases if phase.teacher != "task"}]
    teachers = {which: load_teachers(inputs["teacher"].path, which, config.task.labels) for which in wanted}
    shapes = {which: found[0].encoder.shape for which, found in teachers.items()}
    if student is None:
        refuse_misfits(config, shapes)
    else:
        refuse_phases(config.distil.phases, storage.load_shape(student), shapes)
    first = teachers["task"][0]
    pool = _pool(config, data if rows is None else fewer(data, rows, config.seed), first)
    return Material(config, data, teachers, pool, _reading(config, data, pool, first, student, scratch))


def fewer(data: Dataset, rows: int, seed: int) -> Dataset:
    """The same data with a random part of the training text, in its order."""
    train = data.splits["train"]
    kept = np.sort(np.random.default_rng(seed).permutation(len(train))[:rows])
    part = Split(tuple(train.texts[row] for row in kept), train.labels[kept])
    return Dataset({**data.splits, "train": part}, ())


def _pool(config: DistilConfig, data: Dataset, first: Teacher) -> Pool:
    """The text of all phases.

    Raises:
        ProfileError: a phase asks for text that there is none of.
    """
    table = first.encoder.embedding.table().detach().numpy()
    pool = pools.build(data, first.spec, table, config.distil.augment, config.task.max_length, config.seed)
    for phase in config.distil.phases:
        if not len(pool.rows(phase.data)):
            raise ProfileError(
                f'phase {phase.name}, data: "{phase.data}", and there is no such text',
                hint="give [data] unlabelled, or copies in the section's augment",
            )
    return pool


def _reading(
    config: DistilConfig,
    data: Dataset,
    pool: Pool,
    first: Teacher,
    student: Path | None,
    scratch: Path | None,
) -> Reading:
    texts, whole = joined(data.splits["train"].texts, data.unlabelled), first.encoder.shape
    if student is None:
        words = choose_vocabulary(first.spec, texts, config.student.vocabulary, whole.vocabulary)
        longest = reach(config, whole)
    else:
        shape = storage.load_shape(student)
        words = vocabulary_of(tokens.read_spec(student), shape.vocabulary, first.spec, texts)
        longest = min(config.task.max_length, shape.positions, whole.positions)
    tokenizer = tokens.make_tokenizer(words.spec, longest)
    encoded = tokens.encode(tokenizer, pool.texts, scratch)
    return Reading(words, tokenizer, encoded, encoded.renumber(words.kept))


def learn(
    student: Encoder, phases: Sequence[Phase], material: Material, work: Work, *, again: bool = False
) -> tuple[CacheReport, list[PhaseReport]]:
    """Train the student in place, all phases in a row.

    What any of them reads of a teacher is computed before the first.

    Args:
        student: what is trained.
        phases: how.
        material: what it learns from.
        work: where cache and checkpoints lie.
        again: another student will learn from this material; else its teachers' weights are let go.

    Returns:
        What the teachers computed, and how each phase went.
    """
    held_out = material.data.splits["validation"]
    reading, config = material.reading, material.config
    ground = Ground(
        pool=material.pool,
        encoded=reading.encoded,
        validation=tokens.encode(reading.tokenizer, held_out.texts),
        targets=held_out.labels,
        task=material.task,
        pad=reading.pad,
        seed=config.seed,
        work=work,
    )
    signals = {
        which: Signals(
            found, material.pool.texts, reading.aligned, config.task.max_length, work, material.task.answers
        )
        for which, found in material.teachers.items()
    }
    spent = [_prepare(student, phases, which, signal) for which, signal in signals.items()]
    if not again:
        for signal in signals.values():
            signal.release()
    give_back(collect=False)  # what the teachers and their activations took
    cache = CacheReport(
        texts=len(material.pool.texts),
        computed=sum(each.texts for each in spent),
        bytes=sum(each.bytes for each in spent),
        seconds=sum(each.seconds for each in spent),
    )
    return cache, [run_phase(student, phase, signals[phase.teacher], ground) for phase in phases]


def _prepare(student: Encoder, phases: Sequence[Phase], which: str, signals: Signals) -> Spent:
    """Have everything computed that the phases read of one teacher."""
    depths = len(student.shape.layers), len(signals.teachers[0].encoder.shape.layers)
    mine = [phase for phase in phases if phase.teacher == which]
    return signals.prepare(
        list(dict.fromkeys(feature for phase in mine for feature in needed(phase, *depths)))
    )


def write_student(folder: Path, student: Encoder, reading: Reading, labels: tuple[str, ...]) -> int:
    """Weights, shape and tokenizer, also for transformers where it fits; returns the bytes of the weights."""
    student.eval()
    storage.save_student(folder, student)
    tokens.write_spec(folder / "tokenizer.json", reading.words.spec)
    if conversion.fits_bert(student.shape):
        other = folder / "transformers"
        conversion.write_bert(student, labels, reading.pad).save_pretrained(other)
        tokens.write_transformers(other, reading.words.spec, student.shape.positions)
    return (folder / storage.WEIGHTS).stat().st_size


def predict(student: Encoder, tokenizer: Tokenizer, pad: int, data: Dataset) -> Answers:
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


def judge(said: Answers, data: Dataset, teacher: Artifact, task: Task) -> dict[str, Quality]:
    """Quality of logits by split, beside those of the teacher."""
    theirs = load_file(teacher.path / PREDICTIONS)
    return qualities(task, said, data, theirs)


def examine(student: Encoder, material: Material, teacher: Artifact, folder: Path) -> dict[str, Quality]:
    """Quality on every held-out split; the logits are written for the next stages.

    Args:
        student: in evaluation mode.
        material: what it learned from.
        teacher: whose answers stand beside the student's.
        folder: of the student's artefact.
    """
    said = predict(student, material.reading.tokenizer, material.reading.pad, material.data)
    save_file(said, folder / PREDICTIONS)
    return judge(said, material.data, teacher, material.task)


def vocabulary_report(teacher: Teacher, words: Vocabulary, data: Dataset) -> VocabularyReport:
    """What the student's vocabulary does to the text."""
    full = tokens.make_tokenizer(teacher.spec, max_length=1 << 20)
    cut = vocabulary.Trim(words.spec, tuple(words.kept.tolist()))
    train = vocabulary.coverage(full, cut, data.splits["train"].texts)
    test = vocabulary.coverage(full, cut, data.splits["test"].texts)
    return VocabularyReport(
        pieces=full.get_vocab_size(),
        kept=len(words.kept),
        train_resegmented=train.resegmented,
        test_resegmented=test.resegmented,
        test_texts_touched=test.touched,
        unknown_before=test.unknown_before,
        unknown_after=test.unknown_after,
    )
