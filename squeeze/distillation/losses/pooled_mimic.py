"""Squared difference of mean-pooled last states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.data.teacher_cache import hidden
from squeeze.distillation.losses.base import ObservedBatch, StateLoss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

__all__ = ["PooledMimic"]


class PooledMimic(StateLoss):
    """Mean-pooled last states; a narrower student meets them on fixed principal axes."""

    name: Literal["pooled_mimic"]

    @property
    def fixed_axes(self) -> bool:
        """Always: a trained projection lets both sides collapse to one point."""
        return True

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """Mean squared difference of pooled vectors: the student mimics the teacher's space.

        The recipe of the crisis mini models. The projection must not be trained: student and projected
        teacher would both move, and the cheapest agreement is one constant vector for all texts.
        """
        from squeeze.core.hidden_states import mean_pool

        [(s, t)] = self.pairs(*seen.depths)
        both = (seen.student.hidden[s], seen.on_axes(seen.batch[hidden(t)]))
        ours, theirs = (mean_pool(states, seen.mask) for states in both)
        return (ours - theirs).square().mean()
