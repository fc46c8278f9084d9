"""`--target estimate:DEVICE` of `squeeze bench`: intervals, and no verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.cli.bench_table import save_markdown
from squeeze.cli.output import emit, emit_json, shown

if TYPE_CHECKING:
    from squeeze.bench import BenchOptions

__all__ = ["PREFIX", "estimated"]

PREFIX = "estimate:"


def estimated(
    models: list[Path], options: BenchOptions, markdown: Path | None, *, judged: bool, as_json: bool
) -> int:
    """Estimate models on a device that is not there.

    Raises:
        UsageError: a budget or a baseline was given: nothing passes or fails by an estimate.
    """
    from squeeze.errors import UsageError
    from squeeze.estimates import calibration, known, text
    from squeeze.estimates.estimate import estimate
    from squeeze.targets.devices.results import EstimateReport
    from squeeze.targets.subjects import find

    if judged:
        raise UsageError(
            f"{options.target}: an estimate is no measurement, nothing is judged or compared by it",
            hint="leave --budget and --baseline out, or measure on the device: adb or ssh:HOST",
        )
    device = known.find(options.target.removeprefix(PREFIX), options.threads, calibration.home())
    subjects = [subject for path in models for subject in find(path, options.form)]
    with shown() as progress:
        results = estimate(
            subjects,
            device,
            options.target,
            progress,
            sequence=options.sequence,
            batch=options.batch,
            shapes=options.shapes,
        )
    report = EstimateReport(results=results)
    if markdown is not None:
        save_markdown(markdown, text.estimates(report))
    if as_json:
        emit_json(report.plain())
    else:
        emit(text.estimates(report).rstrip("\n"))
    return 0
