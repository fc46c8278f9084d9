"""What a sweep is: plain records, one JSON document with a version.

Times are milliseconds, sizes bytes. Raw samples are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from squeeze.schema import Document, Frozen
from squeeze.targets.limits import Verdict
from squeeze.targets.measurement import Estimate, LengthSummary, Measurement

__all__ = ["VERSION", "Choice", "Cold", "Energy", "Place", "Point", "Start", "SweepReport", "Texts"]

VERSION: Final = 1


class Place(Frozen):
    """One point of the grid."""

    threads: int
    """threads inside one operator"""
    batch: int
    """texts a call"""
    sequence: int | None = None
    """tokens a text; None: the lengths that the model or its bundle knows"""

    def __str__(self) -> str:
        """As messages name it."""
        length = "own lengths" if self.sequence is None else f"{self.sequence} tokens"
        return f"threads {self.threads}, batch {self.batch}, {length}"


class Energy(Frozen):
    """Energy of one point, of the whole processor package."""

    joules_per_call: Estimate
    """median and range of the rounds"""
    above_idle_per_call: Estimate
    """the same without what the package takes in the same time while this process sleeps"""
    idle_watts: float
    calls: int
    zones: tuple[str, ...]


class Point(Frozen):
    """What was found at one point."""

    place: Place
    measurement: Measurement | None = None
    """all passes together; each pass is a block of it. None where it could not be measured"""
    error: str | None = None
    """why it could not"""
    throughput: Estimate | None = None
    """texts a second, one call after the other; no interval for fewer than 6 passes"""
    efficiency: Estimate | None = None
    """texts a second against threads times those of one thread; 1 is ideal, None where one thread was not
    measured"""
    energy: Energy | None = None


class Choice(Frozen):
    """The fastest point under a limit."""

    figure: str
    limit_ms: float
    verdict: Verdict
    """pass: there is one; fail: all are too slow; inconclusive: none is surely fast enough"""
    best: Place | None
    """most texts a second of those whose interval lies below the limit"""
    equals: tuple[Place, ...] = ()
    """others below the limit whose texts a second cannot be told from the best one's"""
    undecided: tuple[Place, ...] = ()
    """whose interval holds the limit, or whose calls were disturbed"""


class Start(Frozen):
    """One fresh process on its way to a first answer."""

    state: Literal["cold", "warm"]
    """whether the page cache had been told to forget the files"""
    steps_ms: Mapping[str, float]
    """process, import, tokenizer, load, inputs, first"""
    resident_bytes: int
    """of the files in the page cache just before"""

    @property
    def total_ms(self) -> float:
        """All steps."""
        return sum(self.steps_ms.values())


class Cold(Frozen):
    """First answers of fresh processes with and without the files in the page cache."""

    files: tuple[str, ...]
    """whose pages were dropped"""
    file_bytes: int
    starts: tuple[Start, ...]
    figures: Mapping[str, Mapping[str, Estimate]]
    """by state and step, `total` too: the median, with its interval from 6 starts on"""
    ratio: Estimate | None
    """total of a cold start over that of a warm one; the median of pairs"""
    notes: tuple[str, ...] = ()


class Texts(Frozen):
    """From text to label."""

    source: str
    """where the texts came from"""
    texts: int
    cut: int
    """texts longer than the model reads"""
    runs: int
    sequence: LengthSummary
    labels: Mapping[str, int]
    """how many texts got which label"""
    figures: Mapping[str, Mapping[str, Estimate]]
    """by step (tokenize, run, label, total) and quantile (p50, p95)"""
    tokenizer_share: float
    """of the whole time, 0..1"""
    samples_ms: Mapping[str, tuple[float, ...]]
    """of each step, in the order of the calls"""
    block_widths: tuple[tuple[int, ...], ...]
    """tokens of each call of each block"""
    preemptions: int
    notes: tuple[str, ...] = ()


class SweepReport(Document):
    """The JSON document of `squeeze sweep`."""

    called: ClassVar[str] = "sweep report"
    made_by: ClassVar[str] = "squeeze sweep MODEL --json > sweep.json"

    kind: Literal["sweep-report"] = "sweep-report"
    version: Literal[1] = VERSION
    name: str
    form: str | None
    sha256: str
    size_bytes: int
    confidence: float
    passes: int
    """walks over the grid"""
    seed: int
    points: tuple[Point, ...] = ()
    choice: Choice | None = None
    cold: Cold | None = None
    texts: Texts | None = None
    energy_note: str | None = None
    """why energy was asked for and is not there"""
    environment: Mapping[str, Any]
    """machine, system and libraries"""
