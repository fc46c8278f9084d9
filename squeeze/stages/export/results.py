"""What the export stage reports: every file of the bundle, and how near it is to what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from squeeze.core.metrics import Quality
from squeeze.schema import Frozen
from squeeze.targets.devices.results import Functional

__all__ = [
    "EngineResult",
    "ExportResult",
    "FormResult",
    "FormatResult",
    "OrtFile",
    "ParityReport",
    "Precision",
]

Precision: TypeAlias = Literal["fp32", "int8"]


class ParityReport(Frozen):
    """One conversion, compared on real validation texts."""

    source: str
    rows: int
    max_abs: float
    mean_abs: float
    spread: float | None = None
    agreement: float
    metric_drop: float


class OrtFile(Frozen):
    """A form once more, in ONNX Runtime's own format."""

    file: str
    size_bytes: int
    parity: ParityReport


class FormResult(Frozen):
    """One exported file."""

    file: str
    size_bytes: int
    parity: ParityReport
    quality: Mapping[str, Quality]
    product: float | None = None
    """largest difference of a product or look-up, as in `Tolerance`; None: not converted"""
    ort: OrtFile | None = None
    """the same in the ORT format, where that was asked for"""


class EngineResult(Frozen):
    """The TensorRT engine; its card beside it has the rest."""

    file: str
    size_bytes: int
    precision: str
    source: str
    """the file that it was made from"""
    tensorrt: str
    device: str
    converted: ParityReport
    """the form against the converted graph, both in ONNX Runtime"""
    parity: ParityReport
    """the converted graph in ONNX Runtime against the engine"""


class FormatResult(Frozen):
    """The student in the format of another runtime: compared with torch, or said not to be."""

    files: tuple[str, ...]
    size_bytes: int
    """of all its files"""
    length: int
    """tokens of its one text, padding included"""
    libraries: Mapping[str, str]
    """what made it and ran it here, with versions"""
    precision: Precision = "fp32"
    """of its weights"""
    parity: ParityReport | None = None
    """None: not run here"""
    unchecked: str = ""
    """why it was not run here"""

    @model_validator(mode="after")
    def _is_compared_or_says_why_not(self) -> FormatResult:
        if (self.parity is None) != bool(self.unchecked):
            raise ValueError("a format is compared, or it says why it is not")
        return self


class ExportResult(Frozen):
    """What the export stage reports."""

    forms: Mapping[str, FormResult]
    tokenizer_bytes: int
    lengths: tuple[int, ...]
    """token counts of the validation texts: the lengths that latency is measured at"""
    engine: EngineResult | None = None
    """where the profile asks for one"""
    formats: Mapping[str, FormatResult] = Field(default_factory=dict)
    """of other runtimes, where the profile asks for any"""
    checks: tuple[Functional, ...] = ()
    """every file on every emulated core that the profile names"""
