"""Small questions that several rules ask of a graph; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from squeeze.graphs.readiness.facts import STANDARD

__all__ = [
    "DQ",
    "Q",
    "called",
    "constant",
    "dtype",
    "input_of",
    "is_constant",
    "nodes",
    "products",
    "readers",
    "weight_axis",
    "writer",
]

Q, DQ = "QuantizeLinear", "DequantizeLinear"
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")


def nodes(model: ir.Model, *kinds: str) -> Iterator[ir.Node]:
    """Every node of the graph, its subgraphs and the model's functions; of these kinds, if any are named."""
    places: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in places:
        for node in graph.all_nodes():
            if not kinds or (node.op_type in kinds and node.domain in STANDARD):
                yield node


def called(node: ir.Node) -> str:
    """A node's name, or its kind and output where it has none."""
    return node.name or f"{node.op_type} -> {node.outputs[0].name if node.outputs else 'nothing'}"


def input_of(node: ir.Node, place: int) -> ir.Value | None:
    """An input by place; None where it is left out."""
    return node.inputs[place] if place < len(node.inputs) else None


def writer(value: ir.Value | None) -> ir.Node | None:
    """The node that makes a value."""
    return None if value is None else value.producer()


def readers(value: ir.Value) -> list[ir.Node]:
    """The nodes that take a value, each once."""
    return list(dict.fromkeys(use.node for use in value.uses()))


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is known when the engine is built: an initializer or a Constant."""
    if value is None:
        return False
    made = value.producer()
    return value.const_value is not None or (made is not None and made.op_type == "Constant")


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The numbers of a constant; None for what is computed at run time or cannot be read."""
    if value is None:
        return None
    try:
        found = ir.convenience.get_const_tensor(value)
        return None if found is None else found.numpy()
    except (OSError, ValueError, TypeError):  # its file is missing or cut; another rule says so
        return None


def dtype(value: ir.Value | None) -> str | None:
    """Name of a value's element type; None where the file does not say."""
    if value is None:
        return None
    kind = value.dtype
    if kind is None and value.const_value is not None:
        kind = value.const_value.dtype
    return None if kind is None else kind.name


def products(value: ir.Value) -> Iterator[tuple[ir.Node, int, bool]]:
    """Products that a value goes into, straight or through one Transpose.

    Yields:
        The product, the place of the value among its inputs, and whether its last two axes were swapped.
    """
    for use in value.uses():
        if use.node.op_type in PRODUCTS:
            yield use.node, use.idx, False
        elif use.node.op_type == "Transpose":
            behind = use.node.outputs[0].uses()
            yield from ((each.node, each.idx, True) for each in behind if each.node.op_type in PRODUCTS)


def weight_axis(product: ir.Node, place: int, rank: int, *, swapped: bool) -> int | None:
    """Axis of a constant factor that runs over the product's outputs.

    Args:
        product: MatMul, Gemm, Conv or ConvTranspose.
        place: 0 or 1, which factor the constant is.
        rank: number of the constant's axes.
        swapped: whether a Transpose of the last two axes stands between.

    Returns:
        0..rank-1; None where the input is no factor (a bias).
    """
    if place > 1 or rank < 2:
        return None
    if product.op_type in ("Conv", "ConvTranspose"):
        return None if place == 0 else int(product.op_type == "ConvTranspose")
    last = place == 1
    if product.op_type == "Gemm":
        last ^= bool(product.attributes.get_int("transB" if place else "transA", 0))
    return rank - 1 if last ^ swapped else rank - 2
