"""Round a trained encoder to few bits, and let it learn to live with that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.core.rounding import WEIGHT_BITS
from squeeze.distillation.config import (
    AugmentSection,
    CacheReport,
    Phase,
    PhaseReport,
    PoolReport,
    StudentSections,
)
from squeeze.distillation.losses.cross_entropy import CrossEntropy
from squeeze.distillation.losses.logit_mse import LogitMSE
from squeeze.progress import Progress
from squeeze.quantization.plan import Scheme
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work, this_machine
from squeeze.tasks import AnyTaskSection

__all__ = [
    "SCHEMES",
    "STAGE",
    "Candidate",
    "QuantizeConfig",
    "QuantizePlan",
    "QuantizeResult",
    "QuantizeSection",
]

SCHEMES: tuple[Scheme, ...] = ("int8-dynamic", "int8-static", "int4-weight")
AGAINST_TEACHER = Phase(name="qat", epochs=2, learning_rate=1e-4, losses=(LogitMSE(name="logit_mse"),))
AGAINST_LABELS = Phase(
    name="qat", epochs=2, learning_rate=1e-4, losses=(CrossEntropy(name="cross_entropy"),), data="labelled"
)


class QuantizeSection(Frozen):
    """The `[quantize]` section; see squeeze/stages/quantize/README.md."""

    scheme: Literal["int8-dynamic", "int8-static", "int4-weight", "auto"] = "int8-dynamic"
    """what the target runs: int8 with ranges taken at run time, int8 with fixed ranges, int4 weights only;
    "auto": the fastest on this machine that loses no more than `floor`"""
    method: Literal["ptq", "qat"] = "qat"
    """round what was trained, or train on while it is rounded"""
    calibration: Literal["minmax", "percentile", "entropy", "mse"] = "mse"
    """`int8-static`: where the ranges of activations are cut, or start when steps are learned"""
    calibration_texts: int = Field(default=256, ge=1, le=1_000_000)
    """`int8-static`: training texts on which they are taken"""
    weight_bits: Literal[7, 8] | None = None
    """of the weights of the int8 schemes, 7 where it is left out: within -63..63 ONNX Runtime's fastest
    kernel is exact on every processor; with 8 it saturates on x86 without VNNI"""
    table_bits: Literal[4, 8] = 8
    """of the table of pieces: 8 with one scale a column; 4 (`int4-weight`) with one for 32 values of a row"""
    learn_steps: bool = True
    """`qat` in int8: steps are learned (LSQ); else those of weights follow the weights and ranges stay"""
    against: Literal["teacher", "student", "labels"] = "teacher"
    """whose answers are learned: the teacher's, those of the model before it was rounded, or labels alone"""
    keep: Literal["auto"] | tuple[str, ...] = ()
    """products that stay float, by name or pattern (`layers.0.*`); "auto": the most sensitive, see `floor`"""
    floor: float = Field(default=0.003, ge=0, le=1)
    """primary score on validation that may be lost, 0..1: by rounding alone for `keep = "auto"`, in the end
    for `scheme = "auto"`"""
    phases: tuple[Phase, ...] | None = Field(default=None, max_length=64)
    """`qat`: trainings in a row; 2 epochs of `logit_mse` (against labels `cross_entropy`) by default"""
    augment: AugmentSection = AugmentSection()

    @model_validator(mode="after")
    def _bits_fit(self) -> Self:
        if self.weight_bits is not None and self.scheme == "int4-weight":
            raise ValueError("`weight_bits` is of int8 weights; int4-weight has four")
        return self

    @model_validator(mode="after")
    def _phases_fit(self) -> Self:
        if self.phases is None:
            return self
        if self.method == "ptq":
            raise ValueError('`phases` go with `method = "qat"`: ptq trains nothing')
        if not self.phases:
            raise ValueError('`phases` is empty: name one, or take `method = "ptq"`')
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError("two phases have the same name")
        other = sorted(loss.name for phase in self.phases for loss in phase.losses if loss.target != "labels")
        if self.against == "labels" and other:
            raise ValueError(f'`against = "labels"` learns from labels alone, and a phase has {other[0]}')
        if self.against == "student" and any(phase.teacher == "base" for phase in self.phases):
            raise ValueError('`against = "student"` has no base teacher: leave `teacher` out of its phases')
        return self

    def of(self, scheme: Scheme) -> QuantizeSection:
        """These settings with a scheme; bits that it does not have are left out."""
        bits = None if scheme == "int4-weight" else self.weight_bits
        return self.model_copy(update={"scheme": scheme, "weight_bits": bits})

    @property
    def int8_bits(self) -> Literal[7, 8]:
        """Of int8 weights."""
        return self.weight_bits or WEIGHT_BITS

    @property
    def trainings(self) -> tuple[Phase, ...]:
        """The phases that are walked."""
        if self.phases is not None:
            return self.phases
        return (AGAINST_LABELS if self.against == "labels" else AGAINST_TEACHER,)


class QuantizeConfig(Frozen):
    """All that the quantize stage depends on."""

    seed: int
    task: AnyTaskSection
    quantize: QuantizeSection


class QuantizePlan(StudentSections):
    """What can be known of a rounded model before it is made."""

    prune: Any
    """the `[prune]` section: where there is one the shape is known later"""
    quantize: QuantizeSection


class Candidate(Frozen):
    """One scheme that `scheme = "auto"` looked at."""

    scheme: str
    p50_ms: float
    """median latency on this machine, one thread, texts as long as those of the validation split"""
    score: float
    """on validation, 0..1"""


class QuantizeResult(Frozen):
    """What the quantize stage reports."""

    scheme: str
    method: str
    against: str | None
    """None where nothing was trained"""
    candidates: tuple[Candidate, ...]
    """`scheme = "auto"`: what was looked at, the fastest first; the last one was taken"""
    keep: tuple[str, ...]
    """products that stay float"""
    sensitivity: Mapping[str, float]
    """`keep = "auto"`: KL of the answers, in nats, when a product alone is rounded"""
    before: Mapping[str, Quality]
    """of the float model, by held-out split"""
    rounded: Mapping[str, Quality]
    """before any training"""
    quality: Mapping[str, Quality]
    """of the model that is saved"""
    trained: bool
    """whether the training's weights are saved: not so where rounding alone is better on validation"""
    parameters: int
    embedding_parameters: int
    size_bytes: int
    """of the weights as they are stored here, in float"""
    pool: PoolReport
    cache: CacheReport | None
    phases: tuple[PhaseReport, ...]
    transformers_folder: bool
    """whether the model is also saved for AutoModelForSequenceClassification"""
    seconds: float


def run(config: QuantizeConfig, inputs: Mapping[str, Artifact], work: Work) -> QuantizeResult:
    """See run.py."""
    from squeeze.stages.quantize import run as implementation

    return implementation.run(config, inputs, work)


def check(config: QuantizePlan, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """See planned.py."""
    from squeeze.stages.quantize import planned

    return planned.check(config)


def sources(config: QuantizeConfig) -> dict[str, str]:
    """The machine, where its speed decides which scheme is taken."""
    if config.quantize.scheme != "auto":
        return {}
    return this_machine()


STAGE = Stage(
    name="quantize",
    section="quantize",
    version=3,
    takes={"dataset": "dataset", "teacher": "teacher", "encoder": "encoder"},
    gives="encoder",
    at_plan=Check(QuantizePlan, check),
    config=QuantizeConfig,
    result=QuantizeResult,
    run=run,
    libraries=("torch", "transformers", "tokenizers", "numpy"),
    sources=sources,
)
