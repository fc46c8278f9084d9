"""Every weight and every product of an encoder, listed once and without torch.

Carving, slicing, narrowing, reading of hub models, quantization, sizes and multiply-accumulates iterate over
these lists, so a new weight or product is described here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Literal, NamedTuple

from squeeze.models.shapes import EncoderShape

__all__ = [
    "Axis",
    "AxisName",
    "Product",
    "Weight",
    "encoder_products",
    "encoder_weights",
    "layer_weights",
    "outer_weights",
]

AxisName = Literal[
    "vocabulary", "rank", "subvectors", "codewords", "piece", "embedding", "hidden", "positions", "distances",
    "heads", "neurons", "labels", "tokens",
]  # fmt: skip
INDEXED = ("vocabulary", "codewords", "positions", "distances")
"""Axes along which a table is looked up."""


class Axis(NamedTuple):
    """One axis of a weight. All axes of one name in a layer lose the same members.

    Attributes:
        name: what its members are.
        members: how many there are.
        width: values of one member: the size of a head.
        blocks: how often all members follow each other: 3 for queries, keys and values in one matrix.
    """

    name: AxisName
    members: int
    width: int = 1
    blocks: int = 1

    @property
    def size(self) -> int:
        """Number of values."""
        return self.members * self.width * self.blocks

    def indices(self, kept: Sequence[int]) -> list[int]:
        """Where the values of some members are.

        >>> Axis("heads", 3, width=2, blocks=2).indices([0, 2])
        [0, 1, 4, 5, 6, 7, 10, 11]
        """
        return [
            (block * self.members + member) * self.width + value
            for block in range(self.blocks)
            for member in kept
            for value in range(self.width)
        ]


class Weight(NamedTuple):
    """One tensor of the state of an encoder.

    Attributes:
        name: its key in the state.
        axes: in the order of the tensor; a matrix has its outputs first, as in `torch.nn.Linear`.
        kind: `matrix`: of a product; `table`: rows are looked up; `codes`: bytes that are looked up;
            `gain`: factors of a norm; `bias`: what is added, by a product or a norm.
    """

    name: str
    axes: tuple[Axis, ...]
    kind: Literal["matrix", "table", "codes", "gain", "bias"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def values(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def columns(self) -> int:
        """Columns that have a scale of their own in int8: outputs of a matrix, entries of a looked-up row."""
        if self.kind == "matrix":
            return self.axes[0].size
        return prod(axis.blocks if axis.name in INDEXED else axis.size for axis in self.axes)


class Product(NamedTuple):
    """One matrix product of the exported graph, left (rows, inputs) times right (inputs, columns).

    Attributes:
        name: of its node.
        left: axes of what is computed.
        right: axes of what it is multiplied by.
        stored: whether the right side is a weight.
    """

    name: str
    left: tuple[Axis, Axis]
    right: tuple[Axis, Axis]
    stored: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(inputs, outputs)."""
        return self.right[0].size, self.right[1].size

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.left[0].size * prod(self.size)


def encoder_weights(shape: EncoderShape) -> Iterator[Weight]:
    """Every tensor of the state of an encoder."""
    yield from outer_weights(shape)
    for index in range(len(shape.layers)):
        yield from layer_weights(shape, index)


def outer_weights(shape: EncoderShape) -> Iterator[Weight]:
    """Every tensor before the layers and after them."""
    width, hidden = Axis("embedding", shape.embedding.width), Axis("hidden", shape.hidden)
    yield from _table(shape)
    yield Weight("position_embeddings", (Axis("positions", shape.positions), width), "table")
    yield from _norm("embedding_norm", width)
    if width.size != hidden.size:
        yield from _linear("embedding_projection", width, hidden)
    yield from _linear("head.dense", hidden, hidden)
    yield from _linear("head.output", hidden, Axis("labels", shape.outputs))


def layer_weights(shape: EncoderShape, index: int) -> Iterator[Weight]:
    """Every tensor of one layer, counted from 0."""
    place, layer, hidden = f"layers.{index}.", shape.layers[index], Axis("hidden", shape.hidden)
    heads, neurons = Axis("heads", layer.heads, shape.head_size), Axis("neurons", layer.ffn)
    yield from _linear(f"{place}qkv", hidden, Axis("heads", layer.heads, shape.head_size, blocks=3))
    yield from _linear(f"{place}out", heads, hidden)
    yield from _norm(f"{place}attention_norm", hidden)
    yield from _linear(f"{place}up", hidden, neurons)
    yield from _linear(f"{place}down", neurons, hidden)
    yield from _norm(f"{place}norm", hidden)
    if shape.relative_bias:
        axes = (Axis("heads", layer.heads), Axis("distances", 2 * shape.positions - 1))
        yield Weight(f"{place}distances", axes, "table")


def encoder_products(shape: EncoderShape, tokens: int) -> Iterator[Product]:
    """Every matrix product of the exported graph for one text, in its order.

    The head reads the first token, so the last layer is computed for that token alone. Its keys and values
    come from all tokens, in a product of their own.

    Args:
        shape: of the encoder.
        tokens: length of the text.
    """
    every, first = Axis("tokens", tokens), Axis("tokens", 1)
    width, hidden = Axis("embedding", shape.embedding.width), Axis("hidden", shape.hidden)
    if shape.embedding.kind == "factorised":
        yield _product("embedding.project", every, Axis("rank", shape.embedding.rank), width)
    if width.size != hidden.size:
        yield _product("embedding_projection", every, width, hidden)
    for index in range(len(shape.layers) - 1):
        yield from _layer_products(shape, index, every, every)
    yield from _layer_products(shape, len(shape.layers) - 1, first, every)
    yield _product("head.dense", first, hidden, hidden)
    yield _product("head.output", first, hidden, Axis("labels", shape.outputs))


def _layer_products(shape: EncoderShape, index: int, rows: Axis, keys: Axis) -> Iterator[Product]:
    place, layer, hidden = f"layers.{index}.", shape.layers[index], Axis("hidden", shape.hidden)
    heads, pair, qkv = (Axis("heads", layer.heads, shape.head_size, blocks) for blocks in (1, 2, 3))
    if index == len(shape.layers) - 1:
        yield _product(f"{place}query", rows, hidden, heads)
        yield _product(f"{place}pair", keys, hidden, pair)
    else:
        yield _product(f"{place}qkv", rows, hidden, qkv)
    yield Product(f"{place}scores", (rows, heads), (heads, keys), stored=False)
    yield Product(f"{place}context", (rows, keys), (keys, heads), stored=False)
    yield _product(f"{place}out", rows, heads, hidden)
    yield _product(f"{place}up", rows, hidden, Axis("neurons", layer.ffn))
    yield _product(f"{place}down", rows, Axis("neurons", layer.ffn), hidden)


def _product(name: str, rows: Axis, inputs: Axis, outputs: Axis) -> Product:
    return Product(name, (rows, inputs), (inputs, outputs))


def _table(shape: EncoderShape) -> Iterator[Weight]:
    table, pieces = shape.embedding, Axis("vocabulary", shape.vocabulary)
    width, rank = Axis("embedding", table.width), Axis("rank", table.rank)
    match table.kind:
        case "factorised":
            yield Weight("embedding.weight", (pieces, rank), "table")
            yield Weight("embedding.project.weight", (width, rank), "matrix")
        case "product":
            books = Axis("codewords", table.codewords, blocks=table.subvectors)
            piece = Axis("piece", table.width // table.subvectors)
            yield Weight("embedding.weight", (books, piece), "table")
            yield Weight("embedding.codes", (pieces, Axis("subvectors", table.subvectors)), "codes")
        case _:
            yield Weight("embedding.weight", (pieces, width), "table")


def _linear(name: str, inputs: Axis, outputs: Axis) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (outputs, inputs), "matrix")
    yield Weight(f"{name}.bias", (outputs,), "bias")


def _norm(name: str, width: Axis) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (width,), "gain")
    yield Weight(f"{name}.bias", (width,), "bias")
