"""The few edits of a graph that all quantized forms are made with."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["CONTRIB", "constant", "drop", "initializer", "swap"]

CONTRIB = "com.microsoft"
"""Domain of the operators that ONNX Runtime adds to the standard."""


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array that a value always has, None where it is computed."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def initializer(graph: ir.Graph, name: str, values: NDArray[Any] | np.generic) -> ir.Value:
    """A constant of the graph; one that several nodes share is stored once."""
    if name in graph.initializers:
        return graph.initializers[name]
    value = ir.val(name, const_value=ir.tensor(values, name=name))
    graph.register_initializer(value)
    return value


def swap(graph: ir.Graph, old: ir.Node, chain: list[ir.Node]) -> None:
    """Put a chain in the place of one node; its last output takes the old one's name."""
    before, after = old.outputs[0], chain[-1].outputs[0]
    after.name, after.shape, after.type = before.name, before.shape, before.type
    ir.convenience.replace_nodes_and_values(graph, old, [old], chain, [before], [after])


def drop(graph: ir.Graph, value: ir.Value) -> None:
    """Remove a constant that nobody reads any more."""
    if value.name is not None and not value.uses() and value.name in graph.initializers:
        del graph.initializers[value.name]
