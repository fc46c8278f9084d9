"""Read the model, cut it, let it recover, and measure it before, between and after."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from squeeze.artifact import Artifact
from squeeze.data import dataset
from squeeze.distillation.inputs import TrainingPlan, evaluate, load_inputs, train, write_student
from squeeze.distillation.resolve import refuse_phases
from squeeze.models.encoder import embedding_parameters, parameters
from squeeze.stage import Work
from squeeze.stages.prune import sparse
from squeeze.stages.prune.base import prepare
from squeeze.stages.prune.cutting import start
from squeeze.stages.prune.predicting import predictor
from squeeze.stages.prune.stage import PruneConfig, PruneResult
from squeeze.tasks import task_of

__all__ = ["run"]


def run(config: PruneConfig, artifacts: Mapping[str, Artifact], work: Work) -> PruneResult:
    """Make the smaller model: weights, shape, tokenizer, predictions.

    Raises:
        ProfileError: the model does not have what a key cuts, or a phase compares what is not there.
    """
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    settings, phases = config.prune, config.prune.recovery
    training = TrainingPlan(task_of(config.task), config.seed, phases, settings.augment)
    base = prepare(config, artifacts, dataset.load(artifacts["dataset"].path), work)
    inputs = load_inputs(artifacts, training, base.folder, work.scratch)
    latency = predictor(settings, base.encoder.shape, inputs, work)
    cut = start(settings, base, inputs, artifacts["teacher"], work, latency)
    student, before = cut.student, base.before
    del base  # the whole model is not needed any more
    refuse_phases(phases, student.shape, inputs.teacher_shapes)
    with sparse.held(student, cut.masks):
        cache, reports = train(student, inputs, work)
    size = write_student(work.out, student, inputs.text, training.task)
    return PruneResult(
        source="student" if "encoder" in artifacts else "teacher",
        method=settings.method,
        before=before.model_copy(update={"predicted_ms": cut.whole_ms}),
        cut=cut.measured,
        layers=cut.kept.layers,
        parameters=parameters(student),
        embedding_parameters=embedding_parameters(student),
        size_bytes=size,
        sparsity=sparse.report(student, settings),
        pool=inputs.pool.report,
        cache=cache,
        phases=tuple(reports),
        quality=evaluate(student, inputs, artifacts["teacher"], work.out),
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )
