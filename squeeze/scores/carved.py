"""Scores of a student as it is carved, before its first step: our own candidates.

Carving keeps most of what the teacher can do, so the untrained student already shows what was lost.
All are higher for a better student.
"""

from __future__ import annotations

from torch import Tensor

from squeeze.core import diswot
from squeeze.distillation.losses.kl import KLDivergence
from squeeze.models.carve import Cut, Importance
from squeeze.scores.subjects import Look

__all__ = ["kl", "mass", "relation", "share", "taylor"]


def relation(look: Look) -> float:
    """Minus the relation distance of pooled last states to the trained teacher's."""
    return -float(diswot.distance(look.ground.seen.relations, look.seen.relations))


def kl(look: Look) -> float:
    """Minus KL(trained teacher || student) of the answers, mean over texts, in nats."""
    return -float(KLDivergence(name="kl").compare(look.seen.logits, look.ground.seen.logits))


def taylor(look: Look) -> float:
    """Share of the teacher's first-order importance that the cut keeps, 0..1."""
    assert look.ground.importance is not None
    return mass(look.ground.importance, look.cut)


def mass(importance: Importance, cut: Cut) -> float:
    """Mean of the shares of importance that the kept heads and the kept neurons hold.

    Heads and neurons are weighed alike: a layer has a hundred times more neurons, and their sum would
    say nothing of the heads. Layers are not levelled, since what is lost with a whole layer is the point.

    Args:
        importance: of all the teacher's heads and neurons.
        cut: what is kept.
    """
    heads = share(importance.heads, cut.layers, cut.heads)
    return (heads + share(importance.neurons, cut.layers, cut.neurons)) / 2


def share(scores: tuple[Tensor, ...], layers: tuple[int, ...], kept: tuple[tuple[int, ...], ...]) -> float:
    """What the kept members hold of the sum over all layers; 1 where that sum is 0.

    Args:
        scores: one row of values a layer, none negative.
        layers: that are kept.
        kept: members of each of these layers.
    """
    total = sum(float(row.sum()) for row in scores)
    held = sum(float(scores[layer][list(some)].sum()) for layer, some in zip(layers, kept, strict=True))
    return held / total if total else 1.0
