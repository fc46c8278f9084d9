"""The library behind `squeeze bench`: measure model files, compare them, hold them against budgets.

    report = bench([Path("model.onnx")], BenchOptions(), Silent())
    judgement = judge(report, [parse_budget("p95=5ms"), parse_budget("size=8MB")])

Needs onnxruntime and numpy; no torch, no onnx.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from squeeze.budget import BYTES, TIME, Units, read_limit
from squeeze.errors import UsageError
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stages.gate.stage import Check
from squeeze.targets import gpu, providers
from squeeze.targets.compare import against_report, interleaved
from squeeze.targets.cpu import Settings, Where, measure
from squeeze.targets.devices.address import Cpu, Gpu, Qemu, parse
from squeeze.targets.limits import Verdict, at_least, at_most, disturbed, latency, overall, spread, throughput
from squeeze.targets.measurement import Comparison, Estimate, Measurement, Report
from squeeze.targets.quantiles import QUANTILES
from squeeze.targets.subjects import Subject, find, unchanged

if TYPE_CHECKING:
    from squeeze.targets.devices.results import FunctionalReport
    from squeeze.targets.devices.session import Session

__all__ = [
    "BenchOptions",
    "BenchReport",
    "Budget",
    "Judgement",
    "bench",
    "check",
    "is_functional",
    "judge",
    "parse_budget",
    "parse_shape",
]

BenchReport = Report
Figure = Literal["p50", "p90", "p95", "p99", "load", "first", "size", "rss", "throughput", "speedup"]


UNITS: Mapping[str, Units] = {
    **dict.fromkeys((*QUANTILES, "load", "first"), TIME),
    **dict.fromkeys(("size", "rss"), BYTES),
    "throughput": Units("/s", {"/s": 1.0}),
    "speedup": Units("x", {"x": 1.0}),
}
EXAMPLE = "write budgets like p95=5ms, size=8MB, rss=200MB, load=300ms, throughput=100/s or speedup=2x"


class BenchOptions(Frozen):
    """How to measure."""

    target: str = "cpu"
    """where to measure"""
    keep: bool = False
    """on a device: leave the runner there for the next time"""
    device_dir: str | None = None
    """on a device: the folder for our files"""
    provider: Literal["cpu", "xnnpack", "openvino", "cuda", "tensorrt"] | None = None
    """ONNX Runtime's provider for ONNX files: cpu (default), xnnpack or openvino; on a GPU cuda (default) or
    tensorrt; plans need none"""
    max_memory: int | None = Field(default=None, ge=1)
    """bytes that a measuring process may take; most of what the machine can give by default"""
    cuda_graph: bool = False
    """record each shape of a plan as a CUDA graph"""
    spin: bool = True
    """wait for the GPU in a loop; a plan only"""
    transfers: bool = True
    """count the copies of inputs and outputs"""
    form: str | None = None
    """which form of a bundle: its name, `all`, or None for the one that ships"""
    baseline: Path | None = None
    """a model to compare with, or the report of an earlier run (.json)"""
    threads: int = Field(default=1, ge=1)
    """threads inside one operator"""
    batch: int = Field(default=1, ge=1)
    """texts a call"""
    sequence: int | None = Field(default=None, ge=1)
    """tokens a text; a bundle's own lengths by default, 128 for other files"""
    shapes: Mapping[str, tuple[int, ...]] = Field(default_factory=dict)
    """whole input shapes by input name"""
    min_runs: int = Field(default=200, ge=10)
    """least number of timed calls"""
    min_seconds: float = Field(default=3.0, ge=0)
    """least time of timed calls, in seconds"""
    max_seconds: float = Field(default=60.0, gt=0)
    """most time for one model, warm-up included, in seconds"""
    starts: int = Field(default=3, ge=1)
    """fresh processes for load time, first inference and memory"""
    seed: int = 0
    """of inputs and order"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """of the intervals"""

    @field_validator("target")
    @classmethod
    def _is_a_target(cls, text: str) -> str:
        try:
            return str(parse(text))
        except UsageError as error:
            raise ValueError(str(error)) from error  # pydantic names the option


class Budget(Frozen):
    """One limit, in milliseconds, megabytes (1,000,000 bytes), texts a second or times."""

    figure: Figure
    limit: float = Field(gt=0)

    @property
    def unit(self) -> str:
        """The unit that the limit is kept in."""
        return UNITS[self.figure].kept


class Judgement(Frozen):
    """All checks and the verdict over them."""

    verdict: Verdict
    checks: tuple[Check, ...]


def parse_budget(text: str) -> Budget:
    """Read a budget as it is written on the command line.

    Raises:
        UsageError: not NAME=NUMBER UNIT, an unknown name or unit, or a limit that is not above 0.

    >>> parse_budget("p95=5ms")
    Budget(figure='p95', limit=5.0)
    >>> parse_budget("load=0.3s").limit, parse_budget("size=8 MB").unit
    (300.0, 'MB')
    """
    name, limit = read_limit(text, UNITS, EXAMPLE)
    return Budget.parse({"figure": name, "limit": limit})


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read an input's shape as it is written on the command line.

    Raises:
        UsageError: not NAME=1x128.

    >>> parse_shape("pixel_values=1x3x224x224")
    ('pixel_values', (1, 3, 224, 224))
    """
    name, equals, sizes = text.rpartition("=")
    if not (name and equals and re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*)*", sizes)):
        raise UsageError(f"shape {text!r}: not NAME=SIZExSIZE", hint="for example input_ids=1x128")
    return name, tuple(int(size) for size in sizes.split("x"))


def bench(models: Sequence[Path], options: BenchOptions, progress: Progress) -> BenchReport:
    """Measure one or more models; several are timed in turns and compared with the first or the baseline.

    Args:
        models: ONNX or ORT files, or bundle folders.
        options: how.
        progress: shows loading; nothing is drawn while timing.

    Raises:
        UsageError: something that is not there, not a model or not a report.
        MissingBackend: ONNX Runtime is not installed.
        StageFailed: a model cannot be run.
    """
    if not models:
        raise UsageError("no model given", hint="squeeze bench model.onnx --budget p95=5ms")
    report, reference = _baseline(options)
    chosen = [subject for path in models for subject in find(path, options.form)]
    subjects = _distinct([*reference, *chosen])
    with unchanged(subjects):
        measurements = _measure(subjects, options, progress)
    return BenchReport(
        measurements=measurements,
        comparisons=_compare(measurements, report),
        baseline=measurements[0].name if reference else None,
    )


def check(models: Sequence[Path], options: BenchOptions, progress: Progress) -> FunctionalReport:
    """Run models on an emulated core and compare what they compute with this machine.

    Args:
        models: ONNX or ORT files, or bundle folders.
        options: with a target whose results are functional.
        progress: told of each model.

    Raises:
        UsageError: something that is not there or not a model.
        MissingBackend: no emulator, or no runner for its kind of device.
        ParityFailed: it computes something else.
    """
    from squeeze.targets.devices import functional
    from squeeze.targets.devices.results import FunctionalReport

    subjects = _distinct([subject for path in models for subject in find(path, options.form)])
    with _visit(options, progress) as session:
        results = functional.check(subjects, _settings(options), session, progress)
    return FunctionalReport(results=results)


def is_functional(options: BenchOptions) -> bool:
    """Whether the target tells what a model computes, and not how fast."""
    return isinstance(parse(options.target), Qemu)


def judge(report: BenchReport, budgets: Sequence[Budget], confidence: float | None = None) -> Judgement:
    """Hold every measured model but the baseline against the budgets.

    Latency, throughput and speedup are judged by their intervals, so a limit inside one is
    inconclusive. Load time and first inference are judged by the range of their repeats, size and
    memory by their value.

    Args:
        report: with raw samples.
        budgets: limits; none at all is inconclusive, because nothing was judged.
        confidence: of the intervals; the report's own by default.
    """
    judged = [each for each in report.measurements if each.name != report.baseline]
    reference = next((each.baseline for each in report.comparisons if each.interleaved), None)
    checks = tuple(
        _check(report, each, budget, confidence or each.confidence, several=len(judged) > 1)
        for each in judged
        for budget in budgets
        if not (budget.figure == "speedup" and each.name == reference)  # it is what speed is counted from
    )
    return Judgement(verdict=overall(check.verdict for check in checks), checks=checks)


NOT_ASKED = {"even"}  # settings that are no option: models that are compared get even time


def _settings(options: BenchOptions) -> Settings:
    names = set(Settings.__dataclass_fields__) - NOT_ASKED
    return Settings(**{name: getattr(options, name) for name in names})


def _measure(
    subjects: Sequence[Subject], options: BenchOptions, progress: Progress
) -> tuple[Measurement, ...]:
    """Measure on the target; what it lacks is found out before anything is measured."""
    address, settings = parse(options.target), _settings(options)
    match address:
        case Cpu():
            return measure(subjects, settings, progress, _processor(options))
        case Gpu():
            return measure(subjects, settings, progress, _gpu(options, subjects))
        case Qemu():
            raise UsageError(f"{address}: emulated, nothing can be measured there")
        case _:
            from squeeze.targets.devices import measured

            if options.provider:
                providers.chosen(str(address), options.provider)
            with _visit(options, progress) as session:
                return measured.measure(subjects, settings, session, progress)


def _processor(options: BenchOptions) -> Where:
    return providers.processor(providers.chosen("cpu", options.provider), options.max_memory)


def _gpu(options: BenchOptions, subjects: Sequence[Subject]) -> Where:
    provider = providers.chosen("gpu", options.provider)
    pinned = gpu.Pinned(provider, options.cuda_graph, options.spin, options.transfers)
    return gpu.find(subjects, pinned)


def _visit(options: BenchOptions, progress: Progress) -> AbstractContextManager[Session]:
    """A session on the target, whose code is loaded for devices only."""
    from squeeze.targets.devices.visiting import Habits, visit

    return visit(parse(options.target), Habits(keep=options.keep, folder=options.device_dir), progress)


def _baseline(options: BenchOptions) -> tuple[BenchReport | None, tuple[Subject, ...]]:
    """The reference: an earlier report, or a model that is measured along."""
    if options.baseline is None:
        return None, ()
    if options.baseline.suffix == ".json":
        return BenchReport.read(options.baseline), ()
    return None, find(options.baseline, None if options.baseline.is_dir() else options.form)[:1]


def _distinct(subjects: Sequence[Subject]) -> list[Subject]:
    """The same models under names that differ: with more of the path where the file name is shared."""
    counts = Counter(subject.name for subject in subjects)
    named = [
        subject if counts[subject.name] == 1 else replace(subject, name=str(subject.path))
        for subject in subjects
    ]
    twice = [name for name, count in Counter(each.name for each in named).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]}: given twice")
    return named


def _compare(measurements: Sequence[Measurement], report: BenchReport | None) -> tuple[Comparison, ...]:
    if report is not None:
        return tuple(against_report(_counterpart(report, each), each) for each in measurements)
    return tuple(interleaved(measurements[0], each) for each in measurements[1:])


def _counterpart(report: BenchReport, model: Measurement) -> Measurement:
    """The earlier measurement of the same model by name or form, else the report's first."""
    candidates = [
        *(each for each in report.measurements if each.name == model.name),
        *(each for each in report.measurements if each.form and each.form == model.form),
        *report.measurements,
    ]
    return candidates[0]


def _check(
    report: BenchReport, model: Measurement, budget: Budget, confidence: float, *, several: bool
) -> Check:
    figure, verdict, note = _verdict(report, model, budget, confidence)
    return Check(
        name=f"{model.name} {budget.figure}" if several else budget.figure,
        value=None if figure is None else figure.value,
        limit=budget.limit,
        unit=budget.unit,
        verdict=verdict,
        note=note,
    )


def _verdict(
    report: BenchReport, model: Measurement, budget: Budget, confidence: float
) -> tuple[Estimate | None, Verdict, str]:
    """A figure in the unit of its budget, its verdict, and what must be said about it."""
    name, limit = budget.figure, budget.limit
    if name in QUANTILES:
        return latency(model, name, limit, confidence)
    if name == "speedup":
        return _speedup(report, model, limit)
    if name == "throughput":
        return throughput(model, limit, confidence)
    figure, note = _cost(model, name)
    return figure, at_most(figure, limit), note


def _cost(model: Measurement, name: str) -> tuple[Estimate, str]:
    """Load time, first inference, size or memory."""
    if name in ("size", "rss"):
        value = (model.shipped_bytes if name == "size" else model.rss_bytes) / 1e6
        return spread(value, [value]), ""
    value, repeats = (model.load_ms, model.loads_ms) if name == "load" else (model.first_ms, model.firsts_ms)
    note = f"{min(repeats):.3g} to {max(repeats):.3g} ms in {len(repeats)} processes"
    return spread(value, repeats), note


def _speedup(report: BenchReport, model: Measurement, limit: float) -> tuple[Estimate | None, Verdict, str]:
    found = next((each for each in report.comparisons if each.name == model.name), None)
    if found is None:
        return None, "fail", "nothing to compare with: give a baseline"
    figure = Estimate(value=found.speedup, low=found.low, high=found.high)
    note = f"{found.blocks} blocks are too few for an interval: raise min_runs"
    if found.low is not None and found.high is not None:
        note = f"interval {found.low:.3g} to {found.high:.3g} x"
    verdict = at_least(figure, limit)
    # Other programs slow down what they disturb: a slow baseline feigns a pass, a slow model a failure.
    slowed = {"pass": found.baseline_disturbed, "fail": disturbed(model, "p50")}
    if slowed.get(verdict):
        name = found.baseline if verdict == "pass" else found.name
        verdict, note = "inconclusive", f"{note}; other programs took the core from {name}"
    return figure, verdict, f"against {found.baseline}: {note}"
