"""Time the teacher beside the exported files: how much faster they are is what a user wants to know first.

The teacher is exported by the same exporter as the student, whose graph does no more than it must. So the
ratio shows what compression gained, and not a better exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from squeeze.artifact import Artifact, write_json
from squeeze.graphs import teacher as graphs
from squeeze.runtime import give_back
from squeeze.stage import Work
from squeeze.stages.bench.stage import TeacherTime
from squeeze.targets.compare import interleaved
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.inputs import DEFAULT_LENGTH, draw_lengths
from squeeze.targets.limits import disturbed
from squeeze.targets.measurement import Estimate, Measurement, Report
from squeeze.targets.subjects import Subject, shared_lengths
from squeeze.targets.usage import preemptions

__all__ = ["SAMPLES", "timed"]

SAMPLES = "teacher.json"
"""File of the teacher's measurement with its raw samples, and of the files that took turns with it."""
CALLS = 40
MOST_SECONDS = 15.0  # a file
TORCH_CALLS = 20


def timed(
    teacher: Artifact,
    subjects: Sequence[Subject],
    measured: Sequence[Measurement],
    settings: Settings,
    work: Work,
) -> TeacherTime:
    """Time the first member of the teacher.

    Args:
        teacher: its artefact.
        subjects: the exported files.
        measured: their measurements on this machine's cpu.
        settings: of these measurements; the teacher is given fewer calls.
        work: where the teacher's ONNX file is kept meanwhile.

    Raises:
        SqueezeError: it cannot be loaded or run.
    """
    members = sorted((teacher.path / "members").iterdir(), key=lambda path: int(path.name))
    path = work.scratch / "teacher.onnx"
    vocabulary = graphs.export(members[0], path)
    give_back()
    if vocabulary is None:
        found = _in_torch(members[0], subjects, measured, settings)
    else:
        found = _in_turns(Subject(path, "teacher", vocabulary=vocabulary), subjects, settings, work)
        path.unlink()
    return found.model_copy(update={"members": len(members)})


def _in_turns(subject: Subject, others: Sequence[Subject], settings: Settings, work: Work) -> TeacherTime:
    """Blocks of the teacher between blocks of the files, on texts of the same lengths."""
    few = replace(
        settings,
        min_runs=min(CALLS, settings.min_runs),
        min_seconds=0.0,
        max_seconds=min(MOST_SECONDS, settings.max_seconds),
        starts=1,
        even=False,
    )
    teacher, *rest = measure([subject, *others], few, work.progress)
    found = tuple(interleaved(teacher, each) for each in rest)
    report = Report(measurements=(teacher, *rest), comparisons=found, baseline=teacher.name)
    write_json(work.out / SAMPLES, report.plain())
    return TeacherTime(
        runtime="fp32 ONNX",
        size_bytes=teacher.size_bytes,
        p50_ms=teacher.p50,
        p95_ms=teacher.p95,
        calls=teacher.runs,
        disturbed=disturbed(teacher, "p50"),
        speedups={
            str(each.form): Estimate(value=one.speedup, low=one.low, high=one.high)
            for each, one in zip(rest, found, strict=True)
        },
    )


def _in_torch(
    folder: Path, subjects: Sequence[Subject], measured: Sequence[Measurement], settings: Settings
) -> TeacherTime:
    """Calls of the model as it is, not in turns: a ratio without an interval."""
    lengths = shared_lengths(subjects, settings.sequence) or [DEFAULT_LENGTH]
    drawn = draw_lengths(lengths, TORCH_CALLS, settings.batch, np.random.default_rng(settings.seed))
    longest = [max(each) for each in drawn.tolist()]
    before = preemptions()
    samples = graphs.calls_ms(folder, longest, settings.batch, settings.threads, settings.seed)
    lost = preemptions() - before
    p50, p95 = (Estimate(value=float(np.quantile(samples, share))) for share in (0.5, 0.95))
    return TeacherTime(
        runtime="PyTorch",
        size_bytes=graphs.weight_bytes(folder),
        p50_ms=p50,
        p95_ms=p95,
        calls=len(samples),
        disturbed=lost > len(samples) / 4,  # as for files: half of the calls above the median
        speedups={str(each.form): Estimate(value=p50.value / each.p50.value) for each in measured},
    )
