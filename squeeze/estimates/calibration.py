"""What `squeeze device calibrate` finds on a device, as a document that is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, field_validator

from squeeze.artifact import write_json
from squeeze.estimates.rates import Rates
from squeeze.estimates.work import KINDS
from squeeze.schema import Document, Frozen

__all__ = ["VERSION", "Calibration", "Sample", "home", "name_of", "stored", "write"]

VERSION: Final = 1


class Sample(Frozen):
    """One graph at one length, as it was measured."""

    graph: str
    form: str
    length: int
    """tokens"""
    ms: float = Field(gt=0)
    fitted_ms: float = Field(gt=0)
    """what the rates say about it"""
    unseen_ms: float | None = Field(default=None, gt=0)
    """of whole encoders: what rates say that were fitted without this encoder"""


class Calibration(Document):
    """How fast one device is."""

    called: ClassVar[str] = "calibration"
    made_by: ClassVar[str] = "squeeze device calibrate TARGET --out FILE.json"

    kind: Literal["device-calibration"] = "device-calibration"
    version: Literal[1] = VERSION
    target: str
    """where it was measured"""
    threads: int = Field(ge=1)
    environment: Mapping[str, Any]
    """device, system and libraries"""
    rates: Rates
    spread: float = Field(gt=1, le=1000)
    """an estimate's interval is its middle divided by this to its middle times this"""
    samples: tuple[Sample, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    """why the figures may not be trusted"""

    @field_validator("rates")
    @classmethod
    def _has_every_kind(cls, rates: Rates) -> Rates:
        if missing := [kind for kind in KINDS if kind not in rates.kinds]:
            raise ValueError(f"no rate for {', '.join(missing)}")
        return rates

    @property
    def source(self) -> str:
        """In words."""
        cpu = self.environment.get("cpu") or "a processor without a name"
        runtime = self.environment.get("onnxruntime") or "?"
        return (
            f"calibrated on {self.target} ({cpu}, onnxruntime {runtime}, {self.threads} "
            f"thread{'s' if self.threads > 1 else ''}): {len(self.samples)} samples, x/{self.spread:.2f} to "
            f"x{self.spread:.2f}"
        )


def home() -> Path:
    """Where calibrations are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "squeeze" / "calibrations"


def name_of(target: str) -> str:
    """The name under which a target's calibration is kept and asked for.

    >>> name_of("ssh:pi@board:2222"), name_of("cpu")
    ('ssh-pi-board-2222', 'cpu')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", target).strip("-.")


def stored(folder: Path) -> dict[str, Path]:
    """Files of a folder by name, in alphabetic order; they are not read."""
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def write(found: Calibration, path: Path) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found.plain())
