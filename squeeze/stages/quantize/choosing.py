"""`scheme = "auto"`: the candidates are measured here, and the fastest that is good enough is taken."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from squeeze.distillation.inputs import DistillationInputs
from squeeze.errors import GateFailed
from squeeze.graphs import lean
from squeeze.models import tokens
from squeeze.models.encoder import Encoder
from squeeze.progress import Progress
from squeeze.quantization.forms import Recipe, convert
from squeeze.stages.quantize.rounding import Rounded, round_student
from squeeze.stages.quantize.stage import SCHEMES, Candidate, QuantizeSection
from squeeze.targets import cpu
from squeeze.targets.subjects import Subject

__all__ = ["Contender", "by_latency", "first_good"]

SETTINGS = cpu.Settings(threads=1, starts=1, min_runs=300, min_seconds=1.0, max_seconds=30.0)
Made = TypeVar("Made")


@dataclass(frozen=True)
class Contender:
    """One scheme before any training.

    Attributes:
        settings: with its scheme named.
        rounded: the student in it.
        p50_ms: median latency of its file.
    """

    settings: QuantizeSection
    rounded: Rounded
    p50_ms: float


def by_latency(
    student: Encoder, settings: QuantizeSection, inputs: DistillationInputs, progress: Progress
) -> list[Contender]:
    """Every scheme, the fastest first.

    The files are made of the model as it is rounded, before any training, which does not change how fast
    they are. They run in turns on texts as long as those of the validation split.
    """
    shared: dict[str, Any] = {"vocabulary": student.shape.vocabulary, "lengths": _lengths(inputs)}
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.onnx"
        made, subjects = [], []
        for scheme in SCHEMES:
            named = settings.of(scheme)
            found = round_student(student, named, inputs)
            model = found.model
            lean.export(model.snapped(), whole, lean.OPSET)
            path = Path(folder) / f"{scheme}.onnx"
            recipe = Recipe(model.scales(), tuple(model.plan.keep), named.int8_bits, named.table_bits)
            convert(scheme, whole, path, recipe)
            made.append((named, found))
            subjects.append(Subject(path, scheme, **shared))
        measured = cpu.measure(subjects, SETTINGS, progress)
    contenders = [Contender(*pair, each.p50.value) for pair, each in zip(made, measured, strict=True)]
    return sorted(contenders, key=lambda each: each.p50_ms)


def first_good(
    order: Sequence[Contender],
    whole: float,
    floor: float,
    make: Callable[[Contender], tuple[Made, float]],
) -> tuple[Made, tuple[Candidate, ...]]:
    """The fastest form that loses no more than the floor; slower ones are not made.

    Args:
        order: the fastest first.
        whole: primary score of the float model on validation.
        floor: the most that may be lost of it.
        make: gives a model and its primary score on validation.

    Returns:
        What was made, and the figures of all that were looked at.

    Raises:
        GateFailed: none is good enough; the figures of all are named.
    """
    tried: list[Candidate] = []
    for each in order:
        made, score = make(each)
        tried.append(Candidate(scheme=each.settings.scheme, p50_ms=each.p50_ms, score=score))
        if whole - score <= floor:
            return made, tuple(tried)
    said = ", ".join(f"{row.scheme} {row.score:.4f}" for row in tried)
    raise GateFailed(
        f"[quantize] floor: no scheme keeps the score within {floor:g} of {whole:.4f}: {said}",
        hint='raise `floor`, or let sensitive products stay float: keep = "auto"',
    )


def _lengths(inputs: DistillationInputs) -> tuple[int, ...]:
    texts = inputs.data.splits["validation"].texts
    return tuple(int(n) for n in tokens.encode(inputs.text.tokenizer, texts).lengths)
