"""Signs that a measurement cannot be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.core.stats import coefficient_of_variation

__all__ = ["CV_LIMIT", "PREEMPTION_LIMIT", "block_variation", "remarks"]

CV_LIMIT = 0.025  # the mark for an unstable time (trtexec, sampleReporting)
PREEMPTION_LIMIT = 0.025  # half of the calls above p95: that quantile may show them and not the model
FIT_DEGREE = 2  # attention is quadratic in the length, the rest linear


def block_variation(blocks: Sequence[Sequence[float]], widths: Sequence[Sequence[int]]) -> float:
    """Coefficient of variation of the medians of blocks, differences in length taken out.

    Each sample is divided by what its length usually takes, a parabola through the medians of the
    lengths, and the blocks' medians of these shares are compared: what is left is the machine.

    Args:
        blocks: B blocks of samples, any unit.
        widths: tokens of the calls of each block; a block repeats them a whole number of times.

    Returns:
        0..; 0 for a single block.

    >>> block_variation([[1.0, 2.0], [2.0, 1.0]], [[10, 20], [20, 10]])
    0.0
    """
    times = [np.asarray(block, dtype=np.float64) for block in blocks]
    sizes = [np.resize(np.asarray(width), len(block)) for width, block in zip(widths, times, strict=True)]
    usual = _usual(np.concatenate(times), np.concatenate(sizes))
    shares = [np.median(time / usual[size]) for time, size in zip(times, sizes, strict=True)]
    variation = coefficient_of_variation(np.array(shares))
    return 0.0 if variation < 1e-12 else variation


def remarks(answer: Mapping[str, Any], cv: float, environment: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the figures.

    Args:
        answer: one model's part of the worker's answer, with ``stopped`` of the whole, and ``left`` where a
            provider left nodes to another.
        cv: from ``block_variation``.
        environment: with ``load_average`` (None where the system has none) and ``usable_cores``.
    """
    notes = []
    if cv > CV_LIMIT:
        notes.append(
            f"block medians vary by {cv:.1%} (limit {CV_LIMIT:.1%}): something else uses this machine; "
            "stop it or raise min_seconds"
        )
    if answer.get("left"):
        notes.append(
            f"{environment['provider']} does not take every node; the rest ran in CPUExecutionProvider"
        )
    calls = len(answer["samples_ms"])
    if answer["preemptions"] > calls * PREEMPTION_LIMIT:
        notes.append(f"another program took the core {answer['preemptions']} times in {calls} calls")
    load, cores = environment["load_average"], environment["usable_cores"]
    if load is not None and load > cores:
        notes.append(f"load average {load:.1f} on {cores} usable cores when the measurement began")
    if environment["governor"] not in (None, "performance"):
        notes.append(
            f"cpu governor is {environment['governor']}: clock speed may change; performance is steadier"
        )
    if not answer["warm"]:
        notes.append(f"not steady after {answer['warmup_runs']} warm-up calls; raise max_seconds")
    if answer["stopped"]:
        notes.append(
            f"stopped at max_seconds after {len(answer['samples_ms'])} calls, before min_runs or min_seconds"
        )
    return notes


def _usual(times: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Usual time by length, as a table indexed by length."""
    lengths = np.unique(sizes)
    medians = np.array([np.median(times[sizes == length]) for length in lengths])
    table = np.ones(int(lengths.max()) + 1)
    if len(lengths) <= FIT_DEGREE + 1:
        table[lengths] = medians
        return table
    scaled = lengths / lengths.max()
    weights = np.sqrt(np.array([(sizes == length).sum() for length in lengths])) / medians
    fitted = np.polyval(np.polyfit(scaled, medians, FIT_DEGREE, w=weights), scaled)
    table[lengths] = np.maximum(fitted, medians.min() / 2)
    return table
