"""What follows from raw samples, wherever they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.targets.measurement import LengthSummary, Measurement
from squeeze.targets.noise import block_variation
from squeeze.targets.quantiles import QUANTILES, estimate

__all__ = ["medians", "of_calls", "of_starts"]


def of_calls(
    blocks: Sequence[Sequence[float]],
    widths: Sequence[Sequence[int]],
    *,
    batch: int,
    confidence: float,
    has_length: bool,
) -> dict[str, Any]:
    """Fields of a Measurement that come from timed calls.

    Args:
        blocks: milliseconds of the calls of each block.
        widths: tokens of the calls of each block; of a block that was repeated, once.
        batch: texts a call.
        confidence: of the intervals.
        has_length: whether calls can differ in length.
    """
    samples = tuple(ms for block in blocks for ms in block)
    return {
        "batch": batch,
        "sequence": LengthSummary.of([n for block in widths for n in block]) if has_length else None,
        "samples_ms": samples,
        "block_widths": tuple(map(tuple, widths)),
        "runs": len(samples),
        "confidence": confidence,
        **{name: estimate(blocks, share, confidence) for name, share in QUANTILES.items()},
        "throughput_per_s": batch * len(samples) / (sum(samples) / 1e3),
        "cv": block_variation(blocks, widths),
    }


def of_starts(
    loads_ms: Sequence[float], firsts_ms: Sequence[float], peaks: Sequence[int], baselines: Sequence[int]
) -> dict[str, Any]:
    """Fields of a Measurement that come from fresh processes.

    Args:
        loads_ms: to open the file, of each process.
        firsts_ms: of its first inference.
        peaks: bytes of memory at most.
        baselines: the same before the model was opened.
    """
    return {
        "load_ms": float(median(loads_ms)),
        "loads_ms": tuple(loads_ms),
        "first_ms": float(median(firsts_ms)),
        "firsts_ms": tuple(firsts_ms),
        "rss_bytes": max(peaks),
        "rss_baseline_bytes": max(baselines),
    }


def medians(measured: Sequence[Measurement], length: int) -> NDArray[np.float64]:
    """Median latency of every model in every block that holds texts of a length.

    Args:
        measured: M models that ran in turns.
        length: tokens.

    Returns:
        (blocks, M) milliseconds; no rows when no block has the length.
    """
    every = [each.blocks() for each in measured]
    rows = [
        [_median(blocks[number], widths, length) for blocks in every]
        for number, widths in enumerate(measured[0].block_widths)
        if length in widths
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(measured))


def _median(block: Sequence[float], widths: Sequence[int], length: int) -> float:
    samples = np.asarray(block)
    return float(np.median(samples[np.resize(np.asarray(widths), len(samples)) == length]))
