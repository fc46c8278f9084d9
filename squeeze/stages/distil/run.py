"""Build the pool, carve the student, walk the phases, and measure what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality, quality
from squeeze.data import dataset
from squeeze.data.dataset import Dataset
from squeeze.data.teacher_cache import Spent
from squeeze.errors import ProfileError
from squeeze.models import families, storage, tokens, vocabulary
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.inference import logits
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.stages.distil import pool as pools
from squeeze.stages.distil.objective import needed
from squeeze.stages.distil.phases import Ground, run_phase
from squeeze.stages.distil.pool import Pool
from squeeze.stages.distil.shape import reach, refuse_misfits
from squeeze.stages.distil.stage import CacheReport, DistilConfig, DistilResult, PhaseReport, VocabularyReport
from squeeze.stages.distil.start import Vocabulary, choose_vocabulary, start, variance_kept
from squeeze.stages.distil.teachers import Signals, Teacher, load_teachers

__all__ = ["run"]

Teachers = Mapping[str, list[Teacher]]
"""Members of the `task` teacher and, where a phase asks for it, the `base` teacher."""


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


def run(config: DistilConfig, inputs: Mapping[str, Artifact], work: Work) -> DistilResult:
    """Make the student: weights, shape, tokenizer, predictions."""
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    data = dataset.load(inputs["dataset"].path)
    teachers = _teachers(config, inputs["teacher"])
    first = teachers["task"][0]
    refuse_misfits(config, {which: found[0].encoder.shape for which, found in teachers.items()})
    pool = _pool(config, data, first)
    reading = _reading(config, data, pool, first)
    student = start(config, first.encoder, pool, reading.aligned, reading.words, work.scratch)
    kept = variance_kept(first.encoder, student, reading.words)
    spent, reports = _learn(config, student, teachers, data, pool, reading, work)
    size = _write(work, student, reading, config.task.labels)
    return DistilResult(
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        embedding_variance_kept=kept,
        vocabulary=_vocabulary_report(first, reading.words, data),
        pool=pool.report,
        cache=CacheReport(
            texts=len(pool.texts), computed=spent.texts, bytes=spent.bytes, seconds=spent.seconds
        ),
        phases=tuple(reports),
        quality=_measure(student, reading, data, inputs["teacher"], work),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


def _teachers(config: DistilConfig, artifact: Artifact) -> Teachers:
    """The teachers that the phases name, and always the first of the task: students come out of it."""
    wanted = ["task", *{phase.teacher for phase in config.distil.phases if phase.teacher != "task"}]
    return {which: load_teachers(artifact.path, which, config.task.labels) for which in wanted}


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
                f'[[distil.phases]] {phase.name}, data: "{phase.data}", and there is no such text',
                hint="give [data] unlabelled, or [distil.augment] copies",
            )
    return pool


def _reading(config: DistilConfig, data: Dataset, pool: Pool, first: Teacher) -> Reading:
    words = choose_vocabulary(
        first.spec,
        (*data.splits["train"].texts, *data.unlabelled),
        config.student.vocabulary,
        first.encoder.shape.vocabulary,
    )
    tokenizer = tokens.make_tokenizer(words.spec, reach(config, first.encoder.shape))
    encoded = tokens.encode(tokenizer, pool.texts)
    return Reading(words, tokenizer, encoded, encoded.renumber(words.kept))


def _learn(
    config: DistilConfig,
    student: Encoder,
    teachers: Teachers,
    data: Dataset,
    pool: Pool,
    reading: Reading,
    work: Work,
) -> tuple[Spent, list[PhaseReport]]:
    """All phases in a row; what any of them reads of a teacher is computed before the first."""
    held_out = data.splits["validation"]
    ground = Ground(
        pool=pool,
        encoded=reading.encoded,
        validation=tokens.encode(reading.tokenizer, held_out.texts),
        targets=held_out.labels,
        pad=reading.pad,
        seed=config.seed,
        work=work,
    )
    signals = {
        which: Signals(found, pool.texts, reading.aligned, config.task.max_length, work)
        for which, found in teachers.items()
    }
    spent = [_prepare(config, student, which, signal) for which, signal in signals.items()]
    total = Spent(sum(s.texts for s in spent), sum(s.bytes for s in spent), sum(s.seconds for s in spent))
    phases = config.distil.phases
    return total, [run_phase(student, phase, signals[phase.teacher], ground) for phase in phases]


def _prepare(config: DistilConfig, student: Encoder, which: str, signals: Signals) -> Spent:
    """Have everything computed that the phases read of one teacher."""
    depths = len(student.shape.layers), len(signals.teachers[0].encoder.shape.layers)
    mine = [phase for phase in config.distil.phases if phase.teacher == which]
    return signals.prepare(
        list(dict.fromkeys(feature for phase in mine for feature in needed(phase, *depths)))
    )


def _write(work: Work, student: Encoder, reading: Reading, labels: tuple[str, ...]) -> int:
    """All files but the predictions; returns the bytes of the weights."""
    student.eval()
    storage.save_student(work.out, student)
    tokens.write_spec(work.out / "tokenizer.json", reading.words.spec)
    if families.fits_bert(student.shape):
        folder = work.out / "transformers"
        families.write_bert(student, labels, reading.pad).save_pretrained(folder)
        tokens.write_transformers(folder, reading.words.spec, student.shape.positions)
    return (work.out / storage.WEIGHTS).stat().st_size


def _measure(
    student: Encoder, reading: Reading, data: Dataset, teacher: Artifact, work: Work
) -> dict[str, Quality]:
    """Quality on every held-out split; the logits are kept for the next stages."""
    said: dict[str, NDArray[np.float32]] = load_file(teacher.path / "predictions.safetensors")
    found: dict[str, NDArray[np.float32]] = {}
    for name, split in data.splits.items():
        if name != "train":
            rows = tokens.encode(reading.tokenizer, split.texts)
            found[name] = logits(student, rows, reading.pad, student.shape.labels)
    save_file(found, work.out / "predictions.safetensors")
    return {name: quality(rows, data.splits[name].labels, said[name]) for name, rows in found.items()}


def _vocabulary_report(teacher: Teacher, words: Vocabulary, data: Dataset) -> VocabularyReport:
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
