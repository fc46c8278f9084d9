"""What the bytes of a model file are spent on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import onnx_ir as ir

__all__ = ["Kind", "bytes_by_kind"]

Kind = Literal[
    "table of pieces", "codes", "positions", "products", "steps and zeros", "biases and norms", "graph"
]
"""Tables that are looked up by token, codes of a product-quantized one, tables that are looked up by place,
weights of products, what integers are multiplied with and moved by, vectors, and all that is no weight:
nodes, names, shapes."""

LOOK_UPS = ("Gather", "GatherBlockQuantized")
PRODUCTS = (
    "MatMul",
    "Gemm",
    "Conv",
    "MatMulInteger",
    "MatMulNBits",
    "QLinearMatMul",
    "DynamicQuantizeMatMul",
)
SCALED = ("QuantizeLinear", "DequantizeLinear", "GatherBlockQuantized", "MatMulNBits")


def bytes_by_kind(path: Path) -> dict[Kind, int]:
    """Bytes of a file by what they hold; together they are the size of the file.

    A constant is known by the operator that reads it, so that files of any origin can be counted.

    Args:
        path: an ONNX file without external weights.
    """
    found: dict[Kind, int] = dict.fromkeys(get_args(Kind), 0)
    for value in ir.load(path).graph.initializers.values():
        if value.const_value is not None:
            found[_kind(value)] += value.const_value.nbytes
    found["graph"] += path.stat().st_size - sum(found.values())
    return found


def _kind(value: ir.Value) -> Kind:
    """The first use that says something decides."""
    tensor = value.const_value
    assert tensor is not None
    axes = len(tensor.shape)
    if _is_step(value, axes):
        return "steps and zeros"
    if axes < 2:  # integers are shapes, axes and indices
        return "biases and norms" if tensor.dtype.is_floating_point() else "graph"
    operators = set(_readers(value))
    if "Gather" in operators and tensor.dtype == ir.DataType.UINT8:
        return "codes"
    if operators & set(LOOK_UPS):
        return "table of pieces"
    if "Slice" in operators:
        return "positions"
    return "products" if operators & set(PRODUCTS) else "biases and norms"


def _is_step(value: ir.Value, axes: int) -> bool:
    """Whether integers are multiplied with it, or moved by it; a single number scales floats."""
    for use in value.uses():
        kind, place = use.node.op_type, use.idx
        # a look-up has the rows' numbers at this place, MatMulNBits its weights
        data = place == 1 and kind in ("GatherBlockQuantized", "MatMulNBits")
        if (kind in SCALED and place > 0 and not data) or (kind == "Mul" and axes == 1):
            return True
    return False


def _readers(value: ir.Value) -> Iterator[str]:
    """Operators that read a value, what only widens or turns it looked through."""
    for use in value.uses():
        if use.node.op_type in ("DequantizeLinear", "Transpose", "Cast", "Reshape"):
            yield from _readers(use.node.outputs[0])
        else:
            yield use.node.op_type
