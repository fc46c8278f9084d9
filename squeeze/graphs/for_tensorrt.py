"""An exported graph as TensorRT's parser takes it.

Our graphs store tables of codes as uint8 and int8 tables before their look-up. TensorRT has neither:
uint8 is a type of inputs and outputs only, and an int8 tensor goes to DequantizeLinear and nowhere else.
So codes become int32, and int8 tables are widened in the file; the half form narrows them again.
What the graph computes stays the same, bit by bit.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

__all__ = ["adapt"]

LOOKS_UP = ("Gather", "GatherND", "Reshape", "Slice", "Squeeze", "Unsqueeze")
FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
NARROW = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16)


def adapt(model: ir.Model) -> int:
    """Widen narrow tables in place; returns how many.

    A table is a narrow integer constant that is looked up or cut, and whose rows are then cast.
    """
    tables = [value for value in model.graph.initializers.values() if _looked_up(value)]
    for table in tables:
        _widen(table)
    common.RemoveUnusedNodesPass()(model)
    return len(tables)


def _looked_up(value: ir.Value) -> bool:
    stored = value.const_value
    readers = [use.node.op_type for use in value.uses()]
    return stored is not None and stored.dtype in NARROW and bool(readers) and set(readers) <= {*LOOKS_UP}


def _widen(table: ir.Value) -> None:
    """Store as float what is cast to float, and as int32 what stays a number of something."""
    assert table.const_value is not None
    casts = list(_casts(table))
    kinds = {cast.attributes["to"].value for cast in casts}
    kind = FLOAT if kinds == {FLOAT} else INT32
    values: NDArray[np.generic] = table.const_value.numpy()
    table.const_value = ir.tensor(values.astype(kind.numpy()), name=table.name)
    _retype(table, kind)
    for cast in casts if kind == FLOAT else ():
        rows = cast.inputs[0]
        assert rows is not None
        ir.convenience.replace_all_uses_with(cast.outputs[0], rows)


def _casts(value: ir.Value) -> list[ir.Node]:
    """Where what comes out of a table is cast."""
    found = []
    for use in value.uses():
        if use.node.op_type == "Cast":
            found.append(use.node)
        elif use.node.op_type in LOOKS_UP and use.idx == 0:
            found += _casts(use.node.outputs[0])
    return found


def _retype(value: ir.Value, kind: ir.DataType) -> None:
    value.type = ir.TensorType(kind)
    for use in value.uses():
        if use.node.op_type in LOOKS_UP and use.idx == 0:
            _retype(use.node.outputs[0], kind)
