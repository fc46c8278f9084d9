"""What is scored, and what it is scored against.

Everything that depends on the teacher alone is computed once a `Ground`, everything that a candidate's
scores share once a `Look`: scoring thousands of candidates costs one forward pass each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from squeeze.core.diswot import relations
from squeeze.models.carve import Cut, Importance
from squeeze.models.encoder import Encoder, EncoderShape
from squeeze.scores import encoder
from squeeze.scores.encoder import View

__all__ = ["INITIALISATIONS", "Candidate", "Ground", "Look", "Seen"]

INITIALISATIONS = 5
"""Random starts that a score on random weights is averaged over: one says next to nothing (README.md)."""


@dataclass(frozen=True)
class Seen:
    """One model's view of the batch.

    Attributes:
        logits: (B, K).
        relations: (B, B) of the mean-pooled last states.
    """

    logits: Tensor
    relations: Tensor


@dataclass(frozen=True)
class Candidate:
    """A student that nobody has trained.

    Attributes:
        shape: its shape.
        carve: gives the student, carved out of the teacher and in evaluation mode; called when the first
            score asks for it, since most need only the cut. None for a student of random weights.
        cut: what of the teacher it keeps; None for one of random weights.
        ids: (B, T') the ground's texts in the student's own pieces; None where it has the teacher's.
        mask: (B, T') goes with `ids`.
    """

    shape: EncoderShape
    carve: Callable[[], Encoder] | None = None
    cut: Cut | None = None
    ids: Tensor | None = None
    mask: Tensor | None = None


@dataclass
class Ground:
    """What all candidates of a search are held against.

    Attributes:
        teacher: trained on the task, in evaluation mode.
        ids: (B, T) token numbers of one batch of training text; the same for all candidates.
        mask: (B, T).
        labels: (B,) integers, none unknown; None: scores that need labels are not to be had.
        importance: of the teacher's heads and neurons; None: `taylor_mass` is not to be had.
        seed: of random weights and of the random baseline.
        latency: predicted milliseconds of a shape; None: `predicted_latency` is not to be had.
        initialisations: random starts of scores on random weights.
        variances: share of variance kept, by table: candidates share tables.
    """

    teacher: Encoder
    ids: Tensor
    mask: Tensor
    labels: Tensor | None = None
    importance: Importance | None = None
    seed: int = 0
    latency: Callable[[EncoderShape], float] | None = None
    initialisations: int = INITIALISATIONS
    variances: dict[tuple[str, ...], float] = field(default_factory=dict, repr=False)

    @cached_property
    def seen(self) -> Seen:
        """The trained teacher's view."""
        return see(self.teacher, self.ids, self.mask)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The teacher's shape with random weights, one view for each start."""
        assert self.labels is not None
        return encoder.views(self.teacher.shape, self.ids, self.mask, self.labels, self.starts("teacher"))

    def starts(self, side: str) -> range:
        """Seeds of one side's random weights; teacher and student never share one."""
        first = 2 * self.initialisations * self.seed + (self.initialisations if side == "student" else 0)
        return range(first, first + self.initialisations)


@dataclass
class Look:
    """One candidate on its ground; what several scores need is computed when the first one asks."""

    candidate: Candidate
    ground: Ground

    @cached_property
    def student(self) -> Encoder:
        """The carved student; only for scores that say they need it."""
        assert self.candidate.carve is not None
        return self.candidate.carve()

    @property
    def cut(self) -> Cut:
        """What it keeps; only for scores that say they need it."""
        assert self.candidate.cut is not None
        return self.candidate.cut

    @property
    def ids(self) -> Tensor:
        """(B, T) the texts in the candidate's pieces."""
        return self.ground.ids if self.candidate.ids is None else self.candidate.ids

    @property
    def mask(self) -> Tensor:
        """(B, T)."""
        return self.ground.mask if self.candidate.mask is None else self.candidate.mask

    @cached_property
    def seen(self) -> Seen:
        """The carved student's view."""
        return see(self.student, self.ids, self.mask)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The candidate's shape with random weights, one view for each start."""
        shape, labels = self.candidate.shape, self.ground.labels
        assert labels is not None
        return encoder.views(shape, self.ids, self.mask, labels, self.ground.starts("student"))


def see(model: Encoder, ids: Tensor, mask: Tensor) -> Seen:
    """Run a model on the batch."""
    found = encoder.states(model, ids, mask)
    return Seen(found.logits, relations(found.pooled))
