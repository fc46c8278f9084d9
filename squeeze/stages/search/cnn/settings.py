"""What a search over CNNs is asked for and what it reports; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from squeeze.budget import BYTES, TIME, Units, read_limit
from squeeze.schema import Frozen

__all__ = ["CnnLimits", "CnnResult", "CnnRow", "CnnSearch", "Score", "SpaceName"]

SpaceName = Literal["resnet-cifar", "resnet-cifar-wide"]
Score = Literal["parameters", "macs", "random", "diswot", "diswot_relation", "diswot_semantic"]
COUNT = Units("", {"": 1.0, "k": 1e3, "M": 1e6})
UNITS: Mapping[str, Units] = {"parameters": COUNT, "macs": COUNT, "size": BYTES, "p50": TIME}
MOST_BLOCKS = 200  # of a stage; ResNet-1202, the deepest that was published for CIFAR
EXAMPLE = "write budgets like parameters=280k, macs=40M, size=300KB or p50=3ms"


class CnnLimits(Frozen):
    """What a network must keep; None: not asked for."""

    parameters: float | None = None
    """trained values"""
    macs: float | None = None
    """multiply-accumulates of one image"""
    size: float | None = None
    """int8 weights, in units of 1,000,000 bytes"""
    p50: float | None = None
    """median latency of the exported fp32 graph on this machine, milliseconds; measured"""

    @classmethod
    def read(cls, texts: list[str]) -> Self:
        """Limits as they are written on the command line, the last one of a figure counts.

        Raises:
            UsageError: one of them cannot be read.

        >>> CnnLimits.read(["parameters=280k", "size=300KB"]).plain()
        {'parameters': 280000.0, 'macs': None, 'size': 0.3, 'p50': None}
        """
        return cls(**dict(read_limit(text, UNITS, EXAMPLE) for text in texts))

    def violation(self, figures: Mapping[str, float]) -> float:
        """The largest excess of some figures, as a share of the limit; 0 within all of them.

        >>> CnnLimits(macs=40e6).violation({"macs": 50e6, "parameters": 1e9})
        0.25
        """
        limits: dict[str, float | None] = {name: getattr(self, name) for name in figures}
        pairs = ((value, limits[name]) for name, value in figures.items())
        return max([0.0, *(value / limit - 1 for value, limit in pairs if limit is not None)])


class CnnSearch(Frozen):
    """All that a search over CNNs depends on."""

    images: Path
    """folder of class folders, or an .npz file"""
    space: SpaceName = "resnet-cifar"
    """named space"""
    limits: CnnLimits = CnnLimits()
    """what lies outside is never scored"""
    score: Score = "parameters"
    """what the networks are ranked by"""
    teacher: tuple[int, ...] = Field(default=(9, 9, 9), min_length=3, max_length=3)
    """blocks of each of the teacher's stages, of 16, 32 and 64 channels"""
    batch: int = Field(default=64, ge=2, le=4096)
    """images that networks are compared on"""
    starts: int = Field(default=5, ge=5, le=1000)
    """random starts of each network that are averaged"""
    trials: int = Field(default=200, ge=1, le=1_000_000)
    """networks that are proposed; where the budget leaves no more than that, all of them are looked at"""
    population: int = Field(default=30, ge=2, le=100_000)
    """networks of one generation"""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """of images, starts and proposals"""
    workers: int = Field(default=1, ge=1, le=256)
    """processes that score"""
    storage: str | None = None
    """database of the trials, as an Optuna URL; a file of the output folder by default"""

    @model_validator(mode="after")
    def _stages_have_blocks(self) -> Self:
        if min(self.teacher) < 1 or max(self.teacher) > MOST_BLOCKS:
            raise ValueError(f"`teacher` needs 1 to {MOST_BLOCKS} blocks in each stage, got {self.teacher}")
        return self

    @model_validator(mode="after")
    def _latency_is_measured_alone(self) -> Self:
        if self.limits.p50 is not None and self.workers > 1:
            raise ValueError("`workers` must be 1 with a budget on p50: networks are timed one by one")
        return self


class CnnRow(Frozen):
    """One network that was scored."""

    name: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    parameters: int
    macs: int
    int8_bytes: int
    p50_ms: float | None
    scores: Mapping[str, float]
    front: bool


class CnnResult(Frozen):
    """What a search over CNNs reports."""

    space: SpaceName
    limits: CnnLimits
    score: Score
    semantic: Literal["paper", "extension"]
    """which semantic distance: the paper's where all last layers are as wide as the teacher's"""
    candidates: int
    """in the space"""
    inside: int
    """of these, within the limits that are counted and not measured"""
    chosen: CnnRow
    """highest score; of equals the cheapest"""
    rows: tuple[CnnRow, ...]
    """all that were scored, the best first"""
    seconds: Mapping[str, float]
    """by part; of this run, where an earlier one was cut short"""


assert set(UNITS) == set(CnnLimits.model_fields)
