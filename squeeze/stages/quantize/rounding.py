"""The student as it is rounded, before any training: calibrated, its sensitive products left float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from squeeze.distillation.inputs import DistillationInputs
from squeeze.models import tokens
from squeeze.models.encoder import Encoder
from squeeze.models.inference import batches_by_length, logits, to_tensors
from squeeze.quantization.calibrating import calibrate
from squeeze.quantization.encoder import FakeQuantized
from squeeze.quantization.plan import Plan, kept_sites, sites
from squeeze.quantization.sensitivity import float_sites, ranked
from squeeze.stages.quantize.stage import QuantizeSection

__all__ = ["Rounded", "round_student"]

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """A rounded student.

    Attributes:
        model: in evaluation mode.
        sensitivity: by site, where it was measured.
    """

    model: FakeQuantized
    sensitivity: Mapping[str, float]


def round_student(student: Encoder, settings: QuantizeSection, inputs: DistillationInputs) -> Rounded:
    """Round a student after the profile.

    Args:
        student: in float; it is not changed.
        settings: whose scheme is named, not "auto".
        inputs: the text.

    Raises:
        ProfileError: `keep` names what the student does not have.
    """
    assert settings.scheme != "auto"
    plan = Plan(
        scheme=settings.scheme,
        weight_bits=settings.int8_bits,
        table_bits=settings.table_bits,
        # int4 steps follow the weights: the graph finds them again from the weights that are saved.
        learn_steps=settings.learn_steps and settings.method == "qat" and settings.scheme != "int4-weight",
    )
    if settings.keep != "auto":
        keep = kept_sites(settings.keep, sites(student.shape))
        return Rounded(_calibrated(student, replace(plan, keep=keep), settings, inputs), {})
    model = _calibrated(student, plan, settings, inputs)
    order, keep = _sensitive(model, student, settings.floor, inputs)
    return Rounded(_calibrated(student, replace(plan, keep=keep), settings, inputs) if keep else model, order)


def _calibrated(
    student: Encoder, plan: Plan, settings: QuantizeSection, inputs: DistillationInputs
) -> FakeQuantized:
    model = FakeQuantized(student, plan).eval()
    if plan.scheme == "int8-static":
        texts = len(inputs.data.splits["train"])
        rows = np.random.default_rng(inputs.training.seed).permutation(texts)[: settings.calibration_texts]
        encoded = inputs.text.encoded
        batches = (
            to_tensors(encoded, rows[batch], inputs.text.pad)
            for batch in batches_by_length(encoded.lengths[rows])
        )
        calibrate(model, batches, settings.calibration)
    return model


def _sensitive(
    model: FakeQuantized, student: Encoder, floor: float, inputs: DistillationInputs
) -> tuple[dict[str, float], frozenset[str]]:
    """Sites by sensitivity, and those that stay float."""
    split, text = inputs.data.splits["validation"], inputs.text
    encoded = tokens.encode(text.tokenizer, split.texts)

    def answers(encoder: Encoder = model) -> Logits:
        return logits(encoder, encoded, text.pad, student.shape.labels)

    def lost(kept: frozenset[str]) -> float:
        with model.quantizing(set(model.products) - kept):
            return whole - inputs.training.task.scores(answers(), split.labels).score

    whole = inputs.training.task.scores(answers(student), split.labels).score
    order = ranked(model, answers)
    return order, float_sites(list(order), lost, floor)
