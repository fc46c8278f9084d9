"""Read the model, cut it, let it recover, and measure it before, between and after."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from squeeze.artifact import Artifact
from squeeze.data import dataset
from squeeze.distillation.config import DistilConfig, DistilSection, StudentSection
from squeeze.distillation.material import Material, examine, gather, learn, write_student
from squeeze.distillation.shape import refuse_phases
from squeeze.models.encoder import EncoderShape, embedding_parameters, parameters
from squeeze.stage import Work
from squeeze.stages.prune import sparse
from squeeze.stages.prune.base import prepare
from squeeze.stages.prune.cutting import start
from squeeze.stages.prune.predicting import predictor
from squeeze.stages.prune.stage import RECOVERY, PruneConfig, PruneResult

__all__ = ["run"]


def run(config: PruneConfig, inputs: Mapping[str, Artifact], work: Work) -> PruneResult:
    """Make the smaller model: weights, shape, tokenizer, predictions.

    Raises:
        ProfileError: the model does not have what a key cuts, or a phase compares what is not there.
    """
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    base = prepare(config, inputs, dataset.load(inputs["dataset"].path), work)
    material = gather(_as_distil(config), inputs, base.folder, scratch=work.scratch)
    latency = predictor(config, base.encoder.shape, material, work)
    cut = start(config, base, material, inputs["teacher"], work, latency)
    student, phases, before = cut.student, config.prune.recovery, base.before
    del base  # the whole model is not needed any more
    refuse_phases(phases, student.shape, _teachers(material))
    with sparse.held(student, cut.masks):
        cache, reports = learn(student, phases, material, work)
    size = write_student(work.out, student, material.reading, config.task.labels)
    return PruneResult(
        source="student" if "encoder" in inputs else "teacher",
        method=config.prune.method,
        before=before.model_copy(update={"predicted_ms": cut.whole_ms}),
        cut=cut.measured,
        layers=cut.kept.layers,
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        sparsity=sparse.report(student, config.prune),
        pool=material.pool.report,
        cache=cache,
        phases=tuple(reports),
        quality=examine(student, material, inputs["teacher"], work.out),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


def _as_distil(config: PruneConfig) -> DistilConfig:
    """The settings that the shared code of distillation reads; the shape is not made from them.

    A profile without phases is given one that is not trained: what it asks for is there in any case.
    """
    section = DistilSection(phases=config.prune.recovery or (RECOVERY,), augment=config.prune.augment)
    return DistilConfig(seed=config.seed, task=config.task, student=StudentSection(), distil=section)


def _teachers(material: Material) -> dict[str, EncoderShape]:
    return {which: found[0].encoder.shape for which, found in material.teachers.items()}
