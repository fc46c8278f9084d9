"""Importance by first-order Taylor: what the loss would lose with a head or a neuron closed."""

from __future__ import annotations

from squeeze.core.importance import levelled
from squeeze.distillation.initialize import importance
from squeeze.models.carve import Importance
from squeeze.stages.prune.subject import Subject

__all__ = ["scores"]


def scores(subject: Subject) -> Importance:
    """|dL/dgate| of the supervised loss, mean over batches (Michel et al. 2019, arXiv:1905.10650).

    Gradients shrink or grow with depth, so layers are brought to one mean square before they are compared.
    """
    gradients = importance(subject.encoder, subject.batches, subject.task)
    return Importance(levelled(gradients.heads), levelled(gradients.neurons))
