"""The first quantized form: int8 weights, activations quantized at run time.

ONNX Runtime's quantizer turns the matrix products into integer ones (per-channel symmetric weights).
Tables that are looked up are stored here as int8 rows with one scale a row, and only the rows that
are looked up are widened: the runtime's own table quantization has one scale for the whole table,
and dequantizing before the look-up would widen all of it on every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["quantize", "rows_to_int8", "store_tables"]

LEAST_WIDTH = 16  # below it an integer product costs more than it saves (measured by ModelOpt and others)
TABLE_OPS = ("Gather", "Slice")


def quantize(source: Path, target: Path) -> None:
    """Write the int8 form of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
    """
    model = ir.load(source)
    store_tables(model)
    between = target.with_suffix(".tables.onnx")
    ir.save(model, between)
    _quantize_products(between, target)
    between.unlink()


def store_tables(model: ir.Model) -> int:
    """Replace float tables behind Gather and Slice by int8 rows; returns how many.

    Slice is how the position table is read: its first rows, as many as there are tokens.
    """
    graph = model.graph
    tables = [
        node
        for node in graph
        if node.op_type in TABLE_OPS
        and node.inputs[0] is not None
        and node.inputs[0].const_value is not None
        and node.inputs[0].const_value.dtype == ir.DataType.FLOAT
        and len(node.inputs[0].const_value.shape) == 2
        and node.attributes.get_int("axis", 0) == 0
    ]
    for node in tables:
        _replace(graph, node)
    return len(tables)


def rows_to_int8(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale a row.

    Args:
        table: (V, E).

    Returns:
        (V, E) int8 in -127..127 and (V, 1) float32 scales; table is close to their product.

    >>> rows_to_int8(np.array([[1.0, -2.0], [0.0, 0.0]], dtype=np.float32))[0].tolist()
    [[64, -127], [0, 0]]
    """
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    safe = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(table / safe).astype(np.int8), safe


def _replace(graph: ir.Graph, node: ir.Node) -> None:
    """table -> Gather becomes int8 table -> Gather -> Cast -> Mul(Gather of the scales)."""
    table, *rest = node.inputs
    assert table is not None and table.const_value is not None
    values, scales = rows_to_int8(table.const_value.numpy())
    name = table.name or "table"
    stored = [_initializer(graph, f"{name}.int8", values), _initializer(graph, f"{name}.scale", scales)]
    looked_up = [ir.node(node.op_type, [part, *rest], dict(node.attributes)) for part in stored]
    wide = ir.node("Cast", [looked_up[0].outputs[0]], {"to": ir.DataType.FLOAT})
    product = ir.node("Mul", [wide.outputs[0], looked_up[1].outputs[0]])
    old = node.outputs[0]
    product.outputs[0].name, product.outputs[0].shape, product.outputs[0].type = old.name, old.shape, old.type
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [*looked_up, wide, product], [old], product.outputs
    )
    if not table.uses() and table.name in graph.initializers:
        del graph.initializers[table.name]


def _initializer(graph: ir.Graph, name: str, values: NDArray[np.generic]) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(values, name=name))
    graph.register_initializer(value)
    return value


def _quantize_products(source: Path, target: Path) -> None:
    """Matrix products with constant weights, per channel; too narrow ones stay in float."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(_narrow_products(source)),
        # Shape inference fails on some of these graphs; the quantizer then needs to be told.
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
    )


def _narrow_products(source: Path) -> Sequence[str]:
    names: list[str] = []
    for node in ir.load(source).graph:
        weight = node.inputs[1] if node.op_type in ("MatMul", "Gemm") else None
        if (
            weight is not None
            and weight.const_value is not None
            and min(weight.const_value.shape.numpy()) < LEAST_WIDTH
        ):
            names.append(node.name or "")
    return names
