"""The terms of a phase's objective, and how each is computed.

Adding a loss: a pure function in squeeze/core, an entry in LOSSES and one in NEEDS (terms.py), its name in
config.py's `Loss.name`, and its test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from squeeze.core import diswot, losses
from squeeze.core.layer_map import LayerMap
from squeeze.data.teacher_cache import LOGITS, attention, hidden, relations
from squeeze.distillation.config import TRAIN_HEAD, Loss, Phase
from squeeze.distillation.terms import NEEDS, layer_pairs
from squeeze.models.encoder import Encoder, Outputs

__all__ = ["LOSSES", "Objective", "Seen"]

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Seen:
    """One batch, seen by student and teacher.

    Attributes:
        student: the student's forward pass.
        batch: ids, mask, labels (-1: none) and the teacher's features.
        loss: the term's settings.
        pairs: (student layer, teacher layer), hidden states counted from 1.
        project: (teacher state, student state) brought to one width.
    """

    student: Outputs
    batch: Batch
    loss: Loss
    pairs: LayerMap
    project: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    @property
    def mask(self) -> Tensor:
        """(B, T)."""
        return self.batch["mask"]


def _cross_entropy(seen: Seen) -> Tensor:
    return losses.cross_entropy(seen.student.logits, seen.batch["labels"])


def _soft(function: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Seen], Tensor]:
    return lambda seen: function(seen.student.logits, seen.batch[LOGITS], seen.loss.temperature)


def _plain(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Seen], Tensor]:
    return lambda seen: function(seen.student.logits, seen.batch[LOGITS])


def _topk(seen: Seen) -> Tensor:
    loss = seen.loss
    return losses.topk_kd(seen.student.logits, seen.batch[LOGITS], loss.k, temperature=loss.temperature)


def _hidden(seen: Seen) -> Tensor:
    total = [
        losses.hidden_mse(ours, theirs, seen.mask)
        for s, t in seen.pairs
        for theirs, ours in [seen.project(seen.batch[hidden(t)], seen.student.hidden[s])]
    ]
    return torch.stack(total).mean()


def _attention(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Seen], Tensor]:
    def compute(seen: Seen) -> Tensor:
        each = [
            function(seen.student.attention[s - 1], seen.batch[attention(t)], seen.mask)
            for s, t in seen.pairs
        ]
        return torch.stack(each).mean()

    return compute


def _relations(seen: Seen) -> Tensor:
    each = [
        losses.relation_kl(ours, seen.batch[relations(t)][:, :, part], seen.mask, seen.loss.heads)
        for s, t in seen.pairs
        for part, ours in enumerate(seen.student.relations[s - 1])
    ]
    return torch.stack(each).sum() / len(seen.pairs)


def _pooled(seen: Seen) -> Tensor:
    s, t = seen.pairs[-1]
    theirs, ours = seen.project(seen.batch[hidden(t)], seen.student.hidden[s])
    return losses.pooled_mimic(losses.mean_pool(ours, seen.mask), losses.mean_pool(theirs, seen.mask))


def _diswot_relation(seen: Seen) -> Tensor:
    """Relations of the batch's pooled last states (DisWOT+, arXiv:2303.15678); widths may differ.

    The paper's code weighs it 3000 beside cross-entropy and KL: rows of length 1 make it at most 4 / B.
    """
    s, t = seen.pairs[-1]
    ours, theirs = (
        losses.mean_pool(states, seen.mask) for states in (seen.student.hidden[s], seen.batch[hidden(t)])
    )
    return diswot.relation_distance(theirs, ours)


def _diswot_semantic(seen: Seen) -> Tensor:
    """Relations of the texts' gradients of a classifier on the first token's last state; our form of M_s.

    Differentiable because the gradient has a closed form. It is that of a linear layer on what the head
    reads and not of the head's own last matrix: what that one reads of the teacher is not kept. Text
    without a label takes the teacher's answer.
    """
    s, t = seen.pairs[-1]
    logits, labels = seen.batch[LOGITS], seen.batch["labels"]
    answers = torch.where(labels < 0, logits.argmax(-1), labels)
    theirs = diswot.gradient_relations(logits, answers, seen.batch[hidden(t)][:, 0])
    ours = diswot.gradient_relations(seen.student.logits, answers, seen.student.hidden[s][:, 0])
    return diswot.distance(theirs, ours)


LOSSES: Mapping[str, Callable[[Seen], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "soft_cross_entropy": _soft(losses.soft_cross_entropy),
    "kl": _soft(losses.kl),
    "logit_mse": _plain(losses.logit_mse),
    "jensen_shannon": _plain(losses.jensen_shannon),
    "topk_kd": _topk,
    "hidden_mse": _hidden,
    "attention_mse": _attention(losses.attention_mse),
    "attention_kl": _attention(losses.attention_kl),
    "relation_kl": _relations,
    "pooled_mimic": _pooled,
    "diswot_relation": _diswot_relation,
    "diswot_semantic": _diswot_semantic,
}
"""The value of each loss on a batch; what it needs for that stands in terms.py."""


class Objective(nn.Module):
    """A student and the weighted sum of a phase's losses.

    Args:
        student: what is trained.
        phase: the losses and their weights.
        teacher_layers: depth of the teacher.
        axes: (Ht, Hs) fixed projection of the teacher's states; None when the widths are equal.
        alpha: factor of cross entropy, and 1 - alpha of the losses on the teacher's answers; the others
            keep their weights. None leaves all weights as they are.
    """

    def __init__(
        self, student: Encoder, phase: Phase, teacher_layers: int, axes: Tensor | None, alpha: float | None
    ) -> None:
        super().__init__()
        self.student = student
        self.losses: Sequence[Loss] = phase.losses
        self.weights = [loss.weight * _share(loss, alpha) for loss in phase.losses]
        depth = len(student.shape.layers)
        self.pairs = [
            layer_pairs(loss, depth, teacher_layers) if NEEDS[loss.name].feature else ()
            for loss in phase.losses
        ]
        self.axes = axes
        self.inside = any(NEEDS[loss.name].inside for loss in phase.losses)
        self.plain = not any(NEEDS[loss.name].feature for loss in phase.losses)
        learned = axes is not None and any(loss.projection == "learned" for loss in phase.losses)
        self.learned = (
            nn.Linear(student.shape.hidden, len(axes), bias=False) if learned and axes is not None else None
        )

    def forward(self, batch: Batch) -> Tensor:
        """Scalar loss of one batch."""
        if self.plain:
            outputs = Outputs(logits=self.student(batch["ids"], batch["mask"]))
        else:
            outputs = self.student.observe(batch["ids"], batch["mask"], inside=self.inside)
        terms = [
            weight * LOSSES[loss.name](Seen(outputs, batch, loss, pairs, self._projection(loss)))
            for loss, weight, pairs in zip(self.losses, self.weights, self.pairs, strict=True)
            if weight > 0
        ]
        return torch.stack(terms).sum()

    def _projection(self, loss: Loss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        if self.axes is None:
            return lambda theirs, ours: (theirs, ours)
        # Pooled mimicry keeps its projection fixed whatever is asked: a trained one lets both sides
        # collapse to one point.
        if loss.projection == "learned" and self.learned is not None and loss.name != "pooled_mimic":
            learned = self.learned
            return lambda theirs, ours: (theirs, learned(ours))
        axes = self.axes
        return lambda theirs, ours: (theirs @ axes, ours)


def _share(loss: Loss, alpha: float | None) -> float:
    """What `alpha` makes of a loss: labels against the teacher's answers (Hinton et al. 2015)."""
    if alpha is None or loss.name not in TRAIN_HEAD:
        return 1.0
    return alpha if loss.name == "cross_entropy" else 1 - alpha
