"""Measure the exported files on a target, in a fresh process each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from squeeze.artifact import Artifact, digest_json
from squeeze.errors import MissingBackend, StageFailed
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work
from squeeze.targets.devices.address import Adb, Gpu, Ssh, parse, timed
from squeeze.targets.measurement import Estimate, Measurement
from squeeze.targets.subjects import Subject

__all__ = ["STAGE", "BenchConfig", "BenchResult", "BenchSection", "TeacherTime"]


class BenchSection(Frozen):
    """The `[bench]` section."""

    targets: tuple[str, ...] = Field(default=("cpu",), min_length=1, max_length=64)
    """where to measure, one after the other: `cpu` and `gpu` of this machine, `ssh:[USER@]HOST[:PORT]`,
    `adb[:SERIAL]`"""
    threads: int = Field(default=1, ge=1, le=1024)
    """threads inside one operator; never more than the usable cores of a target"""
    batch: int = Field(default=1, ge=1, le=4096)
    """texts a call"""
    sequence: int | None = Field(default=None, ge=1, le=4096)
    """tokens a text; the validation text's own lengths by default"""
    min_runs: int = Field(default=200, ge=10, le=1_000_000)
    """least number of timed calls"""
    min_seconds: float = Field(default=3.0, ge=0, le=86_400)
    """least time of timed calls, in seconds"""
    max_seconds: float = Field(default=60.0, gt=0, le=86_400)
    """most time for one file, warm-up included, in seconds"""
    starts: int = Field(default=3, ge=1, le=1000)
    """fresh processes that load each file, for load time, first inference and peak memory"""
    teacher: bool = True
    """on target `cpu`, also time the teacher as fp32 ONNX in turns with the files; no budget judges it"""

    @field_validator("targets")
    @classmethod
    def _have_latencies(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        return timed(targets)

    @model_validator(mode="after")
    def _a_target_has_threads(self) -> Self:
        if self.threads > 1 and set(self.targets) == {"gpu"}:
            raise ValueError(f"`threads` {self.threads}: no effect on a GPU, the only one of `targets`")
        return self


class BenchConfig(Frozen):
    """All that the bench stage depends on."""

    seed: int
    bench: BenchSection


class TeacherTime(Frozen):
    """How long the teacher takes beside the exported files, on this machine's cpu."""

    runtime: Literal["fp32 ONNX", "PyTorch"]
    """what it ran in: PyTorch where no ONNX file of it can be made"""
    members: int = 1
    """teachers of the run; the first one was timed, all of them take longer"""
    size_bytes: int
    """of the file that was timed"""
    p50_ms: Estimate
    p95_ms: Estimate
    calls: int
    """timed calls"""
    disturbed: bool = False
    """whether other programs may have slowed its calls, which are long: the ratios may then be too large"""
    speedups: Mapping[str, Estimate]
    """by form: how many times as fast as the teacher; an interval where they ran in turns"""


class BenchResult(Frozen):
    """What the bench stage reports; raw samples stand in measurements.json."""

    measurements: tuple[Measurement, ...]
    teacher: TeacherTime | None = None
    """None where it was not asked for, or could not be timed"""
    warnings: tuple[str, ...] = ()


def run(config: BenchConfig, inputs: Mapping[str, Artifact], work: Work) -> BenchResult:
    """See run.py."""
    from squeeze.stages.bench import run as implementation

    return implementation.run(config, inputs, work)


def needs(config: BenchConfig) -> None:
    """A GPU or a device must be there before the teacher is trained."""
    for target in config.bench.targets:
        address = parse(target)
        if isinstance(address, Gpu):
            _gpu()
        elif isinstance(address, Adb | Ssh):
            from squeeze.targets.devices.reaching import require
            from squeeze.targets.devices.visiting import Habits

            require(address, Habits())


def sources(config: BenchConfig) -> dict[str, str]:
    """Which GPU and which devices stand behind the names: figures of another one are other figures."""
    found = {}
    for target in config.bench.targets:
        if target != "cpu":  # this machine is in the key already
            found[f"device behind {target}"] = _behind(target)
    return found


def _behind(target: str) -> str:
    """Digest of what a target is now."""
    address = parse(target)
    try:
        if isinstance(address, Gpu):
            return digest_json(_gpu())
        from squeeze.targets.devices.reaching import identity
        from squeeze.targets.devices.visiting import Habits

        return identity(address, Habits())
    except (MissingBackend, StageFailed):  # `plan` may look at a profile whose devices are switched off
        return "not reachable"


def _gpu() -> Mapping[str, Any]:
    """What this machine's GPU is, asked for a file that is not there yet: its kind is all that matters."""
    from squeeze.targets import gpu

    return gpu.find((Subject(Path("model.onnx"), "model.onnx"),), gpu.Pinned()).facts


STAGE = Stage(
    name="bench",
    section="bench",
    version=3,
    takes={"bundle": "bundle"},
    may_take={"teacher": "teacher"},
    gives="measurements",
    config=BenchConfig,
    result=BenchResult,
    run=run,
    libraries=("onnxruntime",),
    per_device=True,
    sources=sources,
    needs=needs,
)
