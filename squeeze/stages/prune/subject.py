"""What an importance method looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from squeeze.models.carve import Importance
from squeeze.models.encoder import Encoder
from squeeze.progress import Progress, Silent
from squeeze.stages.prune.stage import LearnedSection
from squeeze.tasks import Task

__all__ = ["Method", "Subject"]


@dataclass(frozen=True)
class Subject:
    """A model that is to lose heads and neurons, and text to judge them by.

    Attributes:
        encoder: in evaluation mode; no method changes its weights.
        batches: token numbers (B, T), mask (B, T), labels of B rows.
        task: what they are labels of.
        learned: settings of masks that are learned.
        keep: share of heads and share of neurons that are to stay; a method may aim at it.
        seed: of every random choice.
        progress: where long steps are shown.
    """

    encoder: Encoder
    batches: tuple[tuple[Tensor, Tensor, Tensor], ...]
    task: Task
    learned: LearnedSection = field(default_factory=LearnedSection)
    keep: tuple[float, float] = (0.5, 0.5)
    seed: int = 0
    progress: Progress = field(default_factory=Silent)


Method = Callable[[Subject], Importance]
"""What every head and every neuron is worth: none negative, and comparable between layers."""
