"""Measurements out of made-up samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from squeeze.targets.measurement import Comparison, Estimate, MachineState, Measurement
from squeeze.targets.quantiles import QUANTILES, estimate

QUIET = MachineState(
    seconds=4.0,
    cores=(1,),
    other_load=0.001,
    steal=0.0,
    clock_mhz=(3000.0, 3010.0),
    clock_limit_mhz=3200.0,
    thermal_throttles=0,
    cpu_waiting=0.1,
    memory_waiting=0.0,
    swapped_pages=0,
    major_faults=0,
    quota_cores=None,
    throttled_periods=None,
    throttled_s=None,
    timer_ns=50,
)
"""A machine on which nothing else went on."""


def measurement(
    name: str = "model.onnx",
    *,
    blocks: Sequence[Sequence[float]] = ((1.0,) * 20,) * 20,
    cpu: str = "cpu",
    **changed: Any,
) -> Measurement:
    samples = tuple(sample for block in blocks for sample in block)
    facts = {
        "name": name,
        "file": "model.onnx",
        "sha256": "0" * 64,
        "size_bytes": 2_000_000,
        "tokenizer_bytes": 500_000,
        "threads": 1,
        "spinning": True,
        "batch": 1,
        "inputs": {"input_ids": "tensor(int64) [batch, sequence]"},
        "load_ms": 20.0,
        "loads_ms": (15.0, 20.0, 30.0),
        "first_ms": 2.0,
        "firsts_ms": (2.0, 2.0, 2.0),
        "rss_bytes": 80_000_000,
        "rss_baseline_bytes": 50_000_000,
        "warmup_runs": 20,
        "warm": True,
        "samples_ms": samples,
        "block_widths": tuple((8,) * len(block) for block in blocks),
        "runs": len(samples),
        "confidence": 0.95,
        "throughput_per_s": 1e3 * len(samples) / sum(samples),
        "cv": 0.01,
        "preemptions": 0,
        "environment": {"cpu": cpu, "machine": "x", "onnxruntime": "1"},
        **{key: estimate(blocks, share, 0.95) for key, share in QUANTILES.items()},
    }
    return Measurement(**{**facts, **changed})


def ends(interval: Estimate | Comparison) -> tuple[float, float]:
    """Both ends of an interval that must be there."""
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high
