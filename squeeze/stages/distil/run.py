"""Build the pool, carve the student, train it through the phases, and evaluate it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import torch

from squeeze.artifact import Artifact
from squeeze.distillation.config import ARCH, DistilConfig, StudentSection
from squeeze.distillation.initialize import initialize, variance_kept
from squeeze.distillation.inputs import TrainingPlan, evaluate, load_inputs, train, write_student
from squeeze.distillation.tokenized import vocabulary_report
from squeeze.errors import Corrupt
from squeeze.models.encoder import embedding_parameters, parameters
from squeeze.stage import Work
from squeeze.stages.distil.stage import DistilResult
from squeeze.tasks import task_of

__all__ = ["run"]


def run(config: DistilConfig, artifacts: Mapping[str, Artifact], work: Work) -> DistilResult:
    """Make the student: weights, shape, tokenizer, predictions."""
    started = time.monotonic()
    section = config.student if "arch" not in artifacts else _searched(artifacts["arch"])
    training = TrainingPlan(task_of(config.task), config.seed, config.distil.phases, config.distil.augment)
    torch.set_num_threads(work.threads)
    inputs = load_inputs(artifacts, training, section, work.scratch)
    text, teacher = inputs.text, inputs.first
    student = initialize(inputs, config.distil.importance_batches, work.scratch)
    kept = variance_kept(teacher.encoder, student, text.vocabulary)
    cache, reports = train(student, inputs, work)
    size = write_student(work.out, student, text, training.task)
    return DistilResult(
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        embedding_variance_kept=kept,
        vocabulary=vocabulary_report(teacher.tokenizer_json, text.vocabulary, inputs.data),
        pool=inputs.pool.report,
        cache=cache,
        phases=tuple(reports),
        quality=evaluate(student, inputs, artifacts["teacher"], work.out),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


def _searched(arch: Artifact) -> StudentSection:
    """The student that a search chose."""
    path = arch.path / ARCH
    try:
        return StudentSection.parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # pydantic's is a ValueError
        raise Corrupt(f"{path}: not a [student] section ({error})", hint="run again with --fresh") from error
