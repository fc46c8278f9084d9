"""Slice an encoder: what a mask of zeros only silences is really taken out.

Carving makes a student out of a teacher and stores its table anew; slicing makes the same model
smaller and leaves everything else as it is stored, the codes of a product-quantized table too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.models.encoder import Encoder, Gates
from squeeze.models.shapes import EncoderShape, LayerShape
from squeeze.models.weights import AxisName, Weight, layer_weights, outer_weights

__all__ = ["Kept", "everything", "gates", "select", "select_rows", "sliced", "sliced_shape"]

Members = Mapping[AxisName, Sequence[int]]
"""What stays of each axis that is cut."""


@dataclass(frozen=True)
class Kept:
    """What stays of an encoder.

    Attributes:
        layers: layers that stay, counted from 0.
        heads: heads that stay in each of these layers, at least one.
        neurons: feed-forward neurons that stay in each of these layers, at least one.
    """

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]


def everything(shape: EncoderShape, layers: tuple[int, ...] | None = None) -> Kept:
    """All heads and neurons of some layers; None: of all layers."""
    chosen = tuple(range(len(shape.layers))) if layers is None else layers
    return Kept(
        chosen,
        tuple(tuple(range(shape.layers[layer].heads)) for layer in chosen),
        tuple(tuple(range(shape.layers[layer].ffn)) for layer in chosen),
    )


def gates(shape: EncoderShape, kept: Kept) -> Gates:
    """The mask that silences what is not kept: 1 on heads and neurons that stay, else 0.

    It cannot take out a layer: one without heads and neurons still adds its biases.

    Raises:
        ValueError: not all layers stay.
    """
    if kept.layers != tuple(range(len(shape.layers))):
        raise ValueError(f"a mask keeps all {len(shape.layers)} layers, {len(kept.layers)} are to stay")
    sizes = shape.layers
    return Gates(
        tuple(_ones_at(stay, layer.heads) for stay, layer in zip(kept.heads, sizes, strict=True)),
        tuple(_ones_at(stay, layer.ffn) for stay, layer in zip(kept.neurons, sizes, strict=True)),
    )


def sliced_shape(shape: EncoderShape, kept: Kept, positions: int | None = None) -> EncoderShape:
    """The shape that slicing gives; `positions` is the longest input that stays, None: as it was."""
    layers = tuple(
        LayerShape(heads=len(heads), ffn=len(neurons))
        for heads, neurons in zip(kept.heads, kept.neurons, strict=True)
    )
    reach = shape.positions if positions is None else min(positions, shape.positions)
    return shape.model_copy(update={"layers": layers, "positions": reach})


def sliced(encoder: Encoder, kept: Kept, positions: int | None = None) -> Encoder:
    """A smaller encoder that computes what the masked one does.

    Args:
        encoder: untouched.
        kept: what stays.
        positions: longest input in tokens that stays; None: as it was.

    Returns:
        A new encoder, in the mode (training or evaluation) of the old one.
    """
    other = Encoder(sliced_shape(encoder.shape, kept, positions))
    other.load_state_dict(select(encoder.state_dict(), encoder.shape, kept, other.shape.positions))
    return other.train(encoder.training)


def select_rows(encoder: Encoder, rows: NDArray[np.int64]) -> Encoder:
    """The encoder with some rows of its table, in whatever form the table is stored.

    Args:
        encoder: untouched.
        rows: (pieces,) old number of each piece that stays.
    """
    shape = encoder.shape
    other = Encoder(shape.model_copy(update={"vocabulary": len(rows)}))
    other.load_state_dict(select(encoder.state_dict(), shape, everything(shape), shape.positions, rows))
    return other.train(encoder.training)


def select(
    state: Mapping[str, Tensor],
    shape: EncoderShape,
    kept: Kept,
    positions: int,
    rows: NDArray[np.int64] | None = None,
) -> dict[str, Tensor]:
    """The state of the part of an encoder that is kept.

    Args:
        state: of the whole encoder.
        shape: likewise.
        kept: layers, heads and neurons.
        positions: longest input in tokens.
        rows: (pieces,) old number of each piece that stays; None: all.
    """
    outer: Members = {"positions": range(positions)}
    if rows is not None:
        outer = {**outer, "vocabulary": rows.tolist()}
    chosen = {weight.name: _take(state[weight.name], weight, outer) for weight in outer_weights(shape)}
    distances = range(shape.positions - positions, shape.positions + positions - 1)
    for place, (layer, heads, neurons) in enumerate(zip(kept.layers, kept.heads, kept.neurons, strict=True)):
        inner: Members = {"heads": heads, "neurons": neurons, "distances": distances}
        for weight in layer_weights(shape, layer):
            name = weight.name.replace(f"layers.{layer}.", f"layers.{place}.")
            chosen[name] = _take(state[weight.name], weight, inner)
    return chosen


def _take(value: Tensor, weight: Weight, members: Members) -> Tensor:
    for place, axis in enumerate(weight.axes):
        if axis.name in members:
            indices = axis.indices(members[axis.name])
            value = value.index_select(place, torch.tensor(indices, device=value.device))
    return value


def _ones_at(places: tuple[int, ...], size: int) -> Tensor:
    made = torch.zeros(size)
    made[list(places)] = 1.0
    return made
