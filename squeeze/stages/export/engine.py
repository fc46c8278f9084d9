"""The TensorRT engine of a bundle: one of its forms, converted, built, and held to the same answers twice.

First the converted graph against the form it was made from, both in ONNX Runtime; then the engine against
the converted graph. So a wrong conversion and a wrong engine are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from squeeze.errors import StageFailed
from squeeze.graphs import readiness
from squeeze.graphs.for_tensorrt import adapt
from squeeze.graphs.half import NORMS, to_half
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.stages.export import parity
from squeeze.stages.export.parity import Validation
from squeeze.stages.export.stage import EngineResult, FormResult, TensorrtSection
from squeeze.targets.ort import guarded, open_session
from squeeze.targets.tensorrt import BuildSettings, build, open_engine, shapes_for

__all__ = ["FILE", "converted", "make"]

FILE = "model.plan"
INPUTS = ("input_ids", "attention_mask")
Logits = NDArray[np.float32]
Answer = Callable[[Mapping[str, NDArray[Any]]], Logits]


def make(
    section: TensorrtSection | None,
    forms: Mapping[str, FormResult],
    rows: Encodings,
    truth: Validation,
    reach: int,
    work: Work,
) -> EngineResult | None:
    """Write model.plan and its card into the bundle; None where the profile asks for none.

    Args:
        section: the settings.
        forms: what the bundle holds, its files in ``work.out``.
        rows: N validation texts in token numbers.
        truth: their labels.
        reach: longest input in tokens.
        work: where files go.

    Raises:
        MissingBackend: no TensorRT or no GPU.
        StageFailed: TensorRT does not take the graph, with the reason.
        ParityFailed: the converted graph or the engine answers otherwise, by more than the tolerance.
    """
    if section is None:
        return None
    source = work.out / forms[section.form].file
    graph, plan = work.scratch / f"{section.precision}.onnx", work.out / FILE
    ir.save(converted(source, section), graph)
    before, middle = _in_onnxruntime(source, rows, work), _in_onnxruntime(graph, rows, work)
    narrowed = parity.compare(source.name, before, middle, truth)
    parity.hold(f"{source.name} in {section.precision}", narrowed, section.tolerance)
    shapes = shapes_for(INPUTS, [int(length) for length in rows.lengths], reach, section.batch)
    settings = BuildSettings(section.precision, section.workspace_mb)
    with work.progress.task(f"build {FILE}", 1) as advance:
        card = build(graph, plan, shapes, settings, work.cache / "tensorrt")
        advance(1)
    with open_engine(plan) as engine:
        after = _answers(lambda feed: engine.run(feed)["logits"], rows, work, FILE)
    report = parity.compare(f"{section.precision} graph in ONNX Runtime", middle, after, truth)
    parity.hold(FILE, report, section.tolerance)
    return EngineResult(
        file=FILE,
        size_bytes=card.plan_bytes,
        precision=section.precision,
        source=source.name,
        tensorrt=card.tensorrt,
        device=str(card.device),
        converted=narrowed,
        parity=report,
    )


def converted(source: Path, section: TensorrtSection) -> ir.Model:
    """The form as TensorRT takes it, in its precision.

    Raises:
        StageFailed: the static check finds something that TensorRT refuses.
    """
    model = ir.load(source)
    adapt(model)
    if section.precision != "fp32":
        to_half(model, keep=NORMS if section.fp32_norms else ())
    found = readiness.inspect(model, source.name)
    errors = [issue for issue in found.issues if issue.severity == "error"]
    if errors:
        first = errors[0]
        raise StageFailed(
            f"{source.name}: not ready for TensorRT: {first.node}: {first.what} ({len(errors)} errors)",
            hint=first.hint or first.limit,
        )
    return model


def _in_onnxruntime(path: Path, rows: Encodings, work: Work) -> Logits:
    """As the graph is written: fusions of ONNX Runtime are not TensorRT's, and fail on int8 within fp16."""
    session = open_session(path, threads=work.threads, optimised=False)
    with guarded(path, "cannot be run"):
        return _answers(lambda feed: session.run(["logits"], dict(feed))[0], rows, work, path.name)


def _answers(answer: Answer, rows: Encodings, work: Work, name: str) -> Logits:
    """(N, labels) logits, one text a call."""
    found = []
    with work.progress.task(f"check {name}", len(rows)) as advance:
        for row in range(len(rows)):
            ids = rows[row].astype(np.int64)[None]
            found.append(answer({"input_ids": ids, "attention_mask": np.ones_like(ids)}))
            advance(1)
    return np.concatenate(found)
