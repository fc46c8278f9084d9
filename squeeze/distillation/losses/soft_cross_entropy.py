"""Cross-entropy to the teacher's softened probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import SoftenedLoss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SoftCrossEntropy"]


class SoftCrossEntropy(SoftenedLoss):
    """Softened probabilities, times T^2 (arXiv:1503.02531); its least value is not 0."""

    name: Literal["soft_cross_entropy"]

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Cross-entropy, times T^2 (Hinton et al. 2015).

        Its least value is T^2 times the teacher's entropy and not 0; the gradient is that of ``kl``.

        >>> import torch
        >>> loss = SoftCrossEntropy(name="soft_cross_entropy", temperature=2.0)
        >>> loss.compare(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor(2.7726)
        """
        target = (teacher / self.temperature).softmax(dim=-1)
        return -(target * self.log_softened(student)).sum(dim=-1).mean() * self.temperature**2
