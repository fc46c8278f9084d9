"""Turn the student into files that a device runs, and prove after each step that nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from squeeze.artifact import Artifact
from squeeze.core.calibration import Method
from squeeze.core.rounding import WEIGHT_BITS
from squeeze.errors import MissingBackend
from squeeze.runtime import need, versions
from squeeze.schema import Frozen, Grown
from squeeze.stage import Stage, Work
from squeeze.stages.export.results import (
    EngineResult,
    ExportResult,
    FormatResult,
    FormResult,
    OrtFile,
    ParityReport,
)
from squeeze.targets.devices.address import parse
from squeeze.targets.devices.qemu import emulated
from squeeze.tasks import AnyTaskSection

__all__ = [
    "FORMATS",
    "QUANTIZERS",
    "STAGE",
    "EngineResult",
    "ExportConfig",
    "ExportResult",
    "ExportSection",
    "FormName",
    "FormResult",
    "FormatName",
    "FormatResult",
    "OrtFile",
    "ParityReport",
    "Quantizer",
    "TensorrtSection",
    "Tolerance",
]

FormName = Literal["fp32", "int8-dynamic", "int8-static", "int4-weight"]
Quantizer = Literal["squeeze", "onnxruntime", "nncf"]
FormatName = Literal[
    "openvino", "ncnn", "litert", "litert-int8", "coreml", "coreml-int8", "executorch", "executorch-int8"
]


class Abilities(NamedTuple):
    """What another library's quantizer can do, and where it is."""

    module: str
    """what is imported"""
    extra: str
    """the extra of this distribution that installs it"""
    forms: tuple[FormName, ...]
    """that it makes"""
    calibration: tuple[Method, ...]
    """how it can cut ranges"""


QUANTIZERS: Mapping[Quantizer, Abilities] = {
    "onnxruntime": Abilities(
        "onnxruntime.quantization",
        "train",
        ("int8-dynamic", "int8-static"),
        ("minmax", "percentile", "entropy"),
    ),
    "nncf": Abilities("nncf", "nncf", ("int8-static",), ("minmax", "percentile", "mse")),
}
"""All but our own; a test holds `calibration` to the tables in squeeze/graphs/backends."""


class Converter(NamedTuple):
    """What a format of another runtime needs."""

    modules: tuple[str, ...]
    """what is imported: what converts, and what runs the result here"""
    extra: str
    """the extra of this distribution that installs them"""
    libraries: tuple[str, ...]
    """distributions whose versions shape the file"""


LITERT = Converter(
    ("litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
    "litert",
    ("litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert"),
)
COREML = Converter(("coremltools",), "coreml", ("coremltools",))
EXECUTORCH = Converter(("executorch", "executorch.runtime"), "executorch", ("executorch", "torchao"))
FORMATS: Mapping[FormatName, Converter] = {
    "openvino": Converter(("openvino",), "openvino", ("openvino",)),
    "ncnn": Converter(("pnnx", "ncnn"), "ncnn", ("pnnx", "ncnn")),
    "litert": LITERT,
    "litert-int8": LITERT,
    "coreml": COREML,
    "coreml-int8": COREML,
    "executorch": EXECUTORCH,
    "executorch-int8": EXECUTORCH,
}


class Tolerance(Frozen):
    """How much one conversion may change; all of it must hold on the validation text."""

    max_abs: float | None = Field(default=None, gt=0, le=1e6)
    """largest difference of any logit; None: not judged"""
    spread: float | None = Field(default=None, gt=0, le=1e6)
    """root mean square of the logits' differences against that of the logits, each text's mean taken
    away; None: not judged"""
    product: float | None = Field(default=None, gt=0, le=1e6)
    """of each product and look-up, root mean square of the difference of what it gives on equal inputs
    against what it should give; None: not judged"""
    rounding: float | None = Field(default=None, gt=0, le=1e6)
    """of each product, the same of its input once that is rounded; None: not judged"""
    agreement: float = Field(ge=0, le=1)
    """least share of texts that keep their label"""
    metric_drop: float = Field(ge=0, le=1)
    """largest loss of the task's primary score, such as macro-F1, in points of 0..1"""


class TensorrtSection(Frozen):
    """The `[export.tensorrt]` section: build model.plan on this machine's GPU."""

    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    """what the engine computes in; fp32 and fp16 are made from the form fp32, int8 from int8-static with
    fp16 around its products"""
    fp32_norms: bool = False
    """keep LayerNormalization and Softmax in fp32, for activations beyond 65504"""
    workspace_mb: int = Field(default=1024, ge=16, le=1_048_576)
    """most GPU memory that one kernel may use for itself, in 2^20 bytes"""
    batch: int = Field(default=1, ge=1, le=4096)
    """most texts a call"""
    tolerance: Tolerance = Tolerance(max_abs=None, agreement=0.99, metric_drop=0.01)
    """the form against the converted graph in ONNX Runtime, and that against the engine"""

    @property
    def form(self) -> str:
        """The form of the bundle that the engine is made from."""
        return "int8-static" if self.precision == "int8" else "fp32"


class ExportSection(Grown):
    """The `[export]` section."""

    later: ClassVar[frozenset[str]] = frozenset({"quantizer", "formats", "check"})

    forms: tuple[FormName, ...] = Field(default=("fp32", "int8-dynamic"), min_length=1)
    """which files to make: `fp32` is model.onnx, `int8-dynamic` model.int8.onnx, `int8-static`
    model.int8-static.onnx, `int4-weight` model.int4.onnx; the last one ships. The scheme of
    `[quantize]` is always made, and comes last"""
    opset: int = Field(default=20, ge=18, le=24)
    """ONNX operator set; 20 is the first with Gelu as one operator"""
    fp32_tolerance: Tolerance = Tolerance(max_abs=1e-3, agreement=1.0, metric_drop=0.0)
    """torch against fp32 ONNX, and against each of `formats`"""
    int8_tolerance: Tolerance = Tolerance(
        spread=0.15, product=0.05, rounding=0.3, agreement=0.95, metric_drop=0.02
    )
    """fp32 ONNX against int8 ONNX, both forms; torch against the int8 ones of `formats`, whose products and
    look-ups cannot be looked at one by one"""
    int4_tolerance: Tolerance = Tolerance(
        spread=0.3, product=0.25, rounding=0.3, agreement=0.9, metric_drop=0.03
    )
    """fp32 ONNX against int4 ONNX"""
    rounded_tolerance: Tolerance = Tolerance(spread=0.02, agreement=0.98, metric_drop=0.01)
    """the rounded model in torch against its ONNX file, for the scheme of `[quantize]`; in place of the two
    above"""
    weight_bits: Literal[7, 8] = WEIGHT_BITS
    """int8 forms that `[quantize]` did not make: with 7, within -63..63, ONNX Runtime's fastest kernel is
    exact on every processor; with 8 it saturates on x86 without VNNI"""
    int4_block: Literal[16, 32, 64, 128] = 32
    """`int4-weight`: inputs of a product that share a step; more make a smaller file, fewer a better one"""
    table_bits: Literal[4, 8] = 8
    """`int4-weight`: of the rows of a table; codebooks of a product-quantized one stay in 8"""
    quantizer: Quantizer = "squeeze"
    """who makes int8-dynamic and int8-static where `[quantize]` did not: `squeeze`; `onnxruntime`, its own
    quantizer; `nncf`, which makes int8-static only and gives products back to float until no more than
    `int8_tolerance.metric_drop` is lost"""
    calibration: Method = "mse"
    """`int8-static`: where the range of a product's input is cut: `minmax` nowhere, `percentile` above
    99.99 % of its values, `entropy` where 128 levels tell its distribution best, `mse` where the squared
    error is least"""
    calibration_texts: int = Field(default=512, ge=1, le=1_000_000)
    """`int8-static`: training texts that ranges are taken from"""
    ort: bool = False
    """also write every form in the format of ONNX Runtime's mobile builds, as model.ort and so on"""
    formats: tuple[FormatName, ...] = ()
    """formats of other runtimes to write too, for one text of `[task] max_length` tokens: `openvino`, `ncnn`,
    `litert`, `coreml`, `executorch` in fp32; the same with `-int8` with weights in int8"""
    check: tuple[str, ...] = ()
    """emulated arm64 cores that run every file, such as `"qemu:cortex-a53"` and `"qemu:cortex-a76"`: what it
    computes there must be what it computes here"""
    tensorrt: TensorrtSection | None = None
    """also build a TensorRT engine, where this table is there"""

    @field_validator("formats")
    @classmethod
    def _are_different(cls, formats: tuple[FormatName, ...]) -> tuple[FormatName, ...]:
        if len(set(formats)) < len(formats):
            raise ValueError("a format is named twice")
        return formats

    @field_validator("check")
    @classmethod
    def _are_emulated(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        return emulated(targets)

    def tolerance(self, form: FormName) -> Tolerance:
        """How far a form may be from what it is made from."""
        match form:
            case "fp32":
                return self.fp32_tolerance
            case "int4-weight":
                return self.int4_tolerance
            case _:
                return self.int8_tolerance


class ExportConfig(Frozen):
    """All that the export stage depends on."""

    seed: int
    task: AnyTaskSection
    export: ExportSection


def run(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> ExportResult:
    """See run.py."""
    from squeeze.stages.export import run as implementation

    return implementation.run(config, inputs, work)


def needs(config: ExportConfig) -> None:
    """What a setting asks for must be there before the teacher is trained.

    An engine needs TensorRT and a GPU, another quantizer or format its libraries, a check its emulator and
    its runner.
    """
    borrowed = QUANTIZERS.get(config.export.quantizer)
    if borrowed is not None:
        need(borrowed.module, borrowed.extra)
    if config.export.tensorrt is not None:
        from squeeze.targets.tensorrt import available

        available()
    for name in config.export.formats:
        for module in FORMATS[name].modules:
            need(module, FORMATS[name].extra)
    for target in config.export.check:
        from squeeze.targets.devices.reaching import require
        from squeeze.targets.devices.visiting import Habits

        require(parse(target), Habits())


def sources(config: ExportConfig) -> dict[str, str]:
    """An engine depends on GPU and TensorRT, what others make on their versions, a check on its runner."""
    found: dict[str, str] = {}
    if config.export.quantizer == "nncf":
        found["nncf version"] = versions(("nncf",))["nncf"]
    if config.export.tensorrt is not None:
        found["tensorrt"] = _tensorrt()
    for name in config.export.formats:
        known = versions(FORMATS[name].libraries)
        found |= {f"{library} version": version for library, version in known.items()}
    if config.export.check:
        found["runner"] = _runner(config.export.check[0])
    return found


def _runner(target: str) -> str:
    """Of the check; one runner is for all emulated cores."""
    from squeeze.targets.devices.reaching import runner_key
    from squeeze.targets.devices.visiting import Habits

    try:
        return runner_key(parse(target), Habits())
    except MissingBackend:
        return "absent"


def _tensorrt() -> str:
    from squeeze.targets.tensorrt import available

    try:
        api, device = available()
    except MissingBackend:  # `plan` may look at a profile of another machine
        return "absent"
    return f"{api.version} on {device}"


STAGE = Stage(
    name="export",
    section="export",
    version=5,
    takes={"dataset": "dataset", "teacher": "teacher", "encoder": "encoder"},
    gives="bundle",
    config=ExportConfig,
    result=ExportResult,
    run=run,
    libraries=("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "PyYAML"),
    per_device=False,
    sources=sources,
    needs=needs,
)
