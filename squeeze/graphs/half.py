"""fp16 by casting the graph: what TensorRT 11 asks for, where precision is in the graph and nowhere else.

Weights and everything between them become float16. Inputs and outputs keep their types, so a caller sees no
difference: a Cast stands behind each float input and before each float output, and integer inputs are left
alone. Values that float16 cannot hold are clamped to its largest finite one, never made infinite, and
reported; so are values that become 0.

Which operators stay in float32 is the caller's to say; by default those only that take nothing else.
LayerNormalization needs no float32 around it: its statistics are computed in float32 whatever its input is
(`stash_type` = 1, its default in ONNX; TensorRT does the same), and Softmax subtracts the maximum before it
exponentiates, so that nothing overflows. A Cast before and behind each of them would end the fusions that
make fp16 fast. Keep them for a model whose activations pass 65504: the parity check of the export shows it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from squeeze.errors import StageFailed
from squeeze.schema import Frozen

__all__ = ["LARGEST", "NORMS", "Half", "Lost", "convert", "to_half"]

LARGEST: Final = float(np.finfo(np.float16).max)  # 65504
NORMS: Final = frozenset({"LayerNormalization", "Softmax"})
# Take float32 only, by the definition of the operator.
WIDE: Final = frozenset({"DynamicQuantizeLinear", "MelWeightMatrix", "NonMaxSuppression", "Resize"})
TYPE_ATTRIBUTES: Final = ("to", "dtype", "output_dtype")
FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


class Lost(Frozen):
    """One constant that does not fit."""

    name: str
    clamped: int
    """entries beyond the largest float16, now that"""
    zeroed: int
    """entries too small for float16, now 0"""


class Half(Frozen):
    """What the conversion has done."""

    weights: int
    """constants that are float16 now"""
    kept: int
    """nodes that compute in float32"""
    lost: tuple[Lost, ...]


def convert(source: Path, target: Path, *, keep: Collection[str] = ()) -> Half:
    """Write the fp16 form of a file.

    Args:
        source: an ONNX file in fp32, with or without Q/DQ.
        target: where the fp16 form goes.
        keep: operators that stay in fp32, such as NORMS.

    Raises:
        StageFailed: a graph with branches or loops.
    """
    model = ir.load(source)
    done = to_half(model, keep=keep)
    ir.save(model, target)
    return done


def to_half(model: ir.Model, *, keep: Collection[str] = ()) -> Half:
    """Convert a graph in place; see `convert`."""
    graph = model.graph
    if any(node.graph is not graph for node in graph.all_nodes()):
        raise StageFailed("fp16: a graph with branches or loops is not converted", hint="export without them")
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    kept = [node for node in graph if node.op_type in {*keep, *WIDE}]
    lost = _weights(graph, set(kept))
    for node in list(graph):
        if node not in kept:
            _retype(node)
    for node in kept:
        _fence(graph, node)
    _border(graph, set(kept))
    common.RemoveUnusedNodesPass()(model)
    halves = [value for value in graph.initializers.values() if _type_of(value) == HALF]
    return Half(weights=len(halves), kept=len(kept), lost=tuple(lost))


def narrow(values: NDArray[np.float32]) -> tuple[NDArray[np.float16], int, int]:
    """Round to float16; what is too large becomes its largest finite value, infinities too.

    Returns:
        The values, how many were clamped, and how many that were not 0 are 0 now.

    >>> [part.tolist() if hasattr(part, "tolist") else part for part in narrow(np.float32([1e5, 1e-12, 1]))]
    [[65504.0, 0.0, 1.0], 1, 1]
    """
    small = np.clip(values, -LARGEST, LARGEST).astype(np.float16)
    return small, int((np.abs(values) > LARGEST).sum()), int(((small == 0) & (values != 0)).sum())


def _type_of(value: ir.Value) -> ir.DataType | None:
    return value.const_value.dtype if value.const_value is not None else value.dtype


def _weights(graph: ir.Graph, kept: set[ir.Node]) -> list[Lost]:
    """Narrow every float constant that a converted node reads; kept nodes go on reading the wide one."""
    lost = []
    for name, value in list(graph.initializers.items()):
        readers = [use for use in value.uses() if use.node not in kept]
        if _type_of(value) != FLOAT or value.const_value is None or not readers:
            continue
        small, clamped, zeroed = narrow(value.const_value.numpy())
        if clamped or zeroed:
            lost.append(Lost(name=name, clamped=clamped, zeroed=zeroed))
        if len(readers) == len(value.uses()):
            value.const_value = ir.tensor(small, name=name)
            value.dtype = HALF
            continue
        copy = ir.val(f"{name}.half", const_value=ir.tensor(small, name=f"{name}.half"))
        graph.register_initializer(copy)
        for use in readers:
            use.node.replace_input_with(use.idx, copy)
    return lost


def _retype(node: ir.Node) -> None:
    """A node computes in float16 now: its outputs, and what its attributes say about types."""
    for value in node.outputs:
        if value.dtype == FLOAT:
            value.dtype = HALF
    for name in TYPE_ATTRIBUTES:
        found = node.attributes.get(name)
        if found is not None and found.value == FLOAT:
            node.attributes[name] = ir.AttrInt64(name, int(HALF))
    filled = node.attributes.get("value")
    if filled is not None and isinstance(filled.value, ir.TensorProtocol) and filled.value.dtype == FLOAT:
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(narrow(filled.value.numpy())[0]))


def _fence(graph: ir.Graph, node: ir.Node) -> None:
    """Casts around a node that stays in float32."""
    for place, value in enumerate(node.inputs):
        if value is not None and value.producer() is not None and value.dtype in (FLOAT, HALF):
            wide = _cast(value, FLOAT)
            graph.insert_before(node, wide)
            node.replace_input_with(place, wide.outputs[0])
    for value in node.outputs:
        if value.dtype == FLOAT and not value.is_graph_output():
            small = _cast(value, HALF)
            graph.insert_after(node, small)
            ir.convenience.replace_all_uses_with(value, small.outputs[0])
            small.replace_input_with(0, value)


def _border(graph: ir.Graph, kept: set[ir.Node]) -> None:
    """Float inputs and outputs keep their type and their name; kept nodes read inputs as they come."""
    for value in graph.inputs:
        readers = [use for use in value.uses() if use.node not in kept]
        if value.dtype == FLOAT and readers:
            small = _cast(value, HALF)
            graph.insert_before(graph[0], small)
            for use in readers:
                use.node.replace_input_with(use.idx, small.outputs[0])
    for place, value in enumerate(graph.outputs):
        if value.dtype == HALF:
            wide = _cast(value, FLOAT)
            name, inner = value.name, wide.outputs[0]
            graph.append(wide)
            value.name = f"{name}.half"
            inner.name, inner.shape = name, value.shape
            graph.outputs[place] = inner


def _cast(value: ir.Value, kind: ir.DataType) -> ir.Node:
    node: ir.Node = ir.node("Cast", [value], {"to": kind})
    made = node.outputs[0]
    made.name, made.shape, made.type = f"{value.name}.{kind.name.lower()}", value.shape, ir.TensorType(kind)
    return node
