"""Build the pool, carve the student, walk the phases, and measure what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import torch

from squeeze.artifact import Artifact
from squeeze.distillation.config import ARCH, DistilConfig, StudentSection
from squeeze.distillation.material import examine, gather, learn, vocabulary_report, write_student
from squeeze.distillation.start import start, variance_kept
from squeeze.errors import Corrupt
from squeeze.models.encoder import embedding_parameters, parameters
from squeeze.stage import Work
from squeeze.stages.distil.stage import DistilResult

__all__ = ["run"]


def run(config: DistilConfig, inputs: Mapping[str, Artifact], work: Work) -> DistilResult:
    """Make the student: weights, shape, tokenizer, predictions."""
    started = time.monotonic()
    config = _as_searched(config, inputs.get("arch"))
    torch.set_num_threads(work.threads)
    material = gather(config, inputs, scratch=work.scratch)
    teacher, reading, pool = material.first, material.reading, material.pool
    student = start(config, teacher.encoder, pool, reading.aligned, reading.words, work.scratch)
    kept = variance_kept(teacher.encoder, student, reading.words)
    cache, reports = learn(student, config.distil.phases, material, work)
    size = write_student(work.out, student, reading, config.task.labels)
    return DistilResult(
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        embedding_variance_kept=kept,
        vocabulary=vocabulary_report(teacher, reading.words, material.data),
        pool=pool.report,
        cache=cache,
        phases=tuple(reports),
        quality=examine(student, material, inputs["teacher"], work.out),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


def _as_searched(config: DistilConfig, arch: Artifact | None) -> DistilConfig:
    """The settings with the student that a search chose, where there was one."""
    if arch is None:
        return config
    path = arch.path / ARCH
    try:
        student = StudentSection.parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # pydantic's is a ValueError
        raise Corrupt(f"{path}: not a [student] section ({error})", hint="run again with --fresh") from error
    return config.model_copy(update={"student": student})
