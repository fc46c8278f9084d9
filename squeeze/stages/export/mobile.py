"""The student in formats of other runtimes, each held to torch's answers on the validation text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from squeeze.graphs.mobile import by_coreml, by_executorch, by_litert, by_ncnn, by_openvino
from squeeze.graphs.mobile.fixed import Answer, Fixed, padded
from squeeze.models.encoder import Encoder
from squeeze.models.tokens import Encodings
from squeeze.runtime import versions
from squeeze.stage import Work
from squeeze.stages.export import parity
from squeeze.stages.export.parity import Validation
from squeeze.stages.export.results import FormatResult, ParityReport, Precision
from squeeze.stages.export.stage import FORMATS, ExportSection, FormatName, Tolerance

__all__ = ["WAYS", "Way", "answers", "make", "tolerance"]

VALIDATION = "validation"
Logits = NDArray[np.float32]


def anywhere() -> str:
    """Of a format that every machine runs which can make it."""
    return ""


class Way(NamedTuple):
    """How a format is made and opened."""

    convert: Callable[[Fixed, Path], tuple[Path, ...]]
    open_model: Callable[[Sequence[Path]], Answer]
    whole_table: bool
    """whether a product-quantized table must be written out"""
    precision: Precision = "fp32"
    """of the weights; it says which tolerance holds"""
    unable: Callable[[], str] = anywhere
    """why this machine makes the format and cannot run it; empty where it can"""


WAYS: Mapping[FormatName, Way] = {
    "openvino": Way(by_openvino.convert, by_openvino.open_model, whole_table=False),
    "ncnn": Way(by_ncnn.convert, by_ncnn.open_model, whole_table=True),
    "litert": Way(by_litert.convert, by_litert.open_model, whole_table=False),
    "litert-int8": Way(by_litert.convert_int8, by_litert.open_model, whole_table=False, precision="int8"),
    "coreml": Way(by_coreml.convert, by_coreml.open_model, whole_table=True, unable=by_coreml.unable),
    "coreml-int8": Way(
        by_coreml.convert_int8,
        by_coreml.open_model,
        whole_table=True,
        precision="int8",
        unable=by_coreml.unable,
    ),
    "executorch": Way(by_executorch.convert, by_executorch.open_model, whole_table=False),
    "executorch-int8": Way(
        by_executorch.convert_int8, by_executorch.open_model, whole_table=False, precision="int8"
    ),
}


def make(
    section: ExportSection,
    student: Encoder,
    said: Mapping[str, Logits],
    rows: Encodings,
    truth: Validation,
    reach: int,
    work: Work,
) -> dict[str, FormatResult]:
    """Write every format that the profile asks for into a folder of its own in the bundle.

    Args:
        section: which, and the tolerances.
        student: in float.
        said: its logits in torch by split.
        rows: N validation texts in token numbers.
        truth: their labels.
        reach: tokens of the fixed shape: the longest input.
        work: where files go.

    Raises:
        MissingBackend: a converter is not installed.
        StageFailed: it does not take the model.
        ParityFailed: the converted model answers otherwise, by more than the tolerance.
    """
    made: dict[str, FormatResult] = {}
    for name in section.formats:
        way, folder = WAYS[name], work.out / name
        folder.mkdir()
        with work.progress.task(f"convert to {name}", 1) as advance:
            files = way.convert(Fixed(student, reach, whole_table=way.whole_table), folder)
            advance(1)
        unchecked = way.unable()
        if unchecked:
            work.progress.log(f"{name} not checked: {unchecked}")
            report = None
        else:
            found = answers(way.open_model(files), rows, reach, name, work)
            report = _held(name, said[VALIDATION], found, truth, tolerance(section, way))
        made[name] = FormatResult(
            files=tuple(path.relative_to(work.out).as_posix() for path in files),
            size_bytes=sum(path.stat().st_size for path in files),
            length=reach,
            libraries=versions(FORMATS[name].libraries),
            precision=way.precision,
            parity=report,
            unchecked=unchecked,
        )
    return made


def tolerance(section: ExportSection, way: Way) -> Tolerance:
    """How far a format may be from torch."""
    return section.int8_tolerance if way.precision == "int8" else section.fp32_tolerance


def _held(name: str, said: Logits, found: Logits, truth: Validation, limits: Tolerance) -> ParityReport:
    report = parity.compare("torch", said, found, truth)
    parity.hold(name, report, limits)
    return report


def answers(answer: Answer, rows: Encodings, length: int, name: str, work: Work) -> Logits:
    """(N, labels) logits of a converted model, one padded text a call."""
    found = []
    with work.progress.task(f"check {name}", len(rows)) as advance:
        for row in range(len(rows)):
            found.append(answer(*padded(rows[row], length)))
            advance(1)
    return np.concatenate(found)
