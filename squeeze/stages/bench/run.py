"""Measure every form of the bundle, all in turns, and keep the raw samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from squeeze.artifact import Artifact, write_json
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.stages.bench.stage import BenchConfig, BenchResult
from squeeze.targets.compare import interleaved
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.measurement import MEASUREMENTS, Measurement, Report
from squeeze.targets.subjects import find

__all__ = ["run"]


def run(config: BenchConfig, inputs: Mapping[str, Artifact], work: Work) -> BenchResult:
    """Measure; the whole report goes to measurements.json, the figures without samples to the manifest."""
    subjects = [replace(each, name=each.path.name) for each in find(inputs["bundle"].path, form="all")]
    settings = _settings(config)
    measured = measure(subjects, settings, work.progress)
    if settings.threads < config.bench.threads:
        measured = tuple(_noted(each, config.bench.threads) for each in measured)
    comparisons = tuple(interleaved(measured[0], each) for each in measured[1:])
    report = Report(measurements=measured, comparisons=comparisons)
    write_json(work.out / MEASUREMENTS, report.plain())
    return BenchResult(measurements=tuple(each.without_samples() for each in measured))


def _settings(config: BenchConfig) -> Settings:
    """The profile's settings; threads at most the usable cores, so that a long run does not end here."""
    bench = config.bench
    return Settings(
        threads=min(bench.threads, usable_cores()),
        batch=bench.batch,
        sequence=bench.sequence,
        min_runs=bench.min_runs,
        min_seconds=bench.min_seconds,
        max_seconds=bench.max_seconds,
        starts=bench.starts,
        seed=config.seed,
    )


def _noted(measurement: Measurement, asked: int) -> Measurement:
    note = f"{asked} threads were asked for, {measurement.threads} cores are usable"
    return measurement.model_copy(update={"notes": (*measurement.notes, note)})
