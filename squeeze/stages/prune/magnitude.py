"""Importance by size: the norm of the weights that a head or a neuron is made of."""

from __future__ import annotations

import torch
from torch import Tensor

from squeeze.core.importance import levelled
from squeeze.models.carve import Importance
from squeeze.models.encoder import Encoder
from squeeze.models.weights import Axis, AxisName, layer_weights
from squeeze.stages.prune.subject import Subject

__all__ = ["scores"]


def scores(subject: Subject) -> Importance:
    """Euclidean norm of each group of weights (Li et al. 2017, arXiv:1608.08710), levelled by layer.

    A head is its rows of queries, keys and values and its columns of the output matrix; a neuron its row
    going up and its column coming down. Layers are brought to one mean square, because the norms behind
    them undo what is large or small in a whole layer. Reads no text.
    """
    layers = range(len(subject.encoder.layers))
    return Importance(
        levelled([_norms(subject.encoder, layer, "heads") for layer in layers]),
        levelled([_norms(subject.encoder, layer, "neurons") for layer in layers]),
    )


def _norms(encoder: Encoder, layer: int, group: AxisName) -> Tensor:
    """(members,) norm of what the matrices of a layer hold of each head or neuron."""
    squares = [
        _squares(encoder.get_parameter(weight.name).detach(), place, axis)
        for weight in layer_weights(encoder.shape, layer)
        for place, axis in enumerate(weight.axes)
        if weight.kind == "matrix" and axis.name == group
    ]
    return torch.stack(squares).sum(0).sqrt()


def _squares(matrix: Tensor, place: int, axis: Axis) -> Tensor:
    """(members,) sums of squares over all but the members of one axis."""
    before, after = matrix.shape[:place], matrix.shape[place + 1 :]
    parted = matrix.square().view(*before, axis.blocks, axis.members, axis.width, *after)
    return parted.sum([dim for dim in range(parted.ndim) if dim != place + 1])
