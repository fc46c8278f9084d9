"""Small graphs whose times tell what each kind of node costs; whole small encoders fix what one costs at all.

Integer forms are made by `squeeze.graphs` from the float graph, so they have the very nodes that exported
students have. Weights are random: they do not change how long anything takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze.graphs import int8, sites, static
from squeeze.graphs.scales import Scales
from squeeze.targets.subjects import Subject

__all__ = ["LAYERS", "LENGTHS", "written"]

LENGTHS = (4, 16, 64, 256)
"""Tokens a text."""
VOCABULARY = 8_000
OPSET, IR_VERSION = 20, 10
HEAD = 32
STEP = 0.05
"""Of the inputs of products in the static form; any does."""
CHAIN = 4
"""Equal nodes in a row, so that they outweigh the call."""
LAYERS = "encoder"
"""First word of the names of graphs that are whole encoders."""
FORMS = ("fp32", "int8-dynamic", "int8-static")


@dataclass(frozen=True)
class Encoder:
    """Widths of a small encoder."""

    hidden: int
    ffn: int
    layers: int


ENCODERS = (Encoder(64, 192, 3), Encoder(128, 512, 2), Encoder(256, 640, 1), Encoder(384, 1536, 3))
PRODUCTS = ((64, 256), (192, 512), (384, 1536))
"""Inputs and neurons between."""


class Drawing:
    """A graph that is drawn node by node.

    Args:
        width: of the float input "x", (batch, sequence, width); None: the input is "input_ids".
    """

    def __init__(self, width: int | None) -> None:
        if width is None:
            self.input = ir.val("input_ids", ir.DataType.INT64, ["batch", "sequence"])
        else:
            self.input = ir.val("x", ir.DataType.FLOAT, ["batch", "sequence", width])
        self.nodes: list[ir.Node] = []
        self.constants: dict[str, ir.Value] = {}
        self.random = np.random.default_rng(0)

    def node(self, operator: str, *inputs: ir.Value, **attributes: int | Sequence[int]) -> ir.Value:
        """Add a node with one output."""
        return self.several(operator, *inputs, count=1, **attributes)[0]

    def several(
        self, operator: str, *inputs: ir.Value, count: int, **attributes: int | Sequence[int]
    ) -> Sequence[ir.Value]:
        """Add a node with some outputs."""
        name = f"{operator.lower()}.{len(self.nodes)}"
        made = ir.node(operator, inputs, attributes, num_outputs=count, name=name)
        for place, value in enumerate(made.outputs):
            value.name = f"{name}.{place}"
        self.nodes.append(made)
        return made.outputs

    def weights(self, *shape: int) -> ir.Value:
        """A random float constant."""
        values = self.random.standard_normal(shape).astype(np.float32) / np.sqrt(shape[0])
        return self._constant(values.astype(np.float32))

    def sizes(self, *sizes: int) -> ir.Value:
        """A constant of whole numbers."""
        return self._constant(np.array(sizes, dtype=np.int64))

    def product(self, value: ir.Value, inputs: int, outputs: int) -> ir.Value:
        """A product with weights and a bias."""
        return self.node(
            "Add", self.node("MatMul", value, self.weights(inputs, outputs)), self.weights(outputs)
        )

    def norm(self, value: ir.Value, width: int) -> ir.Value:
        """LayerNormalization of the last dimension."""
        return self.node("LayerNormalization", value, self.weights(width), self.weights(width), axis=-1)

    def save(self, output: ir.Value, path: Path) -> None:
        """Write the graph."""
        output.type = ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            [self.input],
            [output],
            nodes=self.nodes,
            initializers=list(self.constants.values()),
            opset_imports={"": OPSET},
            name="probe",
        )
        ir.save(ir.Model(graph, ir_version=IR_VERSION), path)

    def _constant(self, values: np.ndarray[tuple[int, ...], np.dtype[np.float32 | np.int64]]) -> ir.Value:
        name = f"constant.{len(self.constants)}"
        value = ir.val(name, const_value=ir.tensor(values, name=name))
        self.constants[name] = value
        return value


def written(folder: Path) -> tuple[Subject, ...]:
    """Write all graphs; returns them as models to measure."""
    return tuple(
        Subject(path, path.stem, form=form, vocabulary=VOCABULARY, lengths=LENGTHS)
        for path, form in (*_products(folder), *_others(folder), *_encoders(folder))
    )


def _products(folder: Path) -> Iterator[tuple[Path, str]]:
    for inputs, between in PRODUCTS:
        drawing = Drawing(inputs)
        value = drawing.product(drawing.product(drawing.input, inputs, between), between, inputs)
        yield from _forms(drawing, value, folder / f"product {inputs}x{between}.onnx")
    drawing = Drawing(384)
    value = _first(drawing, drawing.input)
    for inputs, outputs in ((384, 1536), (1536, 384), (384, 384)):
        value = drawing.product(value, inputs, outputs)
    yield from _forms(drawing, value, folder / "one row 384x1536.onnx")


def _others(folder: Path) -> Iterator[tuple[Path, str]]:
    for width in (64, 384):
        drawing = Drawing(width)
        yield _saved(drawing, _attention(drawing, drawing.input, width), folder / f"attention {width}.onnx")
        drawing = Drawing(width)
        value = drawing.input
        for _ in range(CHAIN):
            value = drawing.norm(value, width)
        yield _saved(drawing, value, folder / f"norm {width}.onnx")
        yield _saved(*_chain("Softmax", width), folder / f"softmax {width}.onnx")
        yield _saved(*_chain("Gelu", 4 * width), folder / f"gelu {4 * width}.onnx")
        yield _saved(*_sums(width), folder / f"sum {width}.onnx")
        drawing = Drawing(width)
        turned = drawing.node("Transpose", drawing.input, perm=[0, 2, 1])
        yield _saved(drawing, turned, folder / f"transpose {width}.onnx")
        drawing = Drawing(width)
        pieces = drawing.several("Split", drawing.input, count=2, num_outputs=2, axis=-1)
        joined = drawing.node("Concat", pieces[1], pieces[0], axis=-1)
        yield _saved(drawing, joined, folder / f"split {width}.onnx")
        drawing = Drawing(None)
        rows = drawing.node("Gather", drawing.weights(VOCABULARY, width), drawing.input, axis=0)
        yield from list(_forms(drawing, rows, folder / f"gather {width}.onnx"))[:2]


def _encoders(folder: Path) -> Iterator[tuple[Path, str]]:
    for each in ENCODERS:
        drawing = Drawing(None)
        value = drawing.node("Gather", drawing.weights(VOCABULARY, each.hidden), drawing.input, axis=0)
        value = drawing.norm(value, each.hidden)
        for _ in range(each.layers):
            value = _layer(drawing, value, each)
        value = drawing.product(_first(drawing, value), each.hidden, each.hidden)
        logits = drawing.product(drawing.node("Tanh", value), each.hidden, 3)
        name = f"{LAYERS} {each.layers}x{each.hidden}-{each.ffn}.onnx"
        yield from _forms(drawing, logits, folder / name)


def _layer(drawing: Drawing, value: ir.Value, widths: Encoder) -> ir.Value:
    """One layer as students have it."""
    hidden = widths.hidden
    seen = drawing.product(_attention(drawing, value, hidden, project=True), hidden, hidden)
    value = drawing.norm(drawing.node("Sum", value, seen), hidden)
    wide = drawing.node("Gelu", drawing.product(value, hidden, widths.ffn))
    return drawing.norm(drawing.node("Sum", value, drawing.product(wide, widths.ffn, hidden)), hidden)


def _attention(drawing: Drawing, value: ir.Value, width: int, *, project: bool = False) -> ir.Value:
    """Heads of 32: without a projection all three sides are the input itself, in other orders."""
    heads = width // HEAD
    if project:
        joined = drawing.product(value, width, 3 * width)
        cut = drawing.node("Reshape", joined, drawing.sizes(0, 0, 3 * heads, HEAD))
        query, key, mixed = drawing.several("Split", cut, count=3, num_outputs=3, axis=2)
    else:
        query = key = mixed = drawing.node("Reshape", value, drawing.sizes(0, 0, heads, HEAD))
    query, mixed = (drawing.node("Transpose", each, perm=[0, 2, 1, 3]) for each in (query, mixed))
    key = drawing.node("Transpose", key, perm=[0, 2, 3, 1])
    shares = drawing.node("Softmax", drawing.node("MatMul", query, key), axis=-1)
    seen = drawing.node("Transpose", drawing.node("MatMul", shares, mixed), perm=[0, 2, 1, 3])
    return drawing.node("Reshape", seen, drawing.sizes(0, 0, width))


def _first(drawing: Drawing, value: ir.Value) -> ir.Value:
    """(batch, 1, width) of the first token."""
    return drawing.node("Slice", value, drawing.sizes(0), drawing.sizes(1), drawing.sizes(1))


def _chain(operator: str, width: int) -> tuple[Drawing, ir.Value]:
    drawing = Drawing(width)
    value = drawing.input
    for _ in range(CHAIN):
        value = drawing.node(operator, value)
    return drawing, value


def _sums(width: int) -> tuple[Drawing, ir.Value]:
    drawing = Drawing(width)
    value = drawing.input
    for _ in range(CHAIN):
        value = drawing.node("Add", value, drawing.input)
    return drawing, value


def _saved(drawing: Drawing, value: ir.Value, path: Path) -> tuple[Path, str]:
    drawing.save(value, path)
    return path, FORMS[0]


def _forms(drawing: Drawing, value: ir.Value, path: Path) -> Iterator[tuple[Path, str]]:
    """The float graph and its integer forms."""
    yield _saved(drawing, value, path)
    dynamic, fixed = (path.with_name(f"{path.stem} {form}.onnx") for form in FORMS[1:])
    int8.quantize(path, dynamic)
    yield dynamic, FORMS[1]
    wide = sites.wide(ir.load(path))
    static.quantize(path, fixed, Scales(inputs=dict.fromkeys(wide, STEP)))
    yield fixed, FORMS[2]
