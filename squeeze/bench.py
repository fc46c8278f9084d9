"""The library behind `squeeze bench`: measure model files, compare them, hold them against budgets.

    report = bench([Path("model.onnx")], BenchOptions(), Silent())
    judgement = judge(report, [parse_budget("p95=5ms"), parse_budget("size=8MB")])

Needs onnxruntime and numpy; no torch, no onnx.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from squeeze.budget import Budget, parse_budget
from squeeze.errors import UsageError, brief
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stages.gate.reports import Judgement, judge
from squeeze.targets import gpu, paired, providers
from squeeze.targets.casting import Cast, compare, questions
from squeeze.targets.cpu import Settings, Where, measure
from squeeze.targets.devices.address import Adb, Address, Cpu, Estimate, Gpu, Qemu, Ssh, parse
from squeeze.targets.measurement import Measurement, Report, Rounds
from squeeze.targets.sessions import ENGINES
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
    "compares",
    "followed",
    "is_functional",
    "judge",
    "parse_budget",
    "parse_shape",
]

BenchReport = Report


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
    max_memory: int | None = Field(default=None, ge=1, le=10**15)
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
    threads: int = Field(default=1, ge=1, le=1024)
    """threads inside one operator"""
    batch: int = Field(default=1, ge=1, le=1_000_000)
    """texts a call"""
    sequence: int | None = Field(default=None, ge=1, le=1_000_000)
    """tokens a text; a bundle's own lengths by default, 128 for other files"""
    shapes: Mapping[str, tuple[int, ...]] = Field(default_factory=dict)
    """whole input shapes by input name"""
    min_runs: int = Field(default=200, ge=10, le=10_000_000)
    """least number of timed calls"""
    min_seconds: float = Field(default=3.0, ge=0, le=86_400)
    """least time of timed calls, in seconds"""
    max_seconds: float = Field(default=60.0, gt=0, le=3 * 86_400)
    """most time for one model, warm-up included, in seconds"""
    within: float = Field(default=60.0, gt=0, le=86_400)
    """most time of a comparison, in seconds; it ends as soon as the answer is known"""
    reference: bool = False
    """time the reference workload beside the models, as a unit for other machines"""
    starts: int = Field(default=3, ge=1, le=1000)
    """fresh processes for load time, first inference and memory"""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """of inputs and order"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """of the intervals; 1 - confidence is the chance of a false alarm, for each budget"""

    @field_validator("target")
    @classmethod
    def _is_a_target(cls, text: str) -> str:
        try:
            return str(parse(text))
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error  # pydantic names the option


SIZES = re.compile(r"[1-9][0-9]{0,9}(x[1-9][0-9]{0,9}){0,31}")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read an input's shape as it is written on the command line.

    Raises:
        UsageError: not NAME=1x128.

    >>> parse_shape("pixel_values=1x3x224x224")
    ('pixel_values', (1, 3, 224, 224))
    """
    name, equals, sizes = text.rpartition("=")
    if not (name and equals and re.fullmatch(SIZES, sizes)):
        raise UsageError(f"shape {brief(text, 80)!r}: not NAME=SIZExSIZE", hint="for example input_ids=1x128")
    return name, tuple(int(size) for size in sizes.split("x"))


def bench(
    models: Sequence[Path], options: BenchOptions, progress: Progress, budgets: Sequence[Budget] = ()
) -> BenchReport:
    """Measure one or more models; several are timed in turns and compared with the first or the baseline.

    On this machine's processor several are timed in rounds, until all relative budgets are decided, or
    without any until the ratios of the medians are known to 1 %, or until ``within`` is over.

    Args:
        models: ONNX or ORT files, or bundle folders.
        options: how.
        progress: shows loading; nothing is drawn while timing.
        budgets: what the report will be judged by; relative ones say when a comparison may stop.

    Raises:
        UsageError: something that is not there, not a model or not a report, or a relative budget without
            what it is relative to.
        MissingBackend: ONNX Runtime is not installed.
        StageFailed: a model cannot be run.
    """
    if not models:
        raise UsageError("no model given", hint="squeeze bench model.onnx --budget p95=5ms")
    _answerable(options, budgets)
    followed(options, models)
    report, before, subjects = _subjects(models, options, budgets)
    cast = Cast.of(subjects, report, has_baseline=bool(before))
    rounds: Rounds | None = None
    with unchanged(subjects):
        if isinstance(parse(options.target), Cpu) and len(subjects) > 1:
            settings = replace(_settings(options), starts=_starts(options, budgets))
            asked = questions(cast, budgets)
            measurements, rounds = paired.measure(
                subjects, settings, progress, asked, where=_processor(options)
            )
        else:
            measurements = _measure(subjects, options, progress)
    return BenchReport(
        measurements=measurements,
        comparisons=compare(cast, measurements, rounds),
        baseline=measurements[0].name if before else None,
        reference=None if cast.reference is None else measurements[cast.reference].name,
        rounds=rounds,
    )


def compares(models: Sequence[Path], options: BenchOptions, budgets: Sequence[Budget]) -> bool:
    """Whether models are timed in rounds, which take as long as the answer does and have no runs to choose.

    Raises:
        UsageError: something that is not there, not a model or not a report, or a relative budget without
            what it is relative to.
    """
    _answerable(options, budgets)
    return isinstance(parse(options.target), Cpu) and len(_subjects(models, options, budgets)[2]) > 1


def followed(options: BenchOptions, models: Sequence[Path]) -> None:
    """Refuse options that the target or the models do not have.

    Raises:
        UsageError: an option that would have no effect.
    """
    address = parse(options.target)
    for name, (option, places) in ONLY_ON.items():
        if getattr(options, name) != BenchOptions.model_fields[name].default and type(address) not in places:
            kinds = ", ".join(place.__name__.lower() for place in places)
            raise UsageError(f"{option}: no effect with --target {address}", hint=f"it goes with {kinds}")
    if options.max_memory is not None and not sys.platform.startswith("linux"):
        raise UsageError(
            "--max-memory: this system cannot limit the memory of a process", hint="leave it out"
        )
    paths = [*models, *([options.baseline] if options.baseline else ())]
    if options.form is not None and not any(path.is_dir() for path in paths):
        raise UsageError(f"--form {options.form}: no bundle is given, files have no forms")
    if isinstance(address, Gpu) and all(path.suffix in ENGINES for path in models) and options.provider:
        raise UsageError(f"--provider {options.provider}: plans need none", hint="it is for ONNX files")


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

    followed(options, models)
    subjects = _distinct([subject for path in models for subject in find(path, options.form)])
    with _visit(options, progress) as session:
        results = functional.check(subjects, _settings(options), session, progress)
    return FunctionalReport(results=results)


def is_functional(options: BenchOptions) -> bool:
    """Whether the target tells what a model computes, and not how fast."""
    return isinstance(parse(options.target), Qemu)


MEASURED: tuple[type[Address], ...] = (Cpu, Gpu, Adb, Ssh)
ONLY_ON: Mapping[str, tuple[str, tuple[type[Address], ...]]] = {
    "threads": ("--threads", (Cpu, Adb, Ssh, Qemu, Estimate)),
    "provider": ("--provider", (Cpu, Gpu)),
    "max_memory": ("--max-memory", (Cpu,)),
    "cuda_graph": ("--cuda-graph", (Gpu,)),
    "spin": ("--no-spin", (Gpu,)),
    "transfers": ("--no-transfers", (Gpu,)),
    "keep": ("--keep", (Adb, Ssh)),
    "device_dir": ("--device-dir", (Adb, Ssh)),
    "min_runs": ("--min-runs", MEASURED),
    "min_seconds": ("--seconds", MEASURED),
    "within": ("--within", (Cpu,)),
    "reference": ("--reference", (Cpu,)),
    "confidence": ("--confidence", MEASURED),
}
"""Options that not every target has: what they are called, and where they have an effect."""
RELATIVE_STARTS = 8  # 6 pairs have an interval at 95 %
NOT_ASKED = {"even"}  # settings that are no option: models that are compared get even time


def _answerable(options: BenchOptions, budgets: Sequence[Budget]) -> None:
    """Budgets that could never be judged are found out before anything is measured."""
    related = {budget.relative_to: budget for budget in budgets}
    if options.baseline is None and "baseline" in related:
        budget = related["baseline"]
        raise UsageError(
            f"budget {budget.figure} of {budget.limit:g} {budget.unit}: no baseline that it is a multiple of",
            hint="give --baseline MODEL, or the report of an earlier run",
        )
    if not isinstance(parse(options.target), Cpu) and (options.reference or "reference" in related):
        raise UsageError(f"{options.target}: the reference workload runs on the target cpu only")


def _starts(options: BenchOptions, budgets: Sequence[Budget]) -> int:
    """Fresh processes of each model beside those of the rounds, which also tell load times."""
    if any(budget.relative_to and budget.figure in ("load", "first") for budget in budgets):
        return max(options.starts, RELATIVE_STARTS)
    return 1


def _reference(
    options: BenchOptions, budgets: Sequence[Budget], report: BenchReport | None
) -> tuple[Subject, ...]:
    """The reference workload, where it was asked for or an earlier report has it."""
    asked = options.reference or any(budget.relative_to == "reference" for budget in budgets)
    if not (asked or (report and report.reference)) or not isinstance(parse(options.target), Cpu):
        return ()
    from squeeze.targets.reference import subject

    return (subject(),)


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


def _subjects(
    models: Sequence[Path], options: BenchOptions, budgets: Sequence[Budget]
) -> tuple[BenchReport | None, tuple[Subject, ...], list[Subject]]:
    """The earlier report, the baseline and all that is measured: the baseline first, the reference last."""
    report, before = _baseline(options)
    chosen = [subject for path in models for subject in find(path, options.form)]
    return report, before, _distinct([*before, *chosen, *_reference(options, budgets, report)])


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
