"""The weighted sum of a phase's losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from squeeze.distillation.config import Phase
from squeeze.distillation.losses import Loss, ObservedBatch
from squeeze.models.encoder import Encoder, Outputs
from squeeze.models.shapes import EncoderShape

__all__ = ["Objective"]


class Objective(nn.Module):
    """A student and the weighted sum of a phase's losses.

    Args:
        student: what is trained.
        phase: the losses and their weights.
        teacher: shape of the teacher.
        axes: (Ht, Hs) fixed projection of the teacher's states; None when the widths are equal.
        alpha: factor of losses on labels, and 1 - alpha of the losses on the teacher's answers; the others
            keep their weights. None leaves all weights as they are.
    """

    def __init__(
        self, student: Encoder, phase: Phase, teacher: EncoderShape, axes: Tensor | None, alpha: float | None
    ) -> None:
        super().__init__()
        self.student = student
        self.losses = phase.losses
        self.weights = [loss.weight * _share(loss, alpha) for loss in phase.losses]
        self.parts = nn.ModuleList(loss.modules(student.shape, teacher) for loss in phase.losses)
        self.depths = len(student.shape.layers), len(teacher.layers)
        self.axes = axes
        self.inside = any(loss.inside for loss in phase.losses)
        self.plain = all(loss.target != "inside" for loss in phase.losses)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of one batch."""
        if self.plain:
            outputs = Outputs(logits=self.student(batch["ids"], batch["mask"]))
        else:
            outputs = self.student.observe(batch["ids"], batch["mask"], inside=self.inside)
        seen = ObservedBatch(outputs, batch, self.depths, self.axes)
        terms = [
            weight * loss(seen, cast(nn.ModuleDict, modules))
            for loss, weight, modules in zip(self.losses, self.weights, self.parts, strict=True)
            if weight > 0
        ]
        return torch.stack(terms).sum()


def _share(loss: Loss, alpha: float | None) -> float:
    """What `alpha` makes of a loss: labels against the teacher's answers (Hinton et al. 2015)."""
    if alpha is None or loss.target == "inside":
        return 1.0
    return alpha if loss.target == "labels" else 1 - alpha
