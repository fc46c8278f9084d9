"""Turn the student into files that a device runs, and prove after each step that nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work
from squeeze.task import TaskSection

__all__ = [
    "STAGE",
    "ExportConfig",
    "ExportResult",
    "ExportSection",
    "FormResult",
    "ParityReport",
    "Tolerance",
]

FormName = Literal["fp32", "int8-dynamic"]


class Tolerance(Frozen):
    """How much one conversion may change; all three must hold on the validation text."""

    max_abs: float | None = Field(default=None, gt=0)
    """largest difference of any logit; None: not judged"""
    agreement: float = Field(ge=0, le=1)
    """least share of texts that keep their label"""
    metric_drop: float = Field(ge=0, le=1)
    """largest loss of macro-F1, in points of 0..1"""


class ExportSection(Frozen):
    """The `[export]` section."""

    forms: tuple[FormName, ...] = Field(default=("fp32", "int8-dynamic"), min_length=1)
    """which files to make: `fp32` is model.onnx, `int8-dynamic` is model.int8.onnx"""
    opset: int = Field(default=20, ge=18, le=24)
    """ONNX operator set; 20 is the first with Gelu as one operator"""
    fp32_tolerance: Tolerance = Tolerance(max_abs=1e-3, agreement=1.0, metric_drop=0.0)
    """torch against fp32 ONNX"""
    int8_tolerance: Tolerance = Tolerance(max_abs=None, agreement=0.95, metric_drop=0.02)
    """fp32 ONNX against int8 ONNX"""


class ExportConfig(Frozen):
    """All that the export stage depends on."""

    seed: int
    task: TaskSection
    export: ExportSection


class ParityReport(Frozen):
    """One conversion, compared on real validation texts."""

    source: str
    rows: int
    max_abs: float
    mean_abs: float
    agreement: float
    metric_drop: float


class FormResult(Frozen):
    """One exported file."""

    file: str
    size_bytes: int
    parity: ParityReport
    quality: Mapping[str, Quality]


class ExportResult(Frozen):
    """What the export stage reports."""

    forms: Mapping[str, FormResult]
    tokenizer_bytes: int
    lengths: tuple[int, ...]
    """token counts of the validation texts: the lengths that latency is measured at"""


def run(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> ExportResult:
    """See run.py."""
    from squeeze.stages.export import run as implementation

    return implementation.run(config, inputs, work)


STAGE = Stage(
    name="export",
    section="export",
    version=2,
    takes={"dataset": "dataset", "teacher": "teacher", "encoder": "encoder"},
    gives="bundle",
    config=ExportConfig,
    result=ExportResult,
    run=run,
    libraries=("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime"),
    per_device=False,
)
