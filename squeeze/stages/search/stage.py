"""Choose the student's shape inside a budget, before anything long is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from squeeze.artifact import Artifact
from squeeze.budget import BudgetSection
from squeeze.distillation.config import DistilSection, StudentSection, StudentSections
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work
from squeeze.tasks import AnyTaskSection

__all__ = [
    "CARVED_SCORES",
    "DEFAULT_SCORE",
    "LABEL_SCORES",
    "MOST_CANDIDATES",
    "PREDICTED",
    "SCORE_NAMES",
    "STAGE",
    "TABLE",
    "Choice",
    "Finalist",
    "Row",
    "SearchConfig",
    "SearchPlan",
    "SearchResult",
    "SearchSection",
]

Choice = int | float | str
"""One value of a dimension of a space; all of them can be written into a study's database."""
PREDICTED = ("fp32", "int8-dynamic")  # forms that a cost table can be measured for
MOST_CHOICES = 64
"""Of one dimension of a space."""
CHOICES: Mapping[str, tuple[float, float]] = {
    "layers": (1, 1000),
    "heads": (1, 1024),
    "hidden": (0, 65_536),
    "pieces": (0, 10_000_000),
    "ffn": (0.01, 1_000_000),
}
"""The least and the largest choice of a dimension."""
MOST_WEIGHT = 1e6
MOST_CANDIDATES = 100_000
"""Of a space: all of them are listed at once."""
SCORE_NAMES = (
    "parameters",
    "embedding_codes",
    "embedding_variance",
    "encoder_macs",
    "predicted_latency",
    "random",
    "taylor_mass",
    "carved_kl",
    "carved_relation",
    "diswot",
    "diswot_relation",
    "diswot_semantic",
    "w_pca",
)
"""Every score that can be asked for; squeeze/scores/ has them. Higher is better in all."""

CARVED_SCORES = frozenset({"embedding_variance", "taylor_mass", "carved_kl", "carved_relation"})
"""Scores that look at what was carved out of the teacher."""
LABEL_SCORES = frozenset({"diswot", "diswot_relation", "diswot_semantic"})
"""Scores that need one label a text; squeeze/scores/table.py says so too."""
TABLE = "search.json"
"""File of all candidates with their scores."""
DEFAULT_SCORE: Mapping[str, float] = {"embedding_variance": 1.0, "taylor_mass": 1.0}
"""What ordered 24 carved students of sst2 best among sums of two that were tried (benchmarks/RESULTS.md)."""


class SearchSection(Frozen):
    """The `[search]` section: the space, what a candidate is worth, and how many are looked at."""

    space: Literal["carve-tiny", "carve-small", "tiny", "small", "base"] = "carve-tiny"
    """named space; the lists below replace single dimensions of it"""
    layers: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """numbers of layers to choose from"""
    heads: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """numbers of attention heads a layer"""
    ffn: tuple[int, ...] | tuple[float, ...] | None = Field(
        default=None, min_length=1, max_length=MOST_CHOICES
    )
    """feed-forward neurons a layer; as fractions (`2.0`): shares of the hidden width"""
    hidden: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """hidden widths; 0 is the teacher's"""
    embedding: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """forms of the table: `dense`, `product-SUBVECTORS`, `factorised-RANK`"""
    pieces: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """sizes of the vocabulary; 0 keeps all pieces"""
    score: Mapping[str, float] = Field(default_factory=lambda: dict(DEFAULT_SCORE))
    """weight of each score in what a candidate is worth; scores are standardised first"""
    trials: int = Field(default=300, ge=1, le=1_000_000)
    """candidates that are proposed; what is outside the budget costs nothing"""
    population: int = Field(default=30, ge=2, le=100_000)
    """candidates of one generation; the first is drawn at random"""
    finalists: int = Field(default=4, ge=1, le=10_000)
    """most candidates that are distilled for a short time; each halves the front that is left"""
    rows: int = Field(default=3_000, ge=1, le=1_000_000_000)
    """training texts of a finalist"""
    epochs: int = Field(default=1, ge=1, le=100_000)
    """epochs of a finalist, with the losses of the first phase of `[distil]` that trains the head"""
    tolerance: float = Field(default=0.005, ge=0, lt=1)
    """primary score that a faster finalist may lie below the best one and still be chosen"""
    headroom: float = Field(default=0.9, gt=0, le=1)
    """share of the latency budget that a prediction may use; the rest is for its error"""
    workers: int = Field(default=1, ge=1, le=1024)
    """processes that score; with more than one the order of the candidates is not repeatable"""
    storage: str | None = None
    """database of the trials, as an Optuna URL, to share it between machines; a file of the run by default"""

    @model_validator(mode="after")
    def _scores_are_known(self) -> Self:
        strange = [name for name in self.score if name not in SCORE_NAMES]
        if strange:
            raise ValueError(f"`score`: {strange[0]} is unknown; one of {', '.join(SCORE_NAMES)}")
        heavy = [name for name, weight in self.score.items() if abs(weight) > MOST_WEIGHT]
        if heavy:
            raise ValueError(f"`score`: the weight of {heavy[0]} must lie within {MOST_WEIGHT:g}")
        if not self.score:
            raise ValueError("`score` names nothing that could tell candidates apart")
        return self

    @model_validator(mode="after")
    def _counts_are_positive(self) -> Self:
        for name, (least, most) in CHOICES.items():
            values = getattr(self, name) or ()
            if any(value < least for value in values):
                raise ValueError(f"`{name}` must be at least {least:g} everywhere")
            if any(value > most for value in values):
                raise ValueError(f"`{name}` must be at most {most:g} everywhere")
        return self


class SearchConfig(Frozen):
    """All that the search depends on."""

    seed: int
    task: AnyTaskSection
    student: StudentSection
    distil: DistilSection
    search: SearchSection
    budget: BudgetSection | None


class SearchPlan(StudentSections):
    """What can be known of a search before it begins."""

    search: SearchSection


class Row(Frozen):
    """One candidate that was scored."""

    name: str
    student: StudentSection
    p50_ms: float
    p95_ms: float
    size_bytes: int
    parameters: int
    scores: Mapping[str, float]
    worth: float
    front: bool


class Finalist(Frozen):
    """One candidate that was distilled for a short time."""

    name: str
    score: float
    p95_ms: float
    size_bytes: int
    seconds: float


class SearchResult(Frozen):
    """What the search reports; search.json has the whole table."""

    space: str
    candidates: int
    """in the space, of this teacher"""
    proposed: int
    scored: int
    outside: int
    """distinct candidates that the budget excluded unscored"""
    chosen: Row
    front: tuple[Row, ...]
    finalists: tuple[Finalist, ...]
    seconds: Mapping[str, float]
    """by part: costs, scores, finalists, and the scores that are only shown beside them"""


def run(config: SearchConfig, inputs: Mapping[str, Artifact], work: Work) -> SearchResult:
    """See run.py."""
    from squeeze.stages.search import run as implementation

    return implementation.run(config, inputs, work)


def check(config: SearchPlan, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """See planned.py."""
    from squeeze.stages.search import planned

    return planned.check(config)


STAGE = Stage(
    name="search",
    section="search",
    version=5,
    takes={"dataset": "dataset", "teacher": "teacher"},
    gives="arch",
    at_plan=Check(SearchPlan, check),
    config=SearchConfig,
    result=SearchResult,
    run=run,
    libraries=("torch", "transformers", "tokenizers", "numpy", "optuna", "onnxruntime"),
    per_device=True,  # latency decides
)
