"""Time the teacher beside the exported files: how much faster they are is what a user wants to know first.

The teacher is exported by the same exporter as the student, whose graph does no more than it must. So the
ratio shows what compression gained, and not a better exporter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from squeeze.artifact import Artifact, write_json
from squeeze.graphs import lean
from squeeze.models import families
from squeeze.models.teacher import load_classifier
from squeeze.runtime import give_back
from squeeze.stage import Work
from squeeze.stages.bench.stage import TeacherTime
from squeeze.targets.compare import interleaved
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.inputs import draw_lengths
from squeeze.targets.measurement import Estimate, Measurement, Report
from squeeze.targets.subjects import Subject, shared_lengths

__all__ = ["SAMPLES", "timed"]

SAMPLES = "teacher.json"
"""File of the teacher's measurement with its raw samples, and of the files that took turns with it."""
CALLS = 40
MOST_SECONDS = 15.0  # a file
MOST_BYTES = 2_000_000_000  # of an ONNX file in one piece
TORCH_CALLS = 20
WEIGHTS = "*.safetensors"
LENGTH = 32  # tokens, where nobody knows any


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
    vocabulary = _exported(members[0], path)
    if vocabulary is None:
        found = _in_torch(members[0], subjects, measured, settings)
    else:
        give_back()
        found = _in_turns(Subject(path, "teacher", vocabulary=vocabulary), subjects, settings, work)
        path.unlink()
    return found.model_copy(update={"members": len(members)})


def _load(folder: Path) -> Any:
    """As the teacher stage has written it; its labels stand in the order of its outputs."""
    names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    labels = tuple(names[str(place)] for place in range(len(names)))
    return load_classifier(folder, labels, untrained_head=False)


def _exported(folder: Path, path: Path) -> int | None:
    """Write the ONNX file; returns the size of its vocabulary, None where no file can be made."""
    if sum(file.stat().st_size for file in folder.glob(WEIGHTS)) > MOST_BYTES:
        return None
    encoder = families.read(_load(folder))
    try:
        lean.export(encoder, path, lean.OPSET)
    except torch.onnx.OnnxExporterError:
        return None
    return encoder.shape.vocabulary


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
        speedups={
            str(each.form): Estimate(value=one.speedup, low=one.low, high=one.high)
            for each, one in zip(rest, found, strict=True)
        },
    )


def _in_torch(
    folder: Path, subjects: Sequence[Subject], measured: Sequence[Measurement], settings: Settings
) -> TeacherTime:
    """Calls of the model as it is, in this process and not in turns: a ratio without an interval."""
    model = _load(folder)
    lengths = shared_lengths(subjects, settings.sequence) or [LENGTH]
    generator = np.random.default_rng(settings.seed)
    drawn = draw_lengths(lengths, TORCH_CALLS, settings.batch, generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        samples = [_call_ms(model, max(each), settings.batch, generator) for each in drawn.tolist()]
    finally:
        torch.set_num_threads(threads)
    p50, p95 = (Estimate(value=float(np.quantile(samples, share))) for share in (0.5, 0.95))
    return TeacherTime(
        runtime="PyTorch",
        size_bytes=sum(file.stat().st_size for file in folder.glob(WEIGHTS)),
        p50_ms=p50,
        p95_ms=p95,
        calls=len(samples),
        speedups={str(each.form): Estimate(value=p50.value / each.p50.value) for each in measured},
    )


def _call_ms(model: Any, length: int, batch: int, generator: np.random.Generator) -> float:
    """Milliseconds of one call after one that brings its weights into the caches."""
    ids = torch.from_numpy(generator.integers(model.config.vocab_size, size=(batch, length)))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        for _ in range(2):
            before = time.perf_counter_ns()
            model(input_ids=ids, attention_mask=mask)
    return (time.perf_counter_ns() - before) / 1e6
