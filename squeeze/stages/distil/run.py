"""Build the pool, carve the student, walk the phases, and measure what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality, quality
from squeeze.data import dataset
from squeeze.data.dataset import Dataset
from squeeze.data.teacher_cache import Spent
from squeeze.errors import ProfileError
from squeeze.models import families, storage, tokens, vocabulary
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.inference import logits
from squeeze.stage import Work
from squeeze.stages.distil import pool as pools
from squeeze.stages.distil.objective import needed
from squeeze.stages.distil.phases import Ground, run_phase
from squeeze.stages.distil.pool import Pool
from squeeze.stages.distil.stage import CacheReport, DistilConfig, DistilResult, PhaseReport, VocabularyReport
from squeeze.stages.distil.start import Vocabulary, choose_vocabulary, start, variance_kept
from squeeze.stages.distil.teachers import Signals, Teacher, load_teachers

__all__ = ["run"]


def run(config: DistilConfig, inputs: Mapping[str, Artifact], work: Work) -> DistilResult:
    """Make the student: weights, shape, tokenizer, predictions."""
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    data = dataset.load(inputs["dataset"].path)
    labels = config.task.labels
    teachers = load_teachers(inputs["teacher"].path, "task", labels)
    first = teachers[0]
    pool = _pool(config, data, first)
    words = choose_vocabulary(
        first.spec,
        (*data.splits["train"].texts, *data.unlabelled),
        config.student.vocabulary,
        first.encoder.shape.vocabulary,
    )
    tokenizer = tokens.make_tokenizer(words.spec, _reach(config, first))
    encoded = tokens.encode(tokenizer, pool.texts)
    aligned = encoded.renumber(words.kept)
    student = start(config, first.encoder, pool, aligned, words)
    kept = variance_kept(first.encoder, student, words)
    ground = Ground(
        pool,
        encoded,
        tokens.encode(tokenizer, data.splits["validation"].texts),
        data.splits["validation"].labels,
        tokens.pad_id(words.spec),
        config.seed,
        work,
    )
    signals = {"task": Signals(teachers, pool.texts, aligned, config.task.max_length, work)}
    if any(phase.teacher == "base" for phase in config.distil.phases):
        base = load_teachers(inputs["teacher"].path, "base", labels)
        signals["base"] = Signals(base, pool.texts, aligned, config.task.max_length, work)
    spent, reports = _walk(config, student, signals, ground)
    size = _write(work, student, words, labels)
    return DistilResult(
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        embedding_variance_kept=kept,
        vocabulary=_vocabulary_report(first, words, data),
        pool=pool.report,
        cache=CacheReport(
            texts=len(pool.texts), computed=spent.texts, bytes=spent.bytes, seconds=spent.seconds
        ),
        phases=tuple(reports),
        quality=_measure(student, tokenizer, words, data, inputs["teacher"], work),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


def _pool(config: DistilConfig, data: Dataset, first: Teacher) -> Pool:
    table = first.encoder.embedding.table().detach().numpy()
    return pools.build(data, first.spec, table, config.distil.augment, config.task.max_length, config.seed)


def _reach(config: DistilConfig, teacher: Teacher) -> int:
    """Longest input that both sides can read."""
    return min(config.task.max_length, teacher.encoder.shape.positions)


def _walk(
    config: DistilConfig, student: Encoder, signals: Mapping[str, Signals], ground: Ground
) -> tuple[Spent, list[PhaseReport]]:
    """All phases in a row; what any of them reads of a teacher is computed before the first."""
    depth = len(student.shape.layers)
    spent: list[Spent] = []
    for which, signal in signals.items():
        layers = len(signal.teachers[0].encoder.shape.layers)
        if depth > layers:
            raise ProfileError(f"[student] layers: {depth}, the {which} teacher has {layers}")
        mine = [phase for phase in config.distil.phases if phase.teacher == which]
        features = [feature for phase in mine for feature in needed(phase, depth, layers)]
        spent.append(signal.prepare(list(dict.fromkeys(features))))
    total = Spent(sum(s.texts for s in spent), sum(s.bytes for s in spent), sum(s.seconds for s in spent))
    return total, [
        run_phase(student, phase, signals[phase.teacher], ground) for phase in config.distil.phases
    ]


def _write(work: Work, student: Encoder, words: Vocabulary, labels: tuple[str, ...]) -> int:
    """All files but the predictions; returns the bytes of the weights."""
    student.eval()
    storage.save_student(work.out, student)
    tokens.write_spec(work.out / "tokenizer.json", words.spec)
    if families.fits_bert(student.shape):
        folder = work.out / "transformers"
        families.write_bert(student, labels, tokens.pad_id(words.spec)).save_pretrained(folder)
        tokens.write_spec(folder / "tokenizer.json", words.spec)
    return (work.out / storage.WEIGHTS).stat().st_size


def _measure(
    student: Encoder,
    tokenizer: tokens.Tokenizer,
    words: Vocabulary,
    data: Dataset,
    teacher: Artifact,
    work: Work,
) -> dict[str, Quality]:
    """Quality on every held-out split; the logits are kept for the next stages."""
    said: dict[str, NDArray[np.float32]] = load_file(teacher.path / "predictions.safetensors")
    found: dict[str, NDArray[np.float32]] = {}
    for name, split in data.splits.items():
        if name != "train":
            rows = tokens.encode(tokenizer, split.texts)
            found[name] = logits(student, rows, tokens.pad_id(words.spec), student.shape.labels)
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
