"""The base classes of losses: their settings, what they need of a teacher, and how they are computed.

A loss is a section of the profile, so these files are read without torch; functions that need it import it.
Shapes: B rows, T tokens, K labels, A heads, H hidden width. A loss is a scalar tensor, in nats where it is a
divergence, and 0 (with a gradient) when there is nothing to learn from. A ``mask`` is (B, T), 1 for a real
token and 0 for padding; what stands at padding never changes a loss. Teacher tensors are not detached here:
compute them without gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from squeeze.core.layer_map import LAYER_MAPS, LayerMap
from squeeze.data.teacher_cache import LOGITS, Feature, attention, hidden, relations
from squeeze.models.shapes import EncoderShape
from squeeze.schema import Frozen
from squeeze.tasks import AnswerKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

    from squeeze.models.encoder import Outputs

__all__ = [
    "AnswerLoss",
    "AttentionLoss",
    "InnerLoss",
    "LabelLoss",
    "LayerLoss",
    "Loss",
    "ObservedBatch",
    "SoftenedLoss",
    "StateLoss",
    "kl_rows",
    "real_pairs",
    "same_heads",
]

FEATURES = {"hidden": hidden, "attention": attention, "relations": relations}


@dataclass(frozen=True)
class ObservedBatch:
    """One batch as student and teacher see it.

    Attributes:
        student: the student's forward pass.
        batch: ids, mask, labels (-1: none) and the teacher's features.
        depths: number of layers of student and teacher.
        axes: (Ht, Hs) fixed projection of the teacher's states; None when the widths are equal.
    """

    student: Outputs
    batch: Mapping[str, Tensor]
    depths: tuple[int, int]
    axes: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """(B, T)."""
        return self.batch["mask"]

    def on_axes(self, states: Tensor) -> Tensor:
        """States of the teacher (B, T, Ht), brought to the student's width."""
        return states if self.axes is None else states @ self.axes


class Loss(Frozen):
    """One term of a phase's objective."""

    target: ClassVar[Literal["labels", "answers", "inside"]]
    """labels, the teacher's answer to each text (`alpha` weighs these two), or what is inside the teacher"""
    answer_kinds: ClassVar[frozenset[AnswerKind]] = frozenset({"softmax", "sigmoid", "real"})
    """that it can compare"""
    logits: ClassVar[bool] = False
    """whether it reads the teacher's logits"""
    inside: ClassVar[bool] = False
    """whether it reads the student's attention and relations"""

    name: str
    weight: float = Field(default=1.0, gt=0, le=1e6)
    """factor of this term in the sum"""

    @property
    def fixed_axes(self) -> bool:
        """Whether states of a wider teacher are projected by fixed axes."""
        return False

    def features(self, student_layers: int, teacher_layers: int) -> tuple[Feature, ...]:  # noqa: ARG002
        """What is read of the teacher."""
        return (LOGITS,) if self.logits else ()

    def faults(self, labels: int) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """(key, message) of each setting that does not go with so many labels."""
        yield from ()

    def misfits(self, student: EncoderShape, teacher: EncoderShape) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """(message, hint) of each thing that it compares and that the two do not have in common."""
        yield from ()

    def modules(self, student: EncoderShape, teacher: EncoderShape) -> ModuleDict:  # noqa: ARG002
        """The parts that are trained along and are not the student's."""
        from torch.nn import ModuleDict

        return ModuleDict()

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:
        """The value on one batch: a scalar."""
        raise NotImplementedError


class LabelLoss(Loss):
    """Gives each text its label; text without one does not count."""

    target = "labels"

    def compare(self, student: Tensor, labels: Tensor) -> Tensor:
        """The value for (B, K) outputs and the labels of B rows."""
        raise NotImplementedError

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """The value on one batch: a scalar."""
        return self.compare(seen.student.logits, seen.batch["labels"])


class AnswerLoss(Loss):
    """Gives each text the teacher's answer to it."""

    target = "answers"
    logits = True

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The value for two sets of logits (B, K)."""
        raise NotImplementedError

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """The value on one batch: a scalar."""
        return self.compare(seen.student.logits, seen.batch[LOGITS])


class SoftenedLoss(AnswerLoss):
    """Compares probabilities at a temperature (Hinton et al. 2015, arXiv:1503.02531).

    A value is multiplied by the square of the temperature, which keeps the size of the gradient.
    """

    answer_kinds = frozenset({"softmax"})

    temperature: float = Field(default=1.0, gt=0, le=1000)
    """softens both sides; the loss is multiplied by its square"""

    def log_softened(self, logits: Tensor) -> Tensor:
        """Logarithms of the softened probabilities."""
        return (logits / self.temperature).log_softmax(dim=-1)


class InnerLoss(Loss):
    """Compares layers of the student with layers of the teacher; of a kind without setting the last ones."""

    target = "inside"
    feature: ClassVar[Literal["hidden", "attention", "relations"]]
    """what is read of a layer of the teacher"""

    def pairs(self, student_layers: int, teacher_layers: int) -> LayerMap:
        """(student layer, teacher layer), counted from 1."""
        return ((student_layers, teacher_layers),)

    def features(self, student_layers: int, teacher_layers: int) -> tuple[Feature, ...]:
        """What is read of the teacher."""
        pairs, feature = self.pairs(student_layers, teacher_layers), FEATURES[self.feature]
        return (*super().features(student_layers, teacher_layers), *(feature(theirs) for _, theirs in pairs))

    def misfits(self, student: EncoderShape, teacher: EncoderShape) -> Iterator[tuple[str, str]]:
        """A deeper student has layers that no layer of the teacher goes with."""
        depth, limit = len(student.layers), len(teacher.layers)
        if depth > limit:
            hint = f"{self.name} compares layer with layer; leave it out, or take fewer layers"
            yield f"[student] layers: {depth}, the teacher has {limit}", hint


class StateLoss(InnerLoss):
    """Compares hidden states."""

    feature = "hidden"

    def misfits(self, student: EncoderShape, teacher: EncoderShape) -> Iterator[tuple[str, str]]:
        """A wider student has directions that the teacher's states do not have."""
        yield from super().misfits(student, teacher)
        if student.hidden > teacher.hidden:
            hint = f"{self.name} needs a student that is no wider"
            yield f"[student] hidden: {student.hidden}, the teacher has {teacher.hidden}", hint


class LayerLoss(InnerLoss):
    """Compares paired layers, mean over the pairs."""

    layers: Literal["final", "last", "skip", "uniform"] = "final"
    """which teacher layer each student layer follows; `final`: last states only"""

    def pairs(self, student_layers: int, teacher_layers: int) -> LayerMap:
        """(student layer, teacher layer), counted from 1."""
        return LAYER_MAPS[self.layers](student_layers, teacher_layers)


class AttentionLoss(LayerLoss):
    """Compares attention maps; equal head counts head by head, others by the average over heads."""

    inside = True
    feature = "attention"

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """The value for two sets of maps (B, A, T, T) and the mask (B, T)."""
        raise NotImplementedError

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """The value on one batch: a scalar."""
        import torch

        values = [
            self.compare(seen.student.attention[s - 1], seen.batch[attention(t)], seen.mask)
            for s, t in self.pairs(*seen.depths)
        ]
        return torch.stack(values).mean()


def kl_rows(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last axis; a label of probability 0 under p counts 0, even if q has none."""
    p = log_p.exp()
    return (p * (log_p - log_q)).where(p > 0, 0.0).sum(dim=-1)


def real_pairs(mask: Tensor) -> Tensor:
    """(B, 1, T, T): True where query and key are both real."""
    real = mask.bool()
    return (real.unsqueeze(2) & real.unsqueeze(1)).unsqueeze(1)


def same_heads(student: Tensor, teacher: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (B, A, T, T) with one head count, and 0 outside the pairs (B, 1, T, T)."""
    student, teacher = student.masked_fill(~pairs, 0.0), teacher.masked_fill(~pairs, 0.0)
    if student.shape[1] == teacher.shape[1]:
        return student, teacher
    return student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)
