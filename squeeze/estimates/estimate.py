"""Latency intervals of models on a device that is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze.artifact import digest_file
from squeeze.estimates.known import Known
from squeeze.estimates.rates import predict
from squeeze.estimates.trace import Node, trace
from squeeze.estimates.work import parts, unknown
from squeeze.progress import Progress
from squeeze.targets.devices.results import Estimated
from squeeze.targets.inputs import DEFAULT_LENGTH, draw_lengths
from squeeze.targets.subjects import Subject, shared_lengths

__all__ = ["UNKNOWN_SPREAD", "estimate", "interval", "length_of"]

UNKNOWN_SPREAD = 4.0
"""Nodes that nobody here knows may take so many times more or less than their bytes say."""
DRAWN = 400


def estimate(
    subjects: Sequence[Subject],
    known: Known,
    target: str,
    progress: Progress,
    *,
    sequence: int | None = None,
    batch: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Estimated, ...]:
    """Estimate the median latency of one call of each model.

    Args:
        subjects: the models.
        known: the device.
        target: its name in the results.
        progress: told of each model.
        sequence: tokens a text; None: the median of the lengths that a bundle knows, else 128.
        batch: texts a call.
        shapes: whole input shapes by input name.

    Raises:
        UsageError: a file that is no model, or a shape that does not fit it.
        StageFailed: ONNX Runtime cannot run it here.
    """
    length = length_of(shared_lengths(subjects, sequence), batch)
    found = []
    with progress.task("estimate", len(subjects)) as advance:
        for each in subjects:
            nodes = trace(each, (length,), batch, shapes or {}, sequence=sequence)[length]
            low, middle, high = interval(nodes, known)
            found.append(
                Estimated(
                    target=target,
                    name=each.name,
                    sha256=digest_file(each.path),
                    low_ms=low,
                    mid_ms=middle,
                    high_ms=high,
                    tokens=length,
                    batch=batch,
                    source=known.source,
                    notes=_notes(nodes, known, length),
                )
            )
            advance(1, note=each.name)
    return tuple(found)


def length_of(lengths: Sequence[int] | None, batch: int) -> int:
    """The length of the usual call: the median, over calls, of the longest of its texts.

    >>> length_of([4, 8, 9], 1), length_of(None, 8)
    (8, 128)
    """
    if not lengths:
        return DEFAULT_LENGTH
    if batch == 1:
        return sorted(lengths)[len(lengths) // 2]
    calls = draw_lengths(lengths, DRAWN, batch, np.random.default_rng(0))
    return int(np.median(calls.max(axis=1)))


def interval(nodes: Sequence[Node], known: Known) -> tuple[float, float, float]:
    """Low, middle and high milliseconds of a call; unknown nodes have a wider interval of their own."""
    every = [part for node in nodes for part in parts(node)]
    strange = [part for part in every if part.kind == "other"]
    middle = predict(known.rates, every)
    blind = predict(known.rates, strange) - known.rates.call_us / 1e3
    seen, spread = middle - blind, known.spread
    wide = spread * UNKNOWN_SPREAD
    return seen / spread + blind / wide, middle, seen * spread + blind * wide


def _notes(nodes: Sequence[Node], known: Known, length: int) -> tuple[str, ...]:
    notes = []
    if strange := unknown(nodes):
        notes.append(f"counted by their bytes alone, with a wide margin: {', '.join(strange)}")
    if known.longest and length > known.longest:
        notes.append(f"the device was calibrated with texts of up to {known.longest} tokens, this is longer")
    if not known.calibrated:
        notes.append("from specifications: squeeze device calibrate on the device makes it narrower")
    return tuple(notes)
