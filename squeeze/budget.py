"""What the finished artefact must keep: the search looks for a student inside it, the gate holds it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from squeeze.errors import UsageError
from squeeze.schema import Frozen

__all__ = ["BYTES", "TIME", "BudgetSection", "Units", "read_limit"]


@dataclass(frozen=True)
class Units:
    """The unit a figure is kept in, and how many of it every unit is that may be written."""

    kept: str
    factors: Mapping[str, float]


TIME = Units("ms", {"us": 1e-3, "ms": 1.0, "s": 1e3})
BYTES = Units(
    "MB",
    {"B": 1e-6, "KB": 1e-3, "MB": 1.0, "GB": 1e3, "KiB": 1.024e-3, "MiB": 1.048576, "GiB": 1073.741824},
)


class BudgetSection(Frozen):
    """The `[budget]` section: what the artefact must keep; what is left out is not judged."""

    form: str | None = None
    """which exported form is judged; the last one of `[export] forms` by default"""
    # Not in a stage's key where it is not set: searches from before this setting keep theirs.
    target: str | None = Field(default=None, exclude_if=lambda target: target is None)
    """which of `[bench] targets` latency, load time and memory are judged on; all of them by default"""
    p50_ms: float | None = Field(default=None, gt=0)
    """median latency, milliseconds"""
    p95_ms: float | None = Field(default=None, gt=0)
    """95th percentile of latency, milliseconds"""
    p99_ms: float | None = Field(default=None, gt=0)
    """99th percentile of latency, milliseconds"""
    load_ms: float | None = Field(default=None, gt=0)
    """time to open the model, milliseconds"""
    size_mb: float | None = Field(default=None, gt=0)
    """model file and tokenizer.json together, in units of 1,000,000 bytes"""
    rss_mb: float | None = Field(default=None, gt=0)
    """peak memory of the measuring process, in units of 1,000,000 bytes"""
    accuracy: float | None = Field(default=None, ge=0, le=1)
    """least accuracy on the test split, 0..1"""
    macro_f1: float | None = Field(default=None, ge=0, le=1)
    """least macro-F1 on the test split, 0..1"""
    retention: float | None = Field(default=None, ge=0, le=2)
    """least share of the teacher's macro-F1 on the test split"""
    agreement: float | None = Field(default=None, ge=0, le=1)
    """least share of test texts with the teacher's label"""
    recall: Mapping[str, float] = Field(default_factory=dict)
    """least recall of single labels on the test split, 0..1"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """confidence of the latency intervals; a limit inside its interval is inconclusive"""


def read_limit(text: str, units: Mapping[str, Units], example: str) -> tuple[str, float]:
    """Read one limit as it is written on the command line.

    Args:
        text: NAME=NUMBER UNIT; the unit may be left out where one of the figure's units is "".
        units: of every figure that may be named.
        example: what to write, for the hint.

    Returns:
        The figure, and the limit in the unit that it is kept in.

    Raises:
        UsageError: not NAME=NUMBER UNIT, an unknown name or unit, or a limit that is not above 0.

    >>> read_limit("load=0.3s", {"load": TIME}, "write load=300ms")
    ('load', 300.0)
    """
    found = re.fullmatch(r"\s*(\w+)\s*=\s*([0-9]*\.?[0-9]+)\s*([A-Za-z/]*)\s*", text)
    if not found:
        raise UsageError(f"budget {text!r}: not NAME=NUMBER UNIT", hint=example)
    name, number, unit = found.groups()
    if name not in units:
        near = difflib.get_close_matches(name, units, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(units)}"
        raise UsageError(f"budget {text!r}: no figure is called {name}", hint=hint)
    known = {each.lower(): factor for each, factor in units[name].factors.items()}
    if unit.lower() not in known:
        given = f"unknown unit {unit}" if unit else "no unit"
        names = [each for each in units[name].factors if each]
        raise UsageError(f"budget {text!r}: {given}", hint=f"{name} takes {', '.join(names)}")
    limit = float(number) * known[unit.lower()]
    if not 0 < limit < math.inf:
        raise UsageError(f"budget {text!r}: the limit must be above 0 and finite")
    return name, limit
