"""Measure every form of the bundle on every target, all of a target in turns, and keep the raw samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from squeeze.artifact import Artifact, write_json
from squeeze.errors import SqueezeError
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.stages.bench.stage import BenchConfig, BenchResult, TeacherTime
from squeeze.targets import gpu
from squeeze.targets.compare import interleaved
from squeeze.targets.cpu import CPU, Settings, measure
from squeeze.targets.devices import measured as devices
from squeeze.targets.devices.address import Address, Cpu, Gpu, parse
from squeeze.targets.devices.visiting import Habits, visit
from squeeze.targets.measurement import MEASUREMENTS, Comparison, Measurement, Report
from squeeze.targets.subjects import Subject, find

__all__ = ["run"]


def run(config: BenchConfig, inputs: Mapping[str, Artifact], work: Work) -> BenchResult:
    """Measure; the whole report goes to measurements.json, the figures without samples to the manifest."""
    subjects = [replace(each, name=each.path.name) for each in find(inputs["bundle"].path, form="all")]
    targets = config.bench.targets
    by_target = [_measured(parse(target), subjects, config, work) for target in targets]
    if len(targets) > 1:
        by_target = [tuple(map(_with_target, rows)) for rows in by_target]
    report = Report(
        measurements=tuple(each for rows in by_target for each in rows),
        comparisons=tuple(each for rows in by_target for each in _compared(rows)),
    )
    write_json(work.out / MEASUREMENTS, report.plain())
    measured = tuple(each.without_samples() for each in report.measurements)
    timed, warnings = _teacher(subjects, measured, config, inputs, work)
    return BenchResult(measurements=measured, teacher=timed, warnings=warnings)


def _teacher(
    subjects: Sequence[Subject],
    measured: Sequence[Measurement],
    config: BenchConfig,
    inputs: Mapping[str, Artifact],
    work: Work,
) -> tuple[TeacherTime | None, tuple[str, ...]]:
    """The teacher's time after that of the files, so that what it needs cannot disturb theirs."""
    if not config.bench.teacher or "teacher" not in inputs or "cpu" not in config.bench.targets:
        return None, ()
    from squeeze.stages.bench import teacher  # loads torch

    settings = _able(_settings(config), usable_cores())
    here = [each for each in measured if each.target == CPU.target]
    try:
        return teacher.timed(inputs["teacher"], subjects, here, settings, work), ()
    except SqueezeError as error:  # the files are measured, and nothing is judged by the teacher's time
        return None, (f"the teacher was not timed: {error.message}",)


def _measured(
    address: Address, subjects: Sequence[Subject], config: BenchConfig, work: Work
) -> tuple[Measurement, ...]:
    """All files on one target.

    Raises:
        MissingBackend: the target went away since the run began.
        StageFailed: a file cannot be run there, or the connection was lost.
        Inconclusive: the device slowed down while it was measured.
    """
    settings = _settings(config)
    match address:
        case Cpu():
            able = _able(settings, usable_cores())
            rows = measure(subjects, able, work.progress, CPU)
        case Gpu():
            able = _able(settings, usable_cores())
            rows = measure(subjects, able, work.progress, gpu.find(subjects, gpu.Pinned()))
        case _:
            with visit(address, Habits(), work.progress) as session:
                able = _able(settings, len(session.describe()[0].cores))
                rows = devices.measure(subjects, able, session, work.progress)
    return rows if able == settings else tuple(_noted(each, settings.threads) for each in rows)


def _compared(rows: Sequence[Measurement]) -> Iterator[Comparison]:
    """Each file against the first, on one target: only there they ran in turns."""
    yield from (interleaved(rows[0], each) for each in rows[1:])


def _settings(config: BenchConfig) -> Settings:
    bench = config.bench
    return Settings(
        threads=bench.threads,
        batch=bench.batch,
        sequence=bench.sequence,
        min_runs=bench.min_runs,
        min_seconds=bench.min_seconds,
        max_seconds=bench.max_seconds,
        starts=bench.starts,
        seed=config.seed,
    )


def _able(settings: Settings, cores: int) -> Settings:
    """With at most as many threads as a target has cores, so that a long run does not end here."""
    return replace(settings, threads=min(settings.threads, cores))


def _noted(measurement: Measurement, asked: int) -> Measurement:
    note = f"{asked} threads were asked for, {measurement.threads} cores are usable"
    return measurement.model_copy(update={"notes": (*measurement.notes, note)})


def _with_target(measurement: Measurement) -> Measurement:
    """Names are unique in a report, and a file has one measurement on each target."""
    return measurement.model_copy(update={"name": f"{measurement.name} on {measurement.target}"})
