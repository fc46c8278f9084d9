"""How the batch's texts relate by their pooled last states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.data.teacher_cache import hidden
from squeeze.distillation.losses.base import ObservedBatch, StateLoss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

__all__ = ["DiswotRelation"]


class DiswotRelation(StateLoss):
    """How the batch's texts relate by their pooled last states; widths may differ (arXiv:2303.15678)."""

    name: Literal["diswot_relation"]

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """Relations of the batch's pooled last states (DisWOT+); see squeeze/core/diswot.py.

        The paper's code weighs it 3000 beside cross-entropy and KL: rows of length 1 make it at most 4 / B.
        """
        from squeeze.core import diswot
        from squeeze.core.hidden_states import mean_pool

        [(s, t)] = self.pairs(*seen.depths)
        pooled = (mean_pool(states, seen.mask) for states in (seen.batch[hidden(t)], seen.student.hidden[s]))
        return diswot.relation_distance(*pooled)
