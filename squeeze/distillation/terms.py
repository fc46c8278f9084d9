"""What each loss needs of student and teacher, known without torch: profiles are checked with it.

How a loss is computed stands in objective.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from squeeze.core.layer_map import LAYER_MAPS, LayerMap
from squeeze.data.teacher_cache import LOGITS, Feature, attention, hidden, relations
from squeeze.distillation.config import Loss, Phase

__all__ = ["NEEDS", "Needs", "layer_pairs", "needed"]


@dataclass(frozen=True)
class Needs:
    """What one loss reads.

    Attributes:
        feature: the teacher's feature of one teacher layer, for losses inside the network.
        logits: whether it reads the teacher's logits.
        inside: whether the student's attention and relations are needed.
        last_only: whether only the last pair of layers is compared.
    """

    feature: Callable[[int], Feature] | None = None
    logits: bool = False
    inside: bool = False
    last_only: bool = False


NEEDS: Mapping[str, Needs] = {
    "cross_entropy": Needs(),
    "soft_cross_entropy": Needs(logits=True),
    "kl": Needs(logits=True),
    "logit_mse": Needs(logits=True),
    "jensen_shannon": Needs(logits=True),
    "topk_kd": Needs(logits=True),
    "hidden_mse": Needs(feature=hidden),
    "attention_mse": Needs(feature=attention, inside=True),
    "attention_kl": Needs(feature=attention, inside=True),
    "relation_kl": Needs(feature=relations, inside=True),
    "pooled_mimic": Needs(feature=hidden, last_only=True),
    "diswot_relation": Needs(feature=hidden, last_only=True),
    # It reads the answers, but a student can satisfy it with wrong ones: no epoch is chosen by it.
    "diswot_semantic": Needs(feature=hidden, logits=True, last_only=True),
}


def layer_pairs(loss: Loss, student_layers: int, teacher_layers: int) -> LayerMap:
    """Which layers a term compares."""
    pairs = LAYER_MAPS[loss.layers](student_layers, teacher_layers)
    return pairs[-1:] if NEEDS[loss.name].last_only else pairs


def needed(phase: Phase, student_layers: int, teacher_layers: int) -> tuple[Feature, ...]:
    """Teacher features that a phase reads, in a fixed order."""
    found: list[Feature] = []
    for loss in phase.losses:
        needs = NEEDS[loss.name]
        if needs.logits:
            found.append(LOGITS)
        if needs.feature is not None:
            found += [needs.feature(t) for _, t in layer_pairs(loss, student_layers, teacher_layers)]
    return tuple(dict.fromkeys(found))
