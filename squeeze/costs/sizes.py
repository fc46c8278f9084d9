"""Parameters, multiply-accumulates and file sizes of a student, counted from its shape alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from squeeze.core.rounding import LEAST_WIDTH
from squeeze.models.shapes import EncoderShape
from squeeze.models.weights import encoder_products, encoder_weights

__all__ = ["embedding_parameters", "file_bytes", "macs", "parameters"]

FLOAT = 4
OFFSET = 8
"""Bytes of one of the offsets of a product-quantized table, one a sub-vector."""


@dataclass(frozen=True)
class Around:
    """Bytes of a graph beside its large tensors: nodes, names, shapes, small constants.

    Measured on exported students (opset 20); they grow by a byte here and there with the digits of names.

    Attributes:
        fixed: of a one-layer student with a dense table.
        layer: of each further layer.
        table: what another kind of table adds.
        projection: the projection between a table and another hidden width.
        relative: MPNet's distances, in all.
        relative_layer: and in each further layer.
    """

    fixed: int
    layer: int
    table: Mapping[str, int]
    projection: int
    relative: int
    relative_layer: int


GRAPH: Mapping[str, Around] = {
    "fp32": Around(6_621, 3_988, {"dense": 0, "product": 672, "factorised": 146}, 381, 697, 668),
    "int8-dynamic": Around(9_071, 5_282, {"dense": 0, "product": 597, "factorised": 459}, 724, 695, 842),
}


def parameters(shape: EncoderShape) -> int:
    """Trained values; a product-quantized table counts its codebooks and its codes."""
    return sum(weight.values for weight in encoder_weights(shape))


def embedding_parameters(shape: EncoderShape) -> int:
    """Values of the embedding: the table in whatever form, and the positions."""
    return sum(
        weight.values
        for weight in encoder_weights(shape)
        if weight.name.startswith(("embedding.", "position_embeddings"))
    )


def macs(shape: EncoderShape, length: int) -> int:
    """Multiply-accumulates of matrix products for one text, as the exported graph does them.

    Args:
        shape: of the encoder.
        length: tokens T.
    """
    return sum(product.macs for product in encoder_products(shape, length))


def file_bytes(shape: EncoderShape, form: str) -> int:
    """Size of the exported ONNX file; tensors are exact, what is around them to a few hundred bytes.

    A trained student is meant: tensors that are equal, such as biases that are still zero, are stored once.

    Args:
        shape: of the encoder.
        form: "fp32" or "int8-dynamic".

    Raises:
        ValueError: another form.
    """
    if form not in GRAPH:
        raise ValueError(f"form {form}: one of {', '.join(GRAPH)}")
    stored = _fp32(shape) if form == "fp32" else _int8(shape)
    if shape.embedding.kind == "product":
        stored += OFFSET * shape.embedding.subvectors
    return stored + _around(shape, form)


def _fp32(shape: EncoderShape) -> int:
    return sum(weight.values * (1 if weight.kind == "codes" else FLOAT) for weight in encoder_weights(shape))


def _int8(shape: EncoderShape) -> int:
    """Tables and wide products in bytes with a scale a column, the rest in floats; see graphs/int8.py.

    The last layer reads the distances of one token by another operator, and they stay floats.
    """
    stored, last = 0, f"layers.{len(shape.layers) - 1}.distances"
    for weight in encoder_weights(shape):
        narrow = weight.kind == "matrix" and min(weight.shape) < LEAST_WIDTH
        if weight.kind == "codes":
            stored += weight.values
        elif weight.kind in ("bias", "gain") or narrow or weight.name == last:
            stored += FLOAT * weight.values
        else:
            stored += weight.values + FLOAT * weight.columns
    return stored


def _around(shape: EncoderShape, form: str) -> int:
    graph, further = GRAPH[form], len(shape.layers) - 1
    size = graph.fixed + further * graph.layer + graph.table[shape.embedding.kind]
    if shape.embedding.width != shape.hidden:
        size += graph.projection
    if shape.relative_bias:
        size += graph.relative + further * graph.relative_layer
    return size
