"""How the batch's texts relate by their gradients of a classifier on the first token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.data.teacher_cache import LOGITS, hidden
from squeeze.distillation.losses.base import ObservedBatch, StateLoss

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

__all__ = ["DiswotSemantic"]


class DiswotSemantic(StateLoss):
    """How the batch's texts relate by their gradients of a classifier on the first token; our form."""

    # It reads the answers, but a student can satisfy it with wrong ones: no epoch is chosen by it.
    logits = True
    answer_kinds = frozenset({"softmax"})

    name: Literal["diswot_semantic"]

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """Relations of the texts' gradients of a classifier on the first token's last state; our form of M_s.

        Differentiable because the gradient has a closed form. It is that of a linear layer on what the head
        reads and not of the head's own last matrix: what that one reads of the teacher is not kept. Text
        without a label takes the teacher's answer. See squeeze/core/diswot.py.
        """
        from squeeze.core import diswot

        [(s, t)] = self.pairs(*seen.depths)
        logits, labels = seen.batch[LOGITS], seen.batch["labels"]
        answers = logits.argmax(-1).where(labels < 0, labels)
        theirs = diswot.gradient_relations(logits, answers, seen.batch[hidden(t)][:, 0])
        ours = diswot.gradient_relations(seen.student.logits, answers, seen.student.hidden[s][:, 0])
        return diswot.distance(theirs, ours)
