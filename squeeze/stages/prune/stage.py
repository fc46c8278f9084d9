"""Cut a trained encoder smaller, and let it recover from its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.distillation.config import (
    AugmentSection,
    CacheReport,
    Depth,
    Layers,
    Phase,
    PhaseReport,
    PoolReport,
    StudentSections,
)
from squeeze.distillation.losses.logit_mse import LogitMSE
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work, this_machine
from squeeze.tasks import AnyTaskSection

__all__ = [
    "NO_SPEED",
    "RECOVERY",
    "STAGE",
    "LearnedSection",
    "Measured",
    "PruneConfig",
    "PrunePlan",
    "PruneResult",
    "PruneSection",
    "SparsityReport",
]

NO_SPEED = "unstructured sparsity gives no speed in ONNX Runtime: it multiplies zeros like any other number"
RECOVERY = Phase(name="recover", epochs=3, learning_rate=2e-4, losses=(LogitMSE(name="logit_mse"),))
MethodName = Literal["magnitude", "taylor", "learned", "random"]


class LearnedSection(Frozen):
    """The `[prune.learned]` section: how masks are learned (`method = "learned"`)."""

    steps: int = Field(default=256, ge=1, le=10_000_000)
    """batches walked, over and over; from `start` a mask needs 60 to fall at the default step size"""
    learning_rate: float = Field(default=0.1, gt=0, le=100)
    """step size of Adam on the masks' logits; the model itself is frozen"""
    states: float = Field(default=0.2, ge=0, le=1e6)
    """weight of the error of the states inside against that of the answers"""
    beta: float = Field(default=1.0, gt=0, le=1e6)
    """weight of gates that are open above the target against both errors"""
    start: float = Field(default=3.0, ge=-100, le=100)
    """logit of every mask at first; 3 is nearly always open"""


class PruneSection(Frozen):
    """The `[prune]` section; what is left out is not cut."""

    method: MethodName = "taylor"
    """what heads and neurons are ranked by; see squeeze/stages/prune/README.md"""
    share: float | None = Field(default=None, ge=0, lt=1)
    """share of all heads and of all feed-forward neurons to cut, 0..1"""
    heads: float | None = Field(default=None, ge=0, lt=1)
    """share of all heads to cut, 0..1; `share` by default; each layer keeps one at least"""
    neurons: float | None = Field(default=None, ge=0, lt=1)
    """share of all feed-forward neurons to cut, 0..1; `share` by default; each layer keeps one at least"""
    scope: Literal["global", "layer"] = "global"
    """rank over all layers together, or cut each layer by the same share"""
    latency_ms: float | None = Field(default=None, gt=0, le=1e7)
    """in place of shares: cut until the predicted latency is so many milliseconds"""
    latency_share: float | None = Field(default=None, gt=0, lt=1)
    """in place of shares: cut until the predicted latency is this share of what it was, 0..1"""
    latency_form: Literal["fp32", "int8-dynamic"] = "int8-dynamic"
    """exported form whose latency is predicted"""
    block: int = Field(default=16, ge=1, le=65_536)
    """neurons that a latency target cuts at a time; a processor works on so many at once"""
    layers: Depth | Layers | None = None
    """how many whole layers to keep, evenly spread, or which ones (counted from 0)"""
    hidden: int | None = Field(default=None, ge=1, le=65_536)
    """hidden width to keep: the widest subspace of real states (PCA)"""
    rank: int | None = Field(default=None, ge=1, le=65_536)
    """rank of the table of pieces, by SVD; not for a product-quantized table, which has none"""
    pieces: int | None = Field(default=None, ge=1, le=10_000_000)
    """size of the vocabulary: what the task needs, then frequent pieces up to it"""
    sparsity: float | None = Field(default=None, gt=0, lt=1)
    """share of single weights of the layers to set to zero, 0..1; no speed in ONNX Runtime"""
    pattern: Literal["unstructured", "2:4"] = "unstructured"
    """any weights, or two of every four neighbours (`sparsity` is then 0.5), for targets that use it"""
    sparsity_scope: Literal["global", "layer"] = "global"
    """`unstructured`: rank all matrices of all layers together, or each by itself"""
    batches: int = Field(default=32, ge=1, le=1_000_000)
    """batches of 16 training texts on which heads and neurons are ranked"""
    learned: LearnedSection = LearnedSection()
    phases: tuple[Phase, ...] | None = Field(default=None, max_length=64)
    """trainings in a row that let it recover; 3 epochs of `logit_mse` by default; an empty list: none"""
    augment: AugmentSection = AugmentSection()

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        asked = (self.heads_cut, self.neurons_cut, self.latency_ms, self.latency_share)
        if not any((*asked, self.layers is not None, self.hidden, self.rank, self.pieces, self.sparse)):
            raise ValueError("nothing to cut: give `share`, `latency_share`, `layers`, `hidden`, ...")
        return self

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        shares = [name for name in ("share", "heads", "neurons") if getattr(self, name) is not None]
        targets = [name for name in ("latency_ms", "latency_share") if getattr(self, name) is not None]
        if len(targets) == 2 or (shares and targets):
            raise ValueError(f"`{targets[0]}` goes without `{(shares or targets)[-1]}`: give one target")
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.pattern == "2:4" and self.sparsity not in (None, 0.5):
            raise ValueError('`pattern = "2:4"` has a `sparsity` of 0.5')
        count = len(self.layers) if isinstance(self.layers, tuple) else self.layers
        if count is not None and count < 1:
            raise ValueError("`layers`: at least one stays")
        names = [phase.name for phase in self.recovery]
        if len(set(names)) < len(names):
            raise ValueError("two phases have the same name")
        return self

    @property
    def recovery(self) -> tuple[Phase, ...]:
        """The phases that are walked."""
        return (RECOVERY,) if self.phases is None else self.phases

    @property
    def heads_cut(self) -> float:
        """Share of heads to cut."""
        return (self.share or 0.0) if self.heads is None else self.heads

    @property
    def neurons_cut(self) -> float:
        """Share of neurons to cut."""
        return (self.share or 0.0) if self.neurons is None else self.neurons

    @property
    def sparse(self) -> bool:
        """Whether single weights are set to zero."""
        return self.sparsity is not None or self.pattern == "2:4"


class PruneConfig(Frozen):
    """All that the prune stage depends on."""

    seed: int
    task: AnyTaskSection
    prune: PruneSection


class PrunePlan(StudentSections):
    """What can be known of a cut before it is made."""

    prune: PruneSection


class Measured(Frozen):
    """A model at one moment of pruning."""

    heads: tuple[int, ...]
    """by layer"""
    neurons: tuple[int, ...]
    """by layer"""
    hidden: int
    pieces: int
    parameters: int
    embedding_parameters: int
    size_bytes: int
    """of the weights"""
    predicted_ms: float | None = None
    """by the cost table, on a text of median length; None without a latency target"""
    quality: Mapping[str, Quality]
    """by held-out split"""


class SparsityReport(Frozen):
    """Single weights that are zero."""

    pattern: str
    weights: int
    """of the matrices that were masked"""
    zeros: float
    """share of them that is exactly zero in the saved file"""
    note: str = NO_SPEED


class PruneResult(Frozen):
    """What the prune stage reports; figures outside `before` and `cut` are of the model that is saved."""

    source: Literal["student", "teacher"]
    method: str
    before: Measured
    cut: Measured
    """before any recovery"""
    layers: tuple[int, ...]
    """layers that were kept, counted from 0"""
    parameters: int
    embedding_parameters: int
    size_bytes: int
    sparsity: SparsityReport | None
    pool: PoolReport
    cache: CacheReport
    phases: tuple[PhaseReport, ...]
    quality: Mapping[str, Quality]
    transformers_folder: bool
    """whether the model is also saved for AutoModelForSequenceClassification"""
    seconds: float


def run(config: PruneConfig, inputs: Mapping[str, Artifact], work: Work) -> PruneResult:
    """See run.py."""
    from squeeze.stages.prune import run as implementation

    return implementation.run(config, inputs, work)


def check(config: PrunePlan, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """See planned.py."""
    from squeeze.stages.prune import planned

    return planned.check(config)


def sources(config: PruneConfig) -> dict[str, str]:
    """The machine, where its speed decides what is cut."""
    if config.prune.latency_ms is None and config.prune.latency_share is None:
        return {}
    return this_machine()


STAGE = Stage(
    name="prune",
    section="prune",
    version=5,
    takes={"dataset": "dataset", "teacher": "teacher"},
    gives="encoder",
    at_plan=Check(PrunePlan, check),
    config=PruneConfig,
    result=PruneResult,
    run=run,
    libraries=("torch", "transformers", "tokenizers", "numpy"),
    sources=sources,
    may_take={"encoder": "encoder"},
)
