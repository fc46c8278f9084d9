"""What a profile says of students and of how they learn, and what a training reports.

Three stages distil: `search` tries students for a short time, `distil` makes the one that is wanted,
`prune` lets a cut one recover. They share these models and the code of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from squeeze.data.teacher_cache import Feature
from squeeze.distillation.losses import LOSSES, AnyLoss
from squeeze.schema import Frozen
from squeeze.tasks import AnswerKind, AnyTaskSection
from squeeze.training.config import Schedule

__all__ = [
    "ARCH",
    "PREDICTIONS",
    "AugmentSection",
    "CacheReport",
    "Depth",
    "DistilConfig",
    "DistilSection",
    "EmbeddingSection",
    "Layers",
    "Phase",
    "PhaseReport",
    "PoolReport",
    "StudentSection",
    "StudentSections",
    "VocabularyReport",
    "VocabularySection",
    "phase_faults",
]


PREDICTIONS = "predictions.safetensors"
"""File of the answers, logits by split, in the folder of a teacher and of a student."""
ARCH = "arch.json"
"""File of a `[student]` section that a search has chosen."""

Depth: TypeAlias = Annotated[int, Field(le=1000)]
"""A number of layers."""
Layers: TypeAlias = Annotated[tuple[Annotated[int, Field(lt=1000)], ...], Field(max_length=1000)]
"""Layers by number, counted from 0."""
Heads: TypeAlias = Annotated[int, Field(le=1024)]
"""A number of attention heads."""
Neurons: TypeAlias = Annotated[int, Field(le=1_000_000)]
"""A number of feed-forward neurons."""


class VocabularySection(Frozen):
    """The `[student.vocabulary]` section: which pieces of the tokenizer the student keeps."""

    trim: bool = False
    """drop pieces; dropped ones are re-segmented into kept ones, never made unknown"""
    frequent: int = Field(default=12_000, ge=0, le=10_000_000)
    """most frequent general pieces to keep besides those that the task's text uses"""
    pieces: int | None = Field(default=None, ge=1, le=10_000_000)
    """size of the vocabulary, in place of `frequent`: what the task needs, then frequent pieces up to it"""
    min_count: int = Field(default=1, ge=1, le=1_000_000_000)
    """how often the task's text must use a piece for it to be kept on that account"""


class EmbeddingSection(Frozen):
    """The `[student.embedding]` section: how the table of the kept pieces is stored."""

    kind: Literal["dense", "factorised", "product"] = "dense"
    """whole table, low rank by SVD, or product quantization (codes and codebooks)"""
    rank: int = Field(default=96, ge=1, le=65_536)
    """`factorised`: width of the table before its projection to the hidden width"""
    subvectors: int = Field(default=32, ge=1, le=65_536)
    """`product`: codes a piece; must divide the embedding width; each costs one byte a piece"""
    codewords: int = Field(default=256, ge=2, le=256)
    """`product`: entries of each codebook"""


class StudentSection(Frozen):
    """The `[student]` section: the shape of the student and where it starts."""

    init: Literal["carve", "random", "path"] = "carve"
    """cut out of the teacher, random weights, or a student made before (`path`)"""
    path: str | None = None
    """folder of an earlier student (`init = "path"`)"""
    layers: Depth | Layers = 3
    """how many teacher layers to keep, evenly spread, or which ones (counted from 0)"""
    heads: Heads | tuple[Heads, ...] | None = None
    """attention heads, for all layers or layer by layer; the teacher's by default"""
    head_size: int | None = Field(default=None, ge=1, le=16_384)
    """width of one head; the teacher's by default, and always so when carved"""
    ffn: Neurons | tuple[Neurons, ...] | None = None
    """feed-forward neurons, for all layers or layer by layer; the teacher's by default"""
    hidden: int | None = Field(default=None, ge=1, le=65_536)
    """hidden width; the teacher's by default; a smaller one keeps the widest subspace (PCA)"""
    max_positions: int | None = Field(default=None, ge=8, le=65_536)
    """longest input in tokens; `[task] max_length` by default"""
    vocabulary: VocabularySection = VocabularySection()
    embedding: EmbeddingSection = EmbeddingSection()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.init == "path") != (self.path is not None):
            raise ValueError('`path` goes with init = "path", and only with it')
        depth = self.layers if isinstance(self.layers, int) else len(self.layers)
        if depth < 1:
            raise ValueError("`layers`: a student needs at least one")
        for name, value in (("heads", self.heads), ("ffn", self.ffn)):
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            if any(number < 1 for number in values):
                raise ValueError(f"`{name}` must be at least 1")
            if isinstance(value, tuple) and len(value) != depth:
                raise ValueError(f"`{name}` lists {len(value)} layers, `layers` gives {depth}")
        return self


class Phase(Schedule):
    """One `[[distil.phases]]` entry: which teacher, which text, which losses, how long."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    """name of the phase in reports and checkpoints"""
    losses: tuple[AnyLoss, ...] = Field(min_length=1, max_length=64)
    """terms of the objective, summed with their weights"""
    data: Literal["all", "labelled", "unlabelled"] = "all"
    """which part of the text pool"""
    teacher: Literal["task", "base"] = "task"
    """the fine-tuned teacher, or the one before fine-tuning (needs `[teacher] keep_base`)"""
    alpha: float | Literal["auto"] | None = None
    """factor of losses on labels (`cross_entropy`, ...); those on the teacher's answers get 1 - alpha;
    losses inside the network keep their weights; "auto" computes it in closed form"""
    freeze_embedding: bool = False
    """leave the embedding as it was carved"""

    @model_validator(mode="after")
    def _losses_have_targets(self) -> Self:
        headless = sorted(loss.name for loss in self.losses if loss.logits)
        if self.teacher == "base" and headless:
            inside = [name for name, loss in LOSSES.items() if loss.target == "inside" and not loss.logits]
            raise ValueError(
                f'`teacher = "base"` has no head for this task, so {headless[0]} has no target;'
                f" use losses inside the network ({', '.join(inside)})"
            )
        if self.data == "unlabelled" and (by_label := self._aimed_at("labels")):
            raise ValueError(f'{by_label[0]} needs labels, `data = "unlabelled"` has none')
        return self

    @model_validator(mode="after")
    def _alpha_has_two_sides(self) -> Self:
        if self.alpha is not None and not (self._aimed_at("labels") and self._aimed_at("answers")):
            known = ", ".join(sorted(name for name, loss in LOSSES.items() if loss.target == "answers"))
            raise ValueError(
                f"`alpha` weighs a loss on labels against one on the teacher's answers ({known}): give both"
            )
        if isinstance(self.alpha, float) and not 0 <= self.alpha <= 1:
            raise ValueError("`alpha` lies between 0 and 1")
        return self

    def _aimed_at(self, target: str) -> list[str]:
        """Names of the losses with that target."""
        return [loss.name for loss in self.losses if loss.target == target]

    @property
    def trains_head(self) -> bool:
        """Whether a loss trains the classification head, so that answers tell one epoch from another."""
        return any(loss.target != "inside" for loss in self.losses)

    def features(self, student_layers: int, teacher_layers: int) -> tuple[Feature, ...]:
        """What the losses read of the teacher, in a fixed order."""
        read = [loss.features(student_layers, teacher_layers) for loss in self.losses]
        return tuple(dict.fromkeys(feature for features in read for feature in features))


def phase_faults(phase: Phase, labels: int, answers: AnswerKind | None = None) -> Iterator[tuple[str, str]]:
    """(key, message) of what a phase asks for that no student can give.

    Args:
        phase: its losses and settings.
        labels: number of outputs.
        answers: how they are read; None: that has been checked.
    """
    if phase.patience is not None and not phase.trains_head:
        yield (
            "patience",
            "no loss of it trains the head, so no score can rise; leave it out, or add a loss on the answers,"
            " such as logit_mse",
        )
    for number, loss in enumerate(phase.losses):
        if answers is not None and answers not in loss.answer_kinds:
            able = (
                name
                for name, kind in LOSSES.items()
                if answers in kind.answer_kinds and kind.target == loss.target
            )
            yield (
                f"losses.{number}.name",
                f"{loss.name} does not fit the task's outputs; try {', '.join(able)}",
            )
        for key, message in loss.faults(labels):
            yield f"losses.{number}.{key}", message


class AugmentSection(Frozen):
    """The `[distil.augment]` section: more text for small sets, labelled by the teacher."""

    copies: int = Field(default=0, ge=0, le=1000)
    """changed copies of every training text"""
    replace: float = Field(default=0.15, ge=0, le=1)
    """share of a copy's tokens replaced by near neighbours in the teacher's embedding"""
    neighbours: int = Field(default=10, ge=1, le=10_000)
    """how many nearest tokens a replacement is drawn from"""
    drop: float = Field(default=0.05, ge=0, lt=1)
    """share of a copy's tokens left out"""
    splice: float = Field(default=0.1, ge=0, le=1)
    """share of the copies that join the head of one text and the tail of another"""


class DistilSection(Frozen):
    """The `[distil]` section."""

    phases: tuple[Phase, ...] = Field(min_length=1, max_length=64)
    """trainings in a row; each starts where the one before ended"""
    augment: AugmentSection = AugmentSection()
    importance_batches: int = Field(default=32, ge=1, le=1_000_000)
    """batches of real text on which heads and neurons are ranked before carving"""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError("two phases have the same name")
        return self


class StudentSections(Frozen):
    """The sections that say what a student is made of, for the checks at planning."""

    task: AnyTaskSection
    teacher: Any
    """the `[teacher]` section, which belongs to another stage"""
    student: StudentSection
    distil: DistilSection | None
    search: Any
    """likewise; where there is one the student's shape is known later"""


class DistilConfig(Frozen):
    """All that the distil stage depends on."""

    seed: int
    task: AnyTaskSection
    student: StudentSection
    distil: DistilSection


class PhaseReport(Frozen):
    """How one phase went."""

    name: str
    epochs: int
    steps: int
    samples: int
    seconds: float
    samples_per_second: float
    best_epoch: int
    best_score: float
    alpha: float | None = None
    history: tuple[Mapping[str, float], ...] = ()


class VocabularyReport(Frozen):
    """What trimming did to the text."""

    pieces: int
    kept: int
    train_resegmented: float
    test_resegmented: float
    test_texts_touched: float
    unknown_before: float
    unknown_after: float


class PoolReport(Frozen):
    """Where the distillation text came from."""

    labelled: int
    unlabelled: int
    augmented: int
    replaced_tokens: int
    dropped_tokens: int
    spliced_texts: int


class CacheReport(Frozen):
    """What the teacher computed and what was found ready."""

    texts: int
    computed: int
    bytes: int
    seconds: float
