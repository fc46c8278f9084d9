"""The first quantized form: int8 weights, activations quantized at run time.

Matrix products become integer ones: weights symmetric with one scale an output channel, activations
in uint8 with one scale a call (DynamicQuantizeLinear, MatMulInteger; ONNX Runtime fuses the chain
with its bias into one operator when the file is loaded). Tables are stored as squeeze/graphs/tables.py says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from squeeze.core.rounding import WEIGHT_BITS, columns_to_int8
from squeeze.graphs import sites
from squeeze.graphs.editing import drop, initializer, swap
from squeeze.graphs.scales import Scales
from squeeze.graphs.tables import store_tables

__all__ = ["channels", "quantize", "stored"]


def quantize(
    source: Path,
    target: Path,
    scales: Scales | None = None,
    keep: Collection[str] = (),
    weight_bits: int = WEIGHT_BITS,
    table_bits: int = 8,
) -> None:
    """Write the int8 form of an fp32 graph that `lean.export` made.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        scales: trained steps of weights; where there are none, the largest magnitude is the largest integer.
        keep: sites that stay in float; products of fewer than 16 inputs or outputs always do.
        weight_bits: 7, or 8 where products of uint8 and int8 cannot saturate; see `WEIGHT_BITS`.
        table_bits: 8, or 4 for rows of tables that are looked up one by one; codebooks stay in 8.

    Raises:
        StageFailed: scales or sites that are not those of the graph.
    """
    model = ir.load(source)
    found = sites.wide(model, keep)
    scales = scales or Scales()
    scales.check(channels(sites.products(model)))
    store_tables(model, table_bits)
    ranges: dict[ir.Value, ir.Node] = {}
    for site, node in found.items():
        entering = sites.entering(node)
        if entering not in ranges:
            ranges[entering] = ir.node("DynamicQuantizeLinear", [entering], num_outputs=3)
            model.graph.insert_before(node, ranges[entering])
        weights = columns_to_int8(sites.matrix(node), scales.weights.get(site), weight_bits)
        _multiply_integers(model.graph, site, node, weights, ranges[entering])
    common.RemoveUnusedNodesPass()(model)
    ir.save(model, target)


def channels(products: Mapping[str, ir.Node]) -> dict[str, int]:
    """Output channels of each site."""
    return {site: sites.matrix(node).shape[1] for site, node in products.items()}


def stored(
    graph: ir.Graph, site: str, values: NDArray[np.int8], steps: NDArray[np.float32]
) -> tuple[ir.Value, ir.Value]:
    """Integer weights and their steps as constants of the graph."""
    whole = initializer(graph, f"{site}.weight.int8", np.ascontiguousarray(values))
    return whole, initializer(graph, f"{site}.weight.scale", steps)


def _multiply_integers(
    graph: ir.Graph,
    site: str,
    node: ir.Node,
    weights: tuple[NDArray[np.int8], NDArray[np.float32]],
    activations: ir.Node,
) -> None:
    """The chain that ONNX Runtime knows: MatMulInteger -> Cast -> Mul(both scales) -> Add(bias)."""
    old = node.inputs[1]
    assert old is not None
    whole, scale = stored(graph, site, *weights)
    quantized, step, zero = activations.outputs
    product = ir.node("MatMulInteger", [quantized, whole, zero], name=site)
    wide = ir.node("Cast", [product.outputs[0]], {"to": ir.DataType.FLOAT})
    both = ir.node("Mul", [step, scale])
    chain = [product, wide, both, ir.node("Mul", [wide.outputs[0], both.outputs[0]])]
    if len(node.inputs) > 2:  # Gemm carries its bias
        chain.append(ir.node("Add", [chain[-1].outputs[0], node.inputs[2]]))
    swap(graph, node, chain)
    drop(graph, old)
