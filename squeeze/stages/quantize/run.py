"""Read the student, round it, train it while it is rounded, and measure it before, between and after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.numpy import load_file, save_file

from squeeze.artifact import Artifact
from squeeze.distillation.config import (
    PREDICTIONS,
    CacheReport,
    DistilConfig,
    DistilSection,
    PhaseReport,
    StudentSection,
)
from squeeze.distillation.material import (
    Answers,
    Material,
    gather,
    judge,
    learn,
    predict,
    write_student,
)
from squeeze.distillation.shape import refuse_phases
from squeeze.distillation.teachers import student_as_teacher
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.storage import load_student
from squeeze.quantization import storage
from squeeze.quantization.encoder import FakeQuantized
from squeeze.stage import Work
from squeeze.stages.quantize.choosing import Contender, by_latency, first_good
from squeeze.stages.quantize.rounding import Rounded, round_student
from squeeze.stages.quantize.stage import Candidate, QuantizeConfig, QuantizeResult, QuantizeSection

__all__ = ["material_of", "run"]


def run(config: QuantizeConfig, inputs: Mapping[str, Artifact], work: Work) -> QuantizeResult:
    """Make the rounded model: weights, steps, shape, tokenizer, predictions.

    Raises:
        ProfileError: `keep` names what the model does not have, or a phase compares what is not there.
    """
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    settings, folder = config.quantize, inputs["encoder"].path
    material = material_of(config, inputs, folder, work.scratch)
    student, before = load_student(folder), load_file(folder / PREDICTIONS)
    made, candidates = _chosen(student, before, settings, material, work)
    model, plain = made.model, made.model.snapped()
    size = write_student(work.out, plain, material.reading, config.task.labels)
    _write_beside(work.out, made, _answers(plain, material))
    return QuantizeResult(
        scheme=model.plan.scheme,
        method=settings.method,
        against=settings.against if settings.method == "qat" else None,
        candidates=candidates,
        keep=tuple(sorted(model.plan.keep)),
        sensitivity=made.sensitivity,
        before=judge(before, material.data, inputs["teacher"], material.task),
        rounded=judge(made.rounded, material.data, inputs["teacher"], material.task),
        quality=judge(made.said, material.data, inputs["teacher"], material.task),
        trained=made.trained,
        parameters=parameters(plain),
        embedding_parameters=embedding_parameters(plain),
        size_bytes=size,
        pool=material.pool.report,
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
        rounded: its answers before any training.
        said: its answers.
        trained: whether training made it better.
        cache: what the teacher computed for the training.
        phases: how the training went.
    """

    model: FakeQuantized
    settings: QuantizeSection
    sensitivity: Mapping[str, float]
    rounded: Answers
    said: Answers
    trained: bool
    cache: CacheReport | None
    phases: tuple[PhaseReport, ...]


def _chosen(
    student: Encoder, before: Answers, settings: QuantizeSection, material: Material, work: Work
) -> tuple[Made, tuple[Candidate, ...]]:
    """The scheme that is named, or the fastest that is good enough."""
    if settings.scheme != "auto":
        return _make(round_student(student, settings, material), settings, material, work), ()

    def make(each: Contender) -> tuple[Made, float]:
        scratch = work.scratch / each.settings.scheme  # checkpoints of one scheme are not another's
        scratch.mkdir(parents=True, exist_ok=True)
        made = _make(each.rounded, each.settings, material, replace(work, scratch=scratch), again=True)
        return made, _score(made.said, material)

    order = by_latency(student, settings, material, work.progress)
    return first_good(order, _score(before, material), settings.floor, make)


def _make(
    found: Rounded, settings: QuantizeSection, material: Material, work: Work, *, again: bool = False
) -> Made:
    rounded = _answers(found.model, material)
    trained, cache, phases = _train(found.model, settings, material, rounded, work, again=again)
    said = _answers(found.model, material) if trained else rounded
    return Made(found.model, settings, found.sensitivity, rounded, said, trained, cache, tuple(phases))


def material_of(
    config: QuantizeConfig, inputs: Mapping[str, Artifact], folder: Path, scratch: Path | None = None
) -> Material:
    """What the model learns from; where it learns from itself, the float model takes the teacher's place.

    The text stays what it is with the teacher: changed copies are drawn from its table in any case.
    """
    settings = config.quantize
    section = DistilSection(phases=settings.trainings, augment=settings.augment)
    as_distil = DistilConfig(seed=config.seed, task=config.task, student=StudentSection(), distil=section)
    material = gather(as_distil, inputs, folder, scratch=scratch)
    if settings.against != "student":
        return material
    own = student_as_teacher(folder)
    refuse_phases(settings.trainings, own.encoder.shape, {"task": own.encoder.shape})
    reading = replace(material.reading, aligned=material.reading.encoded)
    return replace(material, teachers={"task": [own]}, reading=reading)


def _train(
    model: FakeQuantized,
    settings: QuantizeSection,
    material: Material,
    rounded: Answers,
    work: Work,
    *,
    again: bool,
) -> tuple[bool, CacheReport | None, list[PhaseReport]]:
    """Train the model in place, or leave it as it was rounded where that is better on validation.

    `again`: another scheme will be trained on the same material.
    """
    if settings.method == "ptq":
        return False, None, []
    begin = {name: value.clone() for name, value in model.state_dict().items()}
    cache, phases = learn(model, settings.trainings, material, work, again=again)
    model.eval()
    before, after = (_score(said, material) for said in (rounded, _answers(model, material)))
    if before > after:
        model.load_state_dict(begin)
    return before <= after, cache, phases


def _score(said: Answers, material: Material) -> float:
    """The task's primary score on validation."""
    return material.task.scores(said["validation"], material.data.splits["validation"].labels).score


def _write_beside(folder: Path, made: Made, in_float: Answers) -> None:
    """Answers and steps."""
    model, settings = made.model, made.settings
    save_file(made.said, folder / PREDICTIONS)
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


def _answers(model: Encoder, material: Material) -> Answers:
    return predict(model, material.reading.tokenizer, material.reading.pad, material.data)
