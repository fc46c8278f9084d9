"""Parameters, multiply-accumulates and file sizes of a student, counted from its shape alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from squeeze.core.rounding import LEAST_WIDTH
from squeeze.models.shapes import EncoderShape, LayerShape

__all__ = ["embedding_parameters", "file_bytes", "macs", "parameters"]

Matrix = tuple[int, int]
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
        widen: the projection between a table and another hidden width.
        relative: MPNet's distances, in all.
        relative_layer: and in each further layer.
    """

    fixed: int
    layer: int
    table: Mapping[str, int]
    widen: int
    relative: int
    relative_layer: int


GRAPH: Mapping[str, Around] = {
    "fp32": Around(6_569, 3_988, {"dense": 0, "product": 672, "factorised": 146}, 276, 697, 668),
    "int8-dynamic": Around(8_989, 5_282, {"dense": 0, "product": 597, "factorised": 459}, 573, 695, 842),
}


@dataclass(frozen=True)
class Tensors:
    """What an encoder stores.

    Attributes:
        tables: (rows, columns) of what is looked up.
        products: (inputs, outputs) of what is multiplied with.
        vectors: values of biases and norms.
        codes: one byte each.
    """

    tables: tuple[Matrix, ...]
    products: tuple[Matrix, ...]
    vectors: int
    codes: int = 0

    @property
    def values(self) -> int:
        """All of it, a code as one value."""
        return (
            sum(rows * columns for rows, columns in (*self.tables, *self.products))
            + self.vectors
            + self.codes
        )


def parameters(shape: EncoderShape) -> int:
    """Trained values; a product-quantized table counts its codebooks and its codes."""
    return sum(part.values for part in _parts(shape))


def embedding_parameters(shape: EncoderShape) -> int:
    """Values of the embedding: the table in whatever form, and the positions."""
    return _table(shape).values + shape.positions * shape.embedding.width


def macs(shape: EncoderShape, length: int) -> int:
    """Multiply-accumulates of matrix products for one text, as the exported graph does them.

    The last layer is computed for the first token, only its keys and values for all.

    Args:
        shape: of the encoder.
        length: tokens T.
    """
    width, size = shape.hidden, shape.head_size
    once = width * (width + shape.labels)
    each = sum(rows * columns for rows, columns in _table(shape).products)
    if shape.embedding.width != width:
        each += shape.embedding.width * width
    for place, layer in enumerate(shape.layers):
        attention = layer.heads * size
        rows = 2 * width * attention + 2 * width * layer.ffn + 2 * length * attention
        if place + 1 < len(shape.layers):
            each += rows + 2 * width * attention
        else:
            each += 2 * width * attention
            once += rows
    return each * length + once


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


def _table(shape: EncoderShape) -> Tensors:
    table, rows = shape.embedding, shape.vocabulary
    match table.kind:
        case "factorised":
            return Tensors(((rows, table.rank),), ((table.rank, table.width),), 0)
        case "product":
            books = (table.subvectors * table.codewords, table.width // table.subvectors)
            return Tensors((books,), (), 0, codes=rows * table.subvectors)
        case _:
            return Tensors(((rows, table.width),), (), 0)


def _layer(shape: EncoderShape, layer: LayerShape) -> Tensors:
    width, attention = shape.hidden, layer.heads * shape.head_size
    products = ((width, 3 * attention), (attention, width), (width, layer.ffn), (layer.ffn, width))
    tables = ((2 * shape.positions - 1, layer.heads),) if shape.relative_bias else ()
    return Tensors(tables, products, sum(columns for _, columns in products) + 4 * width)


def _parts(shape: EncoderShape) -> Iterator[Tensors]:
    width, narrow = shape.hidden, shape.embedding.width
    yield _table(shape)
    yield Tensors(((shape.positions, narrow),), (), 2 * narrow)
    if narrow != width:
        yield Tensors((), ((narrow, width),), width)
    for layer in shape.layers:
        yield _layer(shape, layer)
    yield Tensors((), ((width, width), (width, shape.labels)), width + shape.labels)


def _fp32(shape: EncoderShape) -> int:
    codes = _table(shape).codes
    return FLOAT * (parameters(shape) - codes) + codes


def _int8(shape: EncoderShape) -> int:
    """Tables and wide products in bytes with a scale a column, the rest in floats; see graphs/int8.py."""
    stored = 0
    for part in _parts(shape):
        stored += FLOAT * part.vectors + part.codes
        stored += sum(_byte_columns(matrix) for matrix in part.tables)
        for matrix in part.products:
            narrow = min(matrix) < LEAST_WIDTH
            stored += FLOAT * matrix[0] * matrix[1] if narrow else _byte_columns(matrix)
    return stored + _exceptions(shape)


def _byte_columns(matrix: Matrix) -> int:
    return matrix[0] * matrix[1] + FLOAT * matrix[1]


def _exceptions(shape: EncoderShape) -> int:
    """What these two are more than bytes with a scale a column.

    Codebooks have a scale for each column of the joined row. The last layer reads the distances of one
    token by another operator, and they stay floats.
    """
    more, table = 0, shape.embedding
    if table.kind == "product":
        more += FLOAT * (table.width - table.width // table.subvectors)
    if shape.relative_bias:
        distances = (2 * shape.positions - 1, shape.layers[-1].heads)
        more += FLOAT * distances[0] * distances[1] - _byte_columns(distances)
    return more


def _around(shape: EncoderShape, form: str) -> int:
    graph, further = GRAPH[form], len(shape.layers) - 1
    size = graph.fixed + further * graph.layer + graph.table[shape.embedding.kind]
    if shape.embedding.width != shape.hidden:
        size += graph.widen
    if shape.relative_bias:
        size += graph.relative + further * graph.relative_layer
    return size
