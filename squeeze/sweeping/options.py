"""How to sweep, and how that is written on the command line."""

from __future__ import annotations

import re

from pydantic import Field, ValidationInfo, field_validator

from squeeze.budget import TIME, read_limit
from squeeze.errors import UsageError, brief
from squeeze.runtime import usable_cores
from squeeze.schema import Frozen
from squeeze.sweeping.records import Place
from squeeze.targets.devices.address import Adb, Cpu, Ssh, parse
from squeeze.targets.quantiles import QUANTILES
from squeeze.targets.subjects import Subject

__all__ = ["OWN", "Limit", "SweepOptions", "parse_counts", "parse_lengths", "parse_limit", "places"]

OWN = "own"
EXAMPLE = "write --limit p95=10ms"


class Limit(Frozen):
    """A latency that must be kept."""

    figure: str
    """p50, p90, p95 or p99"""
    limit_ms: float


class SweepOptions(Frozen):
    """How to sweep."""

    target: str = "cpu"
    """cpu, adb[:SERIAL] or ssh:[USER@]HOST[:PORT]"""
    device_dir: str | None = None
    """on a device: the folder for our files"""
    threads: tuple[int, ...] = Field(default=(1,), min_length=1)
    """threads inside one operator"""
    batch: tuple[int, ...] = Field(default=(1, 4, 16), min_length=1)
    """texts a call"""
    sequence: tuple[int | None, ...] = Field(default=(16, 64, 128), min_length=1)
    """tokens a text; None: own lengths"""
    passes: int = Field(default=6, ge=1, le=100)
    """walks over the grid; 6 or more, or there are no intervals of what differs between them"""
    min_runs: int = Field(default=200, ge=10, le=10_000_000)
    """timed calls of a point at least, all passes together"""
    min_seconds: float = Field(default=1.5, ge=0, le=86_400)
    """seconds of timed calls of a point at least, all passes together"""
    max_seconds: float = Field(default=60.0, gt=0, le=86_400)
    """most seconds for a point, warm-up included, all passes together"""
    limit: Limit | None = None
    repeats: int = Field(default=7, ge=1, le=100)
    """cold starts, and as many warm ones"""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """of inputs and order"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """of the intervals"""

    @field_validator("target")
    @classmethod
    def _can_be_swept(cls, text: str) -> str:
        try:
            address = parse(text)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error  # pydantic names the option
        match address:
            case Cpu() | Adb() | Ssh():
                return str(address)
            case _:
                raise ValueError(f"{text}: a grid is swept on cpu, adb[:SERIAL] or ssh:[USER@]HOST[:PORT]")

    @field_validator("threads")
    @classmethod
    def _there_are_cores(cls, threads: tuple[int, ...], told: ValidationInfo) -> tuple[int, ...]:
        # A device says itself how many it has.
        if told.data.get("target") == "cpu" and max(threads) > usable_cores():
            raise ValueError(f"{max(threads)}: this process may use {usable_cores()} cores")
        return threads


def places(options: SweepOptions, subject: Subject) -> tuple[Place, ...]:
    """All points; the own lengths of a bundle that knows them are among them."""
    lengths = list(dict.fromkeys(options.sequence))
    if subject.lengths and None not in lengths:
        lengths.append(None)
    return tuple(
        Place(threads=threads, batch=batch, sequence=length)
        for threads in options.threads
        for batch in options.batch
        for length in lengths
    )


def parse_counts(text: str, option: str) -> tuple[int, ...]:
    """Read numbers as they are written on the command line, in order and each once.

    Raises:
        UsageError: not numbers above 0 with commas between them.

    >>> parse_counts("4,1,16,4", "--batch")
    (1, 4, 16)
    """
    if not re.fullmatch(r"\s*[1-9][0-9]{0,6}\s*(,\s*[1-9][0-9]{0,6}\s*)*", text):
        raise UsageError(
            f"{option} {brief(text, 80)!r}: not numbers above 0 with commas between them",
            hint=f"for example {option} 1,4",
        )
    return tuple(sorted({int(word) for word in text.split(",")}))


def parse_lengths(text: str) -> tuple[int | None, ...]:
    """Read lengths, of which one may be `own`.

    >>> parse_lengths("64,own,16")
    (16, 64, None)
    """
    words = [word.strip() for word in text.split(",")]
    counts = [word for word in words if word != OWN]
    numbers = parse_counts(",".join(counts), "--seq") if counts or OWN not in words else ()
    return (*numbers, None) if OWN in words else numbers


def parse_limit(text: str) -> Limit:
    """Read a limit.

    Raises:
        UsageError: not p95=10ms.

    >>> parse_limit("p95=10ms")
    Limit(figure='p95', limit_ms=10.0)
    """
    figure, limit = read_limit(text, dict.fromkeys(QUANTILES, TIME), EXAMPLE)
    return Limit(figure=figure, limit_ms=limit)
