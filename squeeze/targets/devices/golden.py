"""Inputs for a device, and what this machine makes of them: what a device has to get right first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import ParityFailed
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.results import Difference
from squeeze.targets.inputs import (
    DEFAULT_LENGTH,
    Feed,
    draw_lengths,
    feed,
    first_that_runs,
    has_length,
    slots,
)
from squeeze.targets.ort import guarded, open_session, specs
from squeeze.targets.subjects import Subject, shared_lengths

__all__ = ["EXACT", "ROUNDED", "Golden", "compare", "confirmed", "goldens", "limit"]

# Largest difference against the output's largest value. Floats are summed in another order on another
# processor; with integer weights such a difference can move an activation to the next step.
EXACT = 1e-5
ROUNDED = 2e-2
# Operators' names stand in the file as they are, in ONNX's format and in ONNX Runtime's. Halves and integers
# have in common that a small difference is rounded to a larger one.
INTEGERS = (b"uantizeLinear", b"MatMulInteger", b"QLinear", b"QuantizeMatMul", b"MatMulNBits")


@dataclass(frozen=True)
class Golden:
    """A model with inputs and this machine's answers.

    Attributes:
        subject: the model.
        inputs: name, type and shape of its inputs as declared.
        feeds: values by input name; all models of a run have equally many.
        widths: tokens of each feed, as reports have them.
        has_length: whether calls can differ in length.
        names: of the outputs.
        outputs: for each feed, in the order of the names.
        limit: how far a device's outputs may lie from these, as a share of the largest.
    """

    subject: Subject
    inputs: Mapping[str, str]
    feeds: tuple[Feed, ...]
    widths: tuple[int, ...]
    has_length: bool
    names: tuple[str, ...]
    outputs: tuple[tuple[NDArray[Any], ...], ...]
    limit: float


def goldens(subjects: Sequence[Subject], settings: Settings, count: int) -> tuple[Golden, ...]:
    """Draw inputs for models that are compared, of the same lengths for all, and run them here.

    Args:
        subjects: the models.
        settings: batch, lengths, shapes and seed count.
        count: feeds of each.

    Raises:
        UsageError: a file is no model, or a shape does not fit it.
        StageFailed: ONNX Runtime cannot run it.
    """
    lengths = shared_lengths(subjects, settings.sequence)
    rows: list[list[int]] | list[None] = [None] * count
    if lengths is not None:
        drawn = draw_lengths(lengths, count, settings.batch, np.random.default_rng(settings.seed))
        rows = drawn.tolist()
    return tuple(_golden(subject, rows, settings) for subject in subjects)


def _golden(subject: Subject, rows: list[list[int]] | list[None], settings: Settings) -> Golden:
    session = open_session(subject.path, threads=1)
    declared = specs(session)
    settled = slots(declared, settings.shapes, settings.batch, settings.sequence)

    def answers(bound: int) -> tuple[tuple[Feed, ...], tuple[tuple[NDArray[Any], ...], ...]]:
        generator = np.random.default_rng(settings.seed)
        feeds = tuple(feed(settled, row, bound, generator) for row in rows)
        with guarded(subject.path, "cannot be run"):
            return feeds, tuple(tuple(session.run(None, values)) for values in feeds)

    feeds, outputs = first_that_runs(answers, subject.vocabulary)
    return Golden(
        subject=subject,
        inputs={spec.name: str(spec) for spec in declared},
        feeds=feeds,
        widths=tuple(max(row) if row else DEFAULT_LENGTH for row in rows),
        has_length=has_length(settled),
        names=tuple(node.name for node in session.get_outputs()),
        outputs=outputs,
        limit=limit(subject.path),
    )


def limit(path: Path) -> float:
    """How far a model's outputs may lie from this machine's, as a share of the largest."""
    content = path.read_bytes()
    return ROUNDED if any(name in content for name in INTEGERS) else EXACT


def compare(wanted: Golden, found: Sequence[Sequence[NDArray[Any]]]) -> tuple[Difference, ...]:
    """Differences of each output over all feeds.

    Args:
        wanted: with this machine's outputs.
        found: the device's, feed by feed.

    Raises:
        ParityFailed: other types or shapes.
    """
    return tuple(_difference(wanted, found, place) for place in range(len(wanted.names)))


def confirmed(target: str, wanted: Golden, found: Sequence[Sequence[NDArray[Any]]]) -> tuple[Difference, ...]:
    """Differences of a device's outputs, all within the limit.

    Args:
        target: the device's name.
        wanted: with this machine's outputs.
        found: the device's, feed by feed.

    Raises:
        ParityFailed: it computes something else, with the numbers.
    """
    differences = compare(wanted, found)
    for each in differences:
        if not each.share <= wanted.limit:
            raise ParityFailed(
                f"{target}: {wanted.subject.name}: output {each.output} differs from this machine's by "
                f"{each.largest:.3g}, {each.share:.3g} of its largest value (limit {wanted.limit:g})",
                hint="the device or its library computes something else; its times would mean nothing",
            )
    return differences


def _difference(wanted: Golden, found: Sequence[Sequence[NDArray[Any]]], place: int) -> Difference:
    largest = scale = 0.0
    unequal = values = 0
    for here, there in zip(wanted.outputs, found, strict=True):
        ours, theirs = here[place], there[place]
        if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
            raise ParityFailed(
                f"{wanted.subject.name}: output {wanted.names[place]} is {theirs.dtype} {theirs.shape} "
                f"on the device and {ours.dtype} {ours.shape} here"
            )
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        # A value that is not a number differs from everything, as far as it can.
        apart = np.where(np.isfinite(apart), apart, np.finfo(np.float64).max)
        largest = max(largest, float(apart.max(initial=0.0)))
        scale = max(scale, float(np.abs(ours.astype(np.float64)).max(initial=0.0)))
        unequal += _unequal(ours, theirs)
        values += ours.size
    return Difference(
        output=wanted.names[place], largest=largest, scale=scale, unequal=unequal, values=values
    )


def _unequal(ours: NDArray[Any], theirs: NDArray[Any]) -> int:
    """Values whose bytes differ."""
    width = ours.dtype.itemsize
    rows = [np.frombuffer(each.tobytes(), np.uint8).reshape(-1, width) for each in (ours, theirs)]
    return int((rows[0] != rows[1]).any(axis=1).sum())
