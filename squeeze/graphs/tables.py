"""Tables that are looked up, stored as int8 or, where that is asked for, in 4 bits.

A table has one scale a column, and only the rows that are looked up are widened: dequantizing before the
look-up would widen the whole table on every call, and one scale a row would be looked up beside it
(on MiniLM's tables both lose about 1 % of the rows' length, on its positions rows lose four times as much).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from squeeze.core.rounding import blocks_to_int4, columns_to_int8, pack
from squeeze.graphs.editing import CONTRIB, constant, drop, initializer, swap

__all__ = ["lookups", "rows_to_int4", "store_tables"]

ROW_BLOCK = 32
"""Entries of a row that share a step in 4 bits."""


def store_tables(model: ir.Model, bits: int = 8) -> int:
    """Replace float tables behind Gather and Slice by integers; returns how many became int8.

    Slice is how the position table is read: its first rows, as many as there are tokens.

    Args:
        model: a float graph.
        bits: 8, or 4 for rows of tables that are looked up one by one; codebooks stay in 8.
    """
    if bits == 4:
        rows_to_int4(model)
    found = [(node, table) for node in model.graph if (table := _table(node)) is not None]
    for node, table in found:
        join = _join(node)
        if join is None:
            _store_rows(model.graph, node, table)
        else:
            _store_codebooks(model.graph, node, join, table)
    return len(found)


def lookups(model: ir.Model) -> dict[str, str]:
    """Name of the value that is looked up in each float table, by the table's name.

    Of product-quantized rows it is the joined row; all forms keep these names.
    """
    found = {node: node.inputs[0] for node in model.graph if _table(node) is not None}
    rows = {node: (_join(node) or node).outputs[0] for node in found}
    return {str(table.name): str(rows[node].name) for node, table in found.items() if table is not None}


def rows_to_int4(model: ir.Model) -> int:
    """Replace float tables behind Gather by 4 bits, a step for each 32 entries of a row; returns how many.

    The operator is ONNX Runtime's (com.microsoft GatherBlockQuantized). Codebooks stay: there are few
    codewords, and all rows are made of them. So do tables narrower than one block.
    """
    found = [(node, table) for node in model.graph if (table := _table(node)) is not None]
    wanted = [
        (node, table)
        for node, table in found
        if node.op_type == "Gather"
        and _join(node) is None
        and table.shape[1] >= ROW_BLOCK
        and table.shape[1] % 2 == 0
    ]
    for node, table in wanted:
        _pack_rows(model.graph, node, table)
    if wanted:
        model.graph.opset_imports.setdefault(CONTRIB, 1)
    return len(wanted)


def _pack_rows(graph: ir.Graph, node: ir.Node, table: NDArray[np.float32]) -> None:
    old, ids = node.inputs
    assert old is not None
    rows, width = table.shape
    blocks = blocks_to_int4(table.T, ROW_BLOCK, symmetric=True)
    codes = pack(blocks.values.reshape(rows, -1)[:, :width])
    looked_up = ir.node(
        "GatherBlockQuantized",
        [
            initializer(graph, f"{old.name}.int4", codes),
            ids,
            initializer(graph, f"{old.name}.scale", blocks.steps),
        ],
        {"bits": 4, "block_size": ROW_BLOCK, "gather_axis": 0, "quantize_axis": 1},
        domain=CONTRIB,
    )
    swap(graph, node, [looked_up])
    drop(graph, old)


def _table(node: ir.Node) -> NDArray[np.float32] | None:
    """(V, E) constant that a node takes rows of."""
    if node.op_type not in ("Gather", "Slice"):
        return None
    table = constant(node.inputs[0])
    if table is None or table.ndim != 2 or table.dtype != np.float32 or not _along_rows(node):
        return None
    return table


def _along_rows(node: ir.Node) -> bool:
    if node.op_type == "Gather":
        return node.attributes.get_int("axis", 0) == 0
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    return axes is not None and axes.tolist() == [0]


def _join(node: ir.Node) -> ir.Node | None:
    """The Reshape that puts the pieces of a product-quantized row side by side, if this looks them up."""
    pieces = node.outputs[0]
    users = [use.node for use in pieces.uses()]
    four = pieces.shape is not None and len(pieces.shape) == 4
    return users[0] if four and [user.op_type for user in users] == ["Reshape"] else None


def _store_rows(graph: ir.Graph, node: ir.Node, table: NDArray[np.float32]) -> None:
    """Table -> look-up becomes int8 table -> look-up -> Cast -> Mul(scales)."""
    old, *rest = node.inputs
    assert old is not None
    values, scales = columns_to_int8(table)
    looked_up = ir.node(
        node.op_type, [initializer(graph, f"{old.name}.int8", values), *rest], dict(node.attributes)
    )
    wide = _widen(graph, looked_up, f"{old.name}.scale", scales)
    swap(graph, node, [looked_up, *wide])
    drop(graph, old)


def _store_codebooks(graph: ir.Graph, node: ir.Node, join: ir.Node, books: NDArray[np.float32]) -> None:
    """The same for codebooks (M*K, E/M): a column is one of the E of the joined row, over K codewords."""
    old, codes = node.inputs
    assert old is not None
    assert node.outputs[0].shape is not None
    count, width = node.outputs[0].shape[2], books.shape[1]
    assert isinstance(count, int)
    # (M*K, E/M) -> (K, M*E/M) and back: side by side, the books are one matrix of K rows.
    side_by_side = books.reshape(count, -1, width).transpose(1, 0, 2).reshape(-1, count * width)
    values, scales = columns_to_int8(side_by_side)
    stacked = values.reshape(-1, count, width).transpose(1, 0, 2).reshape(books.shape)
    pieces = ir.node("Gather", [initializer(graph, f"{old.name}.int8", stacked), codes])
    joined = ir.node("Reshape", [pieces.outputs[0], join.inputs[1]], dict(join.attributes))
    wide = _widen(graph, joined, f"{old.name}.scale", scales)
    swap(graph, join, [pieces, joined, *wide])
    graph.remove(node, safe=True)
    drop(graph, old)


def _widen(graph: ir.Graph, node: ir.Node, name: str, scales: NDArray[np.float32]) -> list[ir.Node]:
    """int8 rows -> float rows."""
    wide = ir.node("Cast", [node.outputs[0]], {"to": ir.DataType.FLOAT})
    return [wide, ir.node("Mul", [wide.outputs[0], initializer(graph, name, scales)])]
