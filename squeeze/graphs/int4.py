"""The smallest form: weights in 4 bits with a step and a zero for each run of inputs.

Products become com.microsoft MatMulNBits, which ONNX Runtime has kernels for; no other runtime reads this
form. By default they round what they read to int8 in the same runs. What is looked up is int8 as in
squeeze/graphs/tables.py, or 4 bits as well.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common

from squeeze.core.rounding import blocks_to_int4, pack
from squeeze.graphs import sites
from squeeze.graphs.editing import CONTRIB, drop, initializer, swap
from squeeze.graphs.tables import store_tables

__all__ = ["ACCURACY", "BLOCK", "quantize"]

BLOCK = 32
"""Inputs that share a step."""
ACCURACY = 4
"""MatMulNBits accuracy_level: with 4 activations are rounded to int8 in blocks, with 1 they are not."""


def quantize(
    source: Path,
    target: Path,
    keep: Collection[str] = (),
    *,
    block: int = BLOCK,
    symmetric: bool = False,
    accuracy: int = ACCURACY,
    table_bits: int = 8,
) -> None:
    """Write the int4 form of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        keep: sites that stay in float; products of fewer than 16 inputs or outputs always do.
        block: inputs that share a step: 16, 32, 64, 128 or 256.
        symmetric: without zero-points.
        accuracy: accuracy_level of MatMulNBits.
        table_bits: 8, or 4 for rows of tables that are looked up one by one; codebooks stay in 8.

    Raises:
        StageFailed: a site to keep that the graph has not.
    """
    model = ir.load(source)
    found = sites.wide(model, keep)
    store_tables(model, table_bits)
    for site, node in found.items():
        _narrow(model.graph, site, node, block, symmetric, accuracy)
    common.RemoveUnusedNodesPass()(model)
    model.graph.opset_imports.setdefault(CONTRIB, 1)
    ir.save(model, target)


def _narrow(graph: ir.Graph, site: str, node: ir.Node, block: int, symmetric: bool, accuracy: int) -> None:
    """A product becomes MatMulNBits, with its bias where it carries one."""
    matrix, old = sites.matrix(node), node.inputs[1]
    assert old is not None
    blocks = blocks_to_int4(matrix, block, symmetric=symmetric)
    named = f"{site}.weight"
    stored = initializer(graph, f"{named}.int4", pack(blocks.values))
    steps = initializer(graph, f"{named}.scale", blocks.steps.reshape(-1))
    zeros = None if symmetric else initializer(graph, f"{named}.zero", pack(blocks.zeros).reshape(-1))
    sizes = {"K": matrix.shape[0], "N": matrix.shape[1], "bits": 4, "block_size": block}
    product = ir.node(
        "MatMulNBits",
        [node.inputs[0], stored, steps, zeros],
        {**sizes, "accuracy_level": accuracy},
        domain=CONTRIB,
        name=site,
    )
    chain = [product]
    if len(node.inputs) > 2:  # Gemm carries its bias
        chain.append(ir.node("Add", [product.outputs[0], node.inputs[2]]))
    swap(graph, node, chain)
    drop(graph, old)
