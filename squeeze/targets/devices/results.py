"""What came of a model on a device; the kind of a result decides which figures it can have at all.

measured
    ``squeeze.targets.measurement.Measurement``: latency, load time, memory.
functional
    ``Functional``: what the outputs differ by from those of this machine. It has no field for a time.
estimated
    ``Estimated``: an interval of milliseconds and where it comes from. Its middle never stands alone.

Tables of latencies and budgets take ``Measurement`` alone: the others cannot be printed or judged as one.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from squeeze.schema import Frozen
from squeeze.targets.measurement import Measurement

__all__ = [
    "VERSION",
    "Difference",
    "EstimateReport",
    "Estimated",
    "Functional",
    "FunctionalReport",
    "Result",
]

VERSION: Final = 1


class Difference(Frozen):
    """How one output of a model on a device differs from the same output on this machine."""

    output: str
    """name"""
    largest: float = Field(ge=0)
    """largest absolute difference over all values of all golden inputs"""
    scale: float = Field(ge=0)
    """largest absolute value of the output on this machine"""
    unequal: int = Field(ge=0)
    """values whose bits differ"""
    values: int = Field(ge=0)
    """values compared"""

    @property
    def share(self) -> float:
        """Largest difference against the scale; 0 where both are zero."""
        return self.largest / self.scale if self.scale else float(self.largest > 0)


class Functional(Frozen):
    """A model that ran where time means nothing: on an emulated core."""

    kind: Literal["functional"] = "functional"
    target: str
    """where it ran, such as `qemu:cortex-a76`"""
    name: str
    """what the model is called in reports"""
    file: str
    """file name of the model, without its folder"""
    form: str | None = None
    """which form of a bundle it is"""
    sha256: str
    """digest of the model file"""
    onnxruntime: str
    """version that ran it there"""
    feeds: int
    """golden inputs that were compared"""
    limit: float
    """largest difference against the largest value of an output that passes"""
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether every value has the same bits as on this machine."""
        return not any(each.unequal for each in self.differences)


class Estimated(Frozen):
    """A latency that nobody measured: never less than an interval and its source."""

    kind: Literal["estimated"] = "estimated"
    target: str
    """the device, such as `estimate:pixel8`"""
    name: str
    """what the model is called in reports"""
    sha256: str
    """digest of the model file"""
    low_ms: float = Field(gt=0)
    """the lower end of the interval"""
    mid_ms: float = Field(gt=0)
    """the likeliest value between them"""
    high_ms: float = Field(gt=0)
    """its upper end"""
    tokens: int | None = Field(default=None, ge=1)
    """of each text; ignored by a model without a free length"""
    batch: int = Field(default=1, ge=1)
    """texts a call"""
    source: str = Field(min_length=1)
    """which figures of the device it was computed from, and where they come from"""
    notes: tuple[str, ...] = ()
    """why the interval may not be trusted"""

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if not self.low_ms < self.mid_ms < self.high_ms:
            found = f"{self.low_ms:g}, {self.mid_ms:g}, {self.high_ms:g}"
            raise ValueError(f"an estimate needs an interval, not {found} ms")
        return self


Result: TypeAlias = Annotated[Measurement | Functional | Estimated, Field(discriminator="kind")]


class FunctionalReport(Frozen):
    """What `squeeze bench` found on an emulated core."""

    version: Literal[1] = VERSION
    kind: Literal["functional"] = "functional"
    results: tuple[Functional, ...]


class EstimateReport(Frozen):
    """What `squeeze bench` says about a device that is not there."""

    version: Literal[1] = VERSION
    kind: Literal["estimated"] = "estimated"
    results: tuple[Estimated, ...]
