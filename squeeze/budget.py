"""What the finished artefact must keep: the search looks for a student inside it, the gate holds it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from squeeze.errors import UsageError, brief
from squeeze.schema import Frozen, Grown

__all__ = [
    "AT_LEAST",
    "BYTES",
    "TIME",
    "UNITS",
    "Budget",
    "BudgetSection",
    "Units",
    "parse_budget",
    "read_bytes",
    "read_limit",
]

LEAST_MB, MOST_MB = 150.0, 1e9
"""Of a measuring process: what Python and ONNX Runtime take, and a petabyte."""


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


Figure = Literal["p50", "p90", "p95", "p99", "load", "first", "size", "rss", "throughput", "speedup"]
LATENCIES = ("p50", "p90", "p95", "p99")
RELATIVE = (*LATENCIES, "load", "first", "size", "rss")
"""What can be held against the baseline's."""
AT_LEAST = ("throughput", "speedup")
"""What must reach its limit; all else must not exceed it."""
TIMES, REFERENCES = "x", "ref"
UNITS: Mapping[str, Units] = {
    **dict.fromkeys((*LATENCIES, "load", "first"), TIME),
    **dict.fromkeys(("size", "rss"), BYTES),
    "throughput": Units("/s", {"/s": 1.0}),
    "speedup": Units("x", {"x": 1.0}),
}
MOST_SHOWN = 80  # characters of what was written, in a message
EXAMPLE = (
    "write budgets like p95=5ms, size=8MB, rss=200MB, load=300ms, throughput=100/s, speedup=2x, "
    "p50<=1.05x (of the baseline) or p50<=1.8ref (of the reference workload)"
)


class BudgetSection(Grown):
    """The `[budget]` section: what the artefact must keep; what is left out is not judged."""

    later: ClassVar[frozenset[str]] = frozenset({"scores", "target"})

    form: str | None = None
    """which exported form is judged; the last one of `[export] forms` by default"""
    target: str | None = None
    """which of `[bench] targets` latency, load time and memory are judged on; all of them by default"""
    p50_ms: float | None = Field(default=None, gt=0, le=1e9)
    """median latency, milliseconds"""
    p95_ms: float | None = Field(default=None, gt=0, le=1e9)
    """95th percentile of latency, milliseconds"""
    p99_ms: float | None = Field(default=None, gt=0, le=1e9)
    """99th percentile of latency, milliseconds"""
    load_ms: float | None = Field(default=None, gt=0, le=1e9)
    """time to open the model, milliseconds"""
    size_mb: float | None = Field(default=None, gt=0, le=1e9)
    """model file and tokenizer.json together, in units of 1,000,000 bytes"""
    rss_mb: float | None = Field(default=None, gt=0, le=1e9)
    """peak memory of the measuring process, in units of 1,000,000 bytes"""
    accuracy: float | None = Field(default=None, ge=0, le=1)
    """least accuracy on the test split, 0..1"""
    macro_f1: float | None = Field(default=None, ge=0, le=1)
    """least macro-F1 on the test split, 0..1"""
    retention: float | None = Field(default=None, ge=0, le=2)
    """least share of the teacher's primary score on the test split"""
    agreement: float | None = Field(default=None, ge=0, le=1)
    """least share of test texts with the teacher's label"""
    scores: Mapping[str, float] = Field(default_factory=dict)
    """limits of other scores of the task on the test split, such as `{ micro_f1 = 0.5 }`: the least value, or
    the largest of `ece` and `rmse`"""
    recall: Mapping[str, float] = Field(default_factory=dict)
    """least recall of single labels on the test split, 0..1"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """confidence of the latency intervals; a limit inside its interval is inconclusive"""


class Budget(Frozen):
    """One limit, in milliseconds, megabytes (1,000,000 bytes), texts a second, times or reference units."""

    figure: Figure
    limit: float = Field(gt=0)
    relative_to: Literal["baseline", "reference"] | None = None
    """what the limit is a multiple of: the same figure of that model; None for a limit of its own"""

    @property
    def unit(self) -> str:
        """The unit that the limit is kept in."""
        own = UNITS[self.figure].kept
        return {"baseline": TIMES, "reference": REFERENCES}.get(self.relative_to or "", own)


def parse_budget(text: str) -> Budget:
    """Read a budget as it is written on the command line.

    Raises:
        UsageError: not NAME=NUMBER UNIT, an unknown name or unit, or a limit that is not above 0.

    >>> parse_budget("p95=5ms")
    Budget(figure='p95', limit=5.0, relative_to=None)
    >>> parse_budget("load<=0.3s").limit, parse_budget("size=8 MB").unit
    (300.0, 'MB')
    >>> parse_budget("p50<=1.05x").relative_to, parse_budget("p50<=1.8ref").relative_to
    ('baseline', 'reference')
    """
    written = _read(
        text, {name: _with_multiples(name, units) for name, units in UNITS.items()}, EXAMPLE, AT_LEAST
    )
    related = {TIMES: "baseline", REFERENCES: "reference"} if written.name != "speedup" else {}
    return Budget.parse(
        {"figure": written.name, "limit": written.limit, "relative_to": related.get(written.unit)}
    )


def _with_multiples(name: str, units: Units) -> Units:
    """The units of a figure with the multiples that it may be held to."""
    more = {TIMES: 1.0} if name in RELATIVE else {}
    more |= {REFERENCES: 1.0} if name in LATENCIES else {}
    return Units(units.kept, {**units.factors, **more})


def read_limit(text: str, units: Mapping[str, Units], example: str) -> tuple[str, float]:
    """Read one limit as it is written on the command line.

    Args:
        text: NAME=NUMBER UNIT, or with <=; the unit may be left out where one of the figure's units is "".
        units: of every figure that may be named.
        example: what to write, for the hint.

    Returns:
        The figure, and the limit in the unit that it is kept in.

    Raises:
        UsageError: not NAME=NUMBER UNIT, an unknown name or unit, or a limit that is not above 0.

    >>> read_limit("load=0.3s", {"load": TIME}, "write load=300ms")
    ('load', 300.0)
    """
    written = _read(text, units, example)
    return written.name, written.limit


@dataclass(frozen=True)
class _Written:
    name: str
    limit: float
    unit: str


def _read(text: str, units: Mapping[str, Units], example: str, at_least: Collection[str] = ()) -> _Written:
    """One limit with the unit it was written in, as that is spelled in ``units``."""
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|=)\s*([0-9]*\.?[0-9]+)\s*([A-Za-z/]*)\s*", text)
    if not found:
        raise UsageError(f"budget {brief(text, MOST_SHOWN)!r}: not NAME=NUMBER UNIT", hint=example)
    name, sign, number, unit = found.groups()
    if name not in units:
        near = difflib.get_close_matches(name, units, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(units)}"
        raise UsageError(f"budget {brief(text, MOST_SHOWN)!r}: no figure is called {name}", hint=hint)
    if sign == ("<=" if name in at_least else ">="):
        wanted = "at least" if name in at_least else "at most"
        raise UsageError(
            f"budget {brief(text, MOST_SHOWN)!r}: {name} must be {wanted} its limit", hint=f"write {name}=..."
        )
    known = {each.lower(): (factor, each) for each, factor in units[name].factors.items()}
    if unit.lower() not in known:
        given = f"unknown unit {unit}" if unit else "no unit"
        names = [each for each in units[name].factors if each]
        raise UsageError(
            f"budget {brief(text, MOST_SHOWN)!r}: {given}", hint=f"{name} takes {', '.join(names)}"
        )
    factor, spelled = known[unit.lower()]
    limit = float(number) * factor
    if not 0 < limit < math.inf:
        raise UsageError(f"budget {brief(text, MOST_SHOWN)!r}: the limit must be above 0 and finite")
    return _Written(name, limit, spelled)


def read_bytes(text: str, option: str) -> int:
    """Read an amount of memory as it is written on the command line.

    Args:
        text: NUMBER UNIT.
        option: that it was given with.

    Raises:
        UsageError: no such number or unit, less than Python and ONNX Runtime take, or more
            than any machine has.

    >>> read_bytes("1.5 GB", "--max-memory")
    1500000000
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]+)\s*", text)
    factors = {name.lower(): factor for name, factor in BYTES.factors.items()}
    megabytes = float(found[1]) * factors.get(found[2].lower(), 0.0) if found else 0.0
    if not LEAST_MB <= megabytes <= MOST_MB:
        raise UsageError(
            f"{option} {brief(text, MOST_SHOWN)}: not an amount of memory "
            f"from {LEAST_MB:g} MB to {MOST_MB / 1e6:g} TB",
            hint=f"{option} 8GB",
        )
    return int(megabytes * 1e6)
