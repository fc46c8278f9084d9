"""Measure the exported files on a target, in a fresh process each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from squeeze.artifact import Artifact
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work
from squeeze.targets.measurement import Measurement

__all__ = ["STAGE", "BenchConfig", "BenchResult", "BenchSection"]


class BenchSection(Frozen):
    """The `[bench]` section."""

    targets: tuple[Literal["cpu"], ...] = Field(default=("cpu",), min_length=1)
    """where to measure"""
    threads: int = Field(default=1, ge=1)
    """threads inside one operator; never more than the usable cores"""
    batch: int = Field(default=1, ge=1)
    """texts a call"""
    sequence: int | None = Field(default=None, ge=1)
    """tokens a text; the validation text's own lengths by default"""
    min_runs: int = Field(default=200, ge=10)
    """least number of timed calls"""
    min_seconds: float = Field(default=3.0, ge=0)
    """least time of timed calls, in seconds"""
    max_seconds: float = Field(default=60.0, gt=0)
    """most time for one file, warm-up included, in seconds"""
    starts: int = Field(default=3, ge=1)
    """fresh processes that load each file, for load time, first inference and peak memory"""


class BenchConfig(Frozen):
    """All that the bench stage depends on."""

    seed: int
    bench: BenchSection


class BenchResult(Frozen):
    """What the bench stage reports; raw samples stand in measurements.json."""

    measurements: tuple[Measurement, ...]


def run(config: BenchConfig, inputs: Mapping[str, Artifact], work: Work) -> BenchResult:
    """See run.py."""
    from squeeze.stages.bench import run as implementation

    return implementation.run(config, inputs, work)


STAGE = Stage(
    name="bench",
    section="bench",
    version=1,
    takes={"bundle": "bundle"},
    gives="measurements",
    config=BenchConfig,
    result=BenchResult,
    run=run,
    libraries=("onnxruntime",),
    per_device=True,
)
