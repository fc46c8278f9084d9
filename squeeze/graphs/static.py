"""The static form: int8 weights and activations whose steps are fixed before the graph is written.

Every product reads its input through QuantizeLinear and DequantizeLinear with one step for the whole tensor
and zero-point 0, and its weights through DequantizeLinear with one step an output channel. All of it is
standard ONNX: TensorRT takes the pairs as its orders to compute in int8, ONNX Runtime fuses them with the
product into an integer kernel. Residuals, norms, softmax and the products within attention stay in float.
Tables are stored as squeeze/graphs/tables.py says.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from squeeze.core.rounding import WEIGHT_BITS, columns_to_int8
from squeeze.graphs import sites
from squeeze.graphs.editing import drop, initializer, swap
from squeeze.graphs.int8 import channels, stored
from squeeze.graphs.scales import Scales
from squeeze.graphs.tables import store_tables

__all__ = ["quantize"]


def quantize(
    source: Path,
    target: Path,
    scales: Scales,
    keep: Collection[str] = (),
    weight_bits: int = WEIGHT_BITS,
    table_bits: int = 8,
) -> None:
    """Write the static int8 form of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        scales: the step of every product's input, and of weights where they were trained.
        keep: sites that stay in float; products of fewer than 16 inputs or outputs always do.
        weight_bits: 7, or 8 where products of uint8 and int8 cannot saturate; see `WEIGHT_BITS`.
        table_bits: 8, or 4 for rows of tables that are looked up one by one; codebooks stay in 8.

    Raises:
        StageFailed: scales or sites that are not those of the graph.
    """
    model = ir.load(source)
    found = sites.wide(model, keep)
    scales.check(channels(sites.products(model)), found)
    store_tables(model, table_bits)
    rounded: dict[tuple[ir.Value, float], ir.Value] = {}
    for site, node in found.items():
        entering, step = sites.entering(node), scales.inputs[site]
        if (entering, step) not in rounded:
            rounded[entering, step] = _rounded(model.graph, node, site, step)
        weights = columns_to_int8(sites.matrix(node), scales.weights.get(site), weight_bits)
        _multiply(model.graph, site, node, rounded[entering, step], stored(model.graph, site, *weights))
    common.RemoveUnusedNodesPass()(model)
    ir.save(model, target)


def _rounded(graph: ir.Graph, node: ir.Node, site: str, step: float) -> ir.Value:
    """The node's input through int8 and back."""
    scale = initializer(graph, f"{site}.input.scale", np.array(step, dtype=np.float32))
    zero = initializer(graph, "zero.int8", np.array(0, dtype=np.int8))
    narrow = ir.node("QuantizeLinear", [node.inputs[0], scale, zero])
    wide = ir.node("DequantizeLinear", [narrow.outputs[0], scale, zero])
    graph.insert_before(node, [narrow, wide])
    return wide.outputs[0]


def _multiply(
    graph: ir.Graph, site: str, node: ir.Node, entering: ir.Value, weights: tuple[ir.Value, ir.Value]
) -> None:
    """The product on widened weights; a bias is added behind it.

    ONNX Runtime fuses a Gemm only when its bias is int32, which TensorRT refuses. It would make one of a
    MatMul and an Add, so the bias that Gemm carried is added by a Sum.
    """
    old = node.inputs[1]
    assert old is not None
    # Zero is the default, but where ONNX Runtime shifts weights to uint8 it wants one a channel, not shared.
    nothing = np.zeros(sites.matrix(node).shape[1], dtype=np.int8)
    zeros = initializer(graph, f"{site}.weight.zero", nothing)
    wide = ir.node("DequantizeLinear", [*weights, zeros], {"axis": 1})
    chain = [wide, ir.node("MatMul", [entering, wide.outputs[0]], name=site)]
    if len(node.inputs) > 2:
        chain.append(ir.node("Sum", [chain[-1].outputs[0], node.inputs[2]]))
    swap(graph, node, chain)
    drop(graph, old)
