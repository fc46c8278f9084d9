"""What a measurement is: plain records, light enough for every command to load.

Times are milliseconds, memory and sizes are bytes. Raw samples are kept, everything else can be
computed again from them. A report is one JSON document with a version number; a later version reads
an earlier one or says that it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import fmean, median
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field

from squeeze.schema import Document, Frozen

__all__ = [
    "MEASUREMENTS",
    "VERSION",
    "Comparison",
    "Estimate",
    "LengthSummary",
    "MachineState",
    "Measurement",
    "Report",
    "Rounds",
]

VERSION: Final = 1
MEASUREMENTS: Final = "measurements.json"
"""File of the bench stage's report."""


class Estimate(Frozen):
    """A quantile of the samples with its confidence interval; no interval when the samples are too few."""

    value: float
    """the figure, in the unit that the field holding it names"""
    low: float | None = None
    """lower end of the interval"""
    high: float | None = None
    """upper end of the interval"""


class LengthSummary(Frozen):
    """How long the inputs were, in tokens a call (padding included)."""

    calls: int
    """how many calls are counted"""
    minimum: int
    """the shortest, in tokens"""
    median: float
    """in tokens"""
    mean: float
    """in tokens"""
    maximum: int
    """the longest, in tokens"""

    @classmethod
    def of(cls, widths: Sequence[int]) -> Self:
        """Of the tokens of each call, at least one."""
        return cls(
            calls=len(widths),
            minimum=min(widths),
            median=float(median(widths)),
            mean=float(fmean(widths)),
            maximum=max(widths),
        )


class MachineState(Frozen):
    """What else went on while the models of a measurement were timed; None for what cannot be read."""

    seconds: float
    """between the two readings"""
    cores: tuple[int, ...]
    """that the measuring process could run on"""
    other_load: float | None
    """share of these cores' time that other programs used, 0..1"""
    steal: float | None
    """share of these cores' time in which the hypervisor ran something else"""
    clock_mhz: tuple[float, float] | None
    """mean clock of these cores, before and after"""
    clock_limit_mhz: float | None
    """the highest that the governor may choose"""
    thermal_throttles: int | None
    """times that these cores were slowed because they were hot"""
    cpu_waiting: float | None
    """share of the time in which something on the system waited for a core"""
    memory_waiting: float | None
    """likewise for memory"""
    swapped_pages: int | None
    """in and out, of the whole system"""
    major_faults: int
    """pages that the measuring process had to wait for"""
    quota_cores: float | None
    """cores that the control group may use; None where no limit can be seen"""
    throttled_periods: int | None
    """periods of the quota in which the group was stopped"""
    throttled_s: float | None
    """how long its threads were stopped, added up"""
    timer_ns: float
    """smallest step of the clock that calls are timed with"""


class Measurement(Frozen):
    """One model on one target."""

    kind: Literal["measured"] = "measured"
    """always `measured`"""
    target: str = "cpu"
    """where it ran"""
    name: str
    """what the figures are called in reports; unique in one report"""
    file: str
    """file name of the model, without its folder"""
    form: str | None = None
    """which form of a bundle it is, such as `int8-dynamic`"""
    sha256: str
    """digest of the model file"""
    size_bytes: int
    """model file with its external weights"""
    tokenizer_bytes: int = 0
    """tokenizer.json that ships with it; 0 when the model is not part of a bundle"""
    threads: int
    """threads inside one operator"""
    cores: tuple[int, ...] = ()
    """cores the process was bound to; empty where the system cannot bind"""
    spinning: bool
    """whether idle threads wait in a loop, ONNX Runtime's default, which only matters above one thread"""
    batch: int
    """texts a call"""
    inputs: Mapping[str, str]
    """name, type and shape of the model's inputs as declared"""
    sequence: LengthSummary | None = None
    """None for a model without a free length"""
    load_ms: float
    """time to open the file and optimise its graph; median over fresh processes"""
    loads_ms: tuple[float, ...]
    """load time of each fresh process"""
    first_ms: float
    """first inference after loading; median over fresh processes"""
    firsts_ms: tuple[float, ...]
    """first inference of each fresh process"""
    rss_bytes: int
    """peak memory of a fresh process that loads the model and runs it; the largest of them"""
    rss_baseline_bytes: int
    """the same process before it loads the model: Python, numpy and ONNX Runtime"""
    warmup_runs: int
    """calls before the timed ones"""
    warm: bool
    """whether the warm-up ended steady"""
    samples_ms: tuple[float, ...]
    """every timed call in order; empty in a manifest, whose folder keeps them in measurements.json"""
    passes: int = 1
    """times each block repeats its inputs"""
    block_widths: tuple[tuple[int, ...], ...] = ()
    """tokens of each call of each block; a block has `passes` times as many samples"""
    round_blocks: tuple[int, ...] = ()
    """blocks of each round, that is of each fresh process; empty when one process took all samples"""
    runs: int
    """timed calls; as many as `samples_ms` holds where they are kept"""
    confidence: float
    """of the intervals"""
    p50: Estimate
    """median latency of a call, milliseconds"""
    p90: Estimate
    """90th percentile of latency, milliseconds"""
    p95: Estimate
    """95th percentile of latency, milliseconds"""
    p99: Estimate
    """99th percentile of latency, milliseconds"""
    throughput_per_s: float
    """texts a second, one call after the other"""
    cv: float
    """coefficient of variation of the block medians, differences in length taken out; 0.025 is 2.5 %"""
    preemptions: int
    """how often another program took a core away during timed calls"""
    environment: Mapping[str, Any]
    """machine, system and libraries"""
    machine: MachineState | None = None
    """what else went on meanwhile; None in older reports and on other targets"""
    notes: tuple[str, ...] = ()
    """why the figures may not be trusted"""

    def blocks(self) -> tuple[tuple[float, ...], ...]:
        """Samples by the unit that counts as one observation: round by round, else block by block.

        One block when the model was measured in neither.
        """
        if self.round_blocks:
            return tuple(tuple(ms for block in each for ms in block) for each in self.rounds())
        if not self.block_widths:
            return (self.samples_ms,)
        return tuple(self._cut())

    def rounds(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """The blocks of each round; each block as a round of its own where one process took them all."""
        if not self.round_blocks:
            return tuple((block,) for block in self.blocks())
        cut = self._cut()
        return tuple(tuple(islice(cut, count)) for count in self.round_blocks)

    def _cut(self) -> Iterator[tuple[float, ...]]:
        start = 0
        for widths in self.block_widths:
            end = start + len(widths) * self.passes
            yield self.samples_ms[start:end]
            start = end

    @property
    def shipped_bytes(self) -> int:
        """What a user must carry: the model and its tokenizer."""
        return self.size_bytes + self.tokenizer_bytes

    def without_samples(self) -> Self:
        """The figures alone, for a manifest."""
        return self.model_copy(update={"samples_ms": (), "block_widths": (), "round_blocks": ()})


class Comparison(Frozen):
    """How much faster one model is than another."""

    name: str
    """the model"""
    baseline: str
    """what it is compared with"""
    speedup: float
    """above 1 the model is faster: over rounds the Hodges-Lehmann estimate of the ratio of medians; in turns
    in one process the median over blocks of the ratio of the blocks' medians; else the ratio of both sides'
    medians"""
    low: float | None
    """lower end of the confidence interval; None for too few blocks"""
    high: float | None
    """upper end of the same"""
    confidence: float
    """of the interval"""
    blocks: int
    """observations: rounds where there were rounds"""
    interleaved: bool
    """whether both ran in turns on equal lengths; else the baseline is an earlier report"""
    ratios: Mapping[str, Estimate] = Field(default_factory=dict)
    """how many times the baseline's each figure is, by name; above 1 the model is slower or larger"""
    through_reference: bool = False
    """whether an earlier report was compared through the reference workload that both have"""
    other_machine: bool = False
    """whether an earlier report was made on another machine"""
    baseline_disturbed: bool = False
    """whether the baseline's median may show other programs, which makes the model look faster than it is"""
    notes: tuple[str, ...] = ()
    """what makes the reference a poor one"""


class Rounds(Frozen):
    """How a comparison in rounds went."""

    count: int
    """rounds that were taken"""
    seconds: float
    """time of all rounds"""
    within: float
    """time that they might take, in seconds"""
    looks: tuple[int, ...]
    """numbers of rounds at which the answer was to be looked at"""
    share: float
    """of the error probability 1 - confidence that the last look had; its intervals are the ones reported"""
    ended: Literal["decided", "narrow", "time"]
    """why: all relative budgets were decided, the ratios of medians were known well, or the time was over"""

    def level(self, confidence: float) -> float:
        """Confidence of one interval at the last look, so that all looks together have the one asked for."""
        return 1 - (1 - confidence) * self.share


class Report(Document):
    """The JSON document of `squeeze bench` and of the bench stage."""

    called: ClassVar[str] = "bench report"
    made_by: ClassVar[str] = "squeeze bench MODEL --json > report.json"

    kind: Literal["bench-report"] = "bench-report"
    """always `bench-report`"""
    version: Literal[1] = VERSION
    """of this format"""
    measurements: tuple[Measurement, ...] = Field(min_length=1)
    """one a model, the baseline first where it was measured along"""
    comparisons: tuple[Comparison, ...] = ()
    """of each model with the baseline, or with the first one"""
    baseline: str | None = None
    """name of the measurement that others are compared with and that is not judged"""
    reference: str | None = None
    """name of the measurement of the reference workload, which is the unit of other figures and not judged"""
    rounds: Rounds | None = None
    """of a comparison in rounds"""

    def level(self, confidence: float) -> float:
        """Confidence that one interval of a ratio must have for an answer with the one asked for."""
        return self.rounds.level(confidence) if self.rounds else confidence
