"""Read the student, round it, train it while it is rounded, and measure it before, between and after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.numpy import load_file, save_file

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.distillation.config import (
    PREDICTIONS,
    CacheReport,
    PhaseReport,
)
from squeeze.distillation.inputs import (
    DistillationInputs,
    Logits,
    TrainingPlan,
    load_inputs,
    predict,
    quality_by_split,
    train,
    write_student,
)
from squeeze.distillation.resolve import refuse_phases
from squeeze.distillation.teachers import Teacher
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.storage import load_student
from squeeze.quantization import storage
from squeeze.quantization.encoder import FakeQuantized
from squeeze.stage import Work
from squeeze.stages.quantize.choosing import Contender, by_latency, first_good
from squeeze.stages.quantize.rounding import Rounded, round_student
from squeeze.stages.quantize.stage import Candidate, QuantizeConfig, QuantizeResult, QuantizeSection
from squeeze.tasks import task_of

__all__ = ["inputs_of", "run"]


def run(config: QuantizeConfig, artifacts: Mapping[str, Artifact], work: Work) -> QuantizeResult:
    """Make the rounded model: weights, steps, shape, tokenizer, predictions.

    Raises:
        ProfileError: `keep` names what the model does not have, or a phase compares what is not there.
    """
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    settings, folder = config.quantize, artifacts["encoder"].path
    inputs = inputs_of(config, artifacts, work.scratch)
    student, before = load_student(folder), load_file(folder / PREDICTIONS)
    made, candidates = _chosen(student, before, settings, inputs, work)
    model, plain = made.model, made.model.snapped()
    size = write_student(work.out, plain, inputs.text, inputs.training.task)
    _write_beside(work.out, made, _answers(plain, inputs))

    def qualities(answers: Logits) -> dict[str, Quality]:
        return quality_by_split(answers, inputs.data, artifacts["teacher"], inputs.training.task)

    return QuantizeResult(
        scheme=model.plan.scheme,
        method=settings.method,
        against=settings.against if settings.method == "qat" else None,
        candidates=candidates,
        keep=tuple(sorted(model.plan.keep)),
        sensitivity=made.sensitivity,
        before=qualities(before),
        rounded=qualities(made.rounded),
        quality=qualities(made.answers),
        trained=made.trained,
        parameters=parameters(plain),
        embedding_parameters=embedding_parameters(plain),
        size_bytes=size,
        pool=inputs.pool.report,
        cache=made.cache,
        phases=made.phases,
        transformers_folder=(work.out / "transformers").is_dir(),
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class Made:
    """A finished model.

    Attributes:
        model: in evaluation mode.
        settings: what it was made by, its scheme named.
        sensitivity: by site, where it was measured.
        rounded: its logits before any training.
        answers: its logits.
        trained: whether training made it better.
        cache: what the teacher computed for the training.
        phases: how the training went.
    """

    model: FakeQuantized
    settings: QuantizeSection
    sensitivity: Mapping[str, float]
    rounded: Logits
    answers: Logits
    trained: bool
    cache: CacheReport | None
    phases: tuple[PhaseReport, ...]


def _chosen(
    student: Encoder, before: Logits, settings: QuantizeSection, inputs: DistillationInputs, work: Work
) -> tuple[Made, tuple[Candidate, ...]]:
    """The scheme that is named, or the fastest that is good enough."""
    if settings.scheme != "auto":
        return _make(round_student(student, settings, inputs), settings, inputs, work), ()

    def make(contender: Contender) -> tuple[Made, float]:
        scratch = work.scratch / contender.settings.scheme  # checkpoints of one scheme are not another's
        scratch.mkdir(parents=True, exist_ok=True)
        made = _make(
            contender.rounded, contender.settings, inputs, replace(work, scratch=scratch), again=True
        )
        return made, _score(made.answers, inputs)

    order = by_latency(student, settings, inputs, work.progress)
    return first_good(order, _score(before, inputs), settings.floor, make)


def _make(
    start: Rounded, settings: QuantizeSection, inputs: DistillationInputs, work: Work, *, again: bool = False
) -> Made:
    rounded = _answers(start.model, inputs)
    trained, cache, phases = _train(start.model, settings, inputs, rounded, work, again=again)
    answers = _answers(start.model, inputs) if trained else rounded
    return Made(start.model, settings, start.sensitivity, rounded, answers, trained, cache, tuple(phases))


def inputs_of(
    config: QuantizeConfig, artifacts: Mapping[str, Artifact], scratch: Path | None = None
) -> DistillationInputs:
    """What the model learns from; where it learns from itself, the float model takes the teacher's place.

    The text stays what it is with the teacher: changed copies are drawn from its table in any case.
    """
    settings, folder = config.quantize, artifacts["encoder"].path
    training = TrainingPlan(task_of(config.task), config.seed, settings.trainings, settings.augment)
    inputs = load_inputs(artifacts, training, folder, scratch)
    if settings.against != "student":
        return inputs
    own = Teacher.load(folder, config.task.labels)
    refuse_phases(settings.trainings, own.encoder.shape, {"task": own.encoder.shape})
    text = replace(inputs.text, aligned=inputs.text.encoded)
    return replace(inputs, teachers={"task": [own]}, text=text)


def _train(
    model: FakeQuantized,
    settings: QuantizeSection,
    inputs: DistillationInputs,
    rounded: Logits,
    work: Work,
    *,
    again: bool,
) -> tuple[bool, CacheReport | None, list[PhaseReport]]:
    """Train the model in place, or leave it as it was rounded where that is better on validation.

    `again`: another scheme will be trained on the same inputs.
    """
    if settings.method == "ptq":
        return False, None, []
    begin = {name: value.clone() for name, value in model.state_dict().items()}
    cache, phases = train(model, inputs, work, again=again)
    model.eval()
    before, after = (_score(answers, inputs) for answers in (rounded, _answers(model, inputs)))
    if before > after:
        model.load_state_dict(begin)
    return before <= after, cache, phases


def _score(answers: Logits, inputs: DistillationInputs) -> float:
    """The task's primary score on validation."""
    labels = inputs.data.splits["validation"].labels
    return inputs.training.task.scores(answers["validation"], labels).score


def _write_beside(folder: Path, made: Made, in_float: Logits) -> None:
    """Answers and steps."""
    model, settings = made.model, made.settings
    save_file(made.answers, folder / PREDICTIONS)
    save_file(in_float, folder / storage.FLOAT_PREDICTIONS)
    record = storage.Record(
        scheme=model.plan.scheme,
        method=settings.method,
        weight_bits=settings.int8_bits,
        table_bits=settings.table_bits,
        learned=model.plan.learn_steps,
        keep=tuple(sorted(model.plan.keep)),
    )
    storage.save(folder, storage.Quantization(record, model.scales()))


def _answers(model: Encoder, inputs: DistillationInputs) -> Logits:
    return predict(model, inputs.text.tokenizer, inputs.text.pad, inputs.data)
