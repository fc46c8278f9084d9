"""The products of a graph by name.

A site is a MatMul or Gemm with constant float weights. In a graph that `squeeze.graphs.lean` wrote it has the
name of the module it comes from, as `squeeze.models.weights.encoder_products` lists them: `layers.0.qkv`,
`head.dense`; the last layer has `query` and `pair` in place of `qkv`. The names are those of the nodes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from squeeze.core.rounding import LEAST_WIDTH
from squeeze.errors import StageFailed
from squeeze.graphs.editing import constant

__all__ = ["LEAST_WIDTH", "bias", "entering", "matrix", "outputs", "products", "weight", "wide"]


def products(model: ir.Model) -> dict[str, ir.Node]:
    """Every float product with constant two-dimensional weights, in the order of the graph.

    In a file of other origin a product has its node's name, or its output's where that is taken.
    """
    found: dict[str, ir.Node] = {}
    for node in model.graph:
        if weight(node) is not None:
            taken = node.name is None or node.name in found
            found[str(node.outputs[0].name if taken else node.name)] = node
    return found


def wide(model: ir.Model, keep: Collection[str] = ()) -> dict[str, ir.Node]:
    """The products that are worth quantizing: LEAST_WIDTH inputs and outputs or more.

    Args:
        model: a float graph.
        keep: sites that stay as they are.

    Raises:
        StageFailed: one that is to be kept is not in the graph.
    """
    found = products(model)
    unknown = [site for site in keep if site not in found]
    if unknown:
        hint = f"it has {', '.join(found)}"
        raise StageFailed(f"the graph has no product {', '.join(unknown)}", hint=hint)
    return {
        site: node
        for site, node in found.items()
        if site not in keep and min(matrix(node).shape) >= LEAST_WIDTH
    }


def weight(node: ir.Node) -> NDArray[np.float32] | None:
    """(inputs, outputs) float32 weights of a product, None where the node is no such product."""
    if node.domain or not (node.op_type == "MatMul" or _plain(node)):
        return None
    found = constant(node.inputs[1])
    if found is None or found.ndim != 2 or found.dtype != np.float32:
        return None
    return found.T if node.attributes.get_int("transB", 0) else found


def entering(node: ir.Node) -> ir.Value:
    """What a product reads beside its weights."""
    value = node.inputs[0]
    assert value is not None
    return value


def _plain(node: ir.Node) -> bool:
    """Whether this is a Gemm that does no more than a product and a sum."""
    factors = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    return node.op_type == "Gemm" and not node.attributes.get_int("transA", 0) and set(factors) == {1.0}


def matrix(node: ir.Node) -> NDArray[np.float32]:
    """`weight` of a node that is known to have some."""
    found = weight(node)
    assert found is not None
    return found


def outputs(model: ir.Model) -> dict[str, str]:
    """Name of the value that each product gives, its bias added, by site."""
    return {site: str(_biased(node)[0].outputs[0].name) for site, node in products(model).items()}


def bias(node: ir.Node) -> NDArray[np.float32]:
    """(outputs,) what is added to a product, zeros where nothing is."""
    added = node.inputs[2] if len(node.inputs) > 2 else _biased(node)[1]
    vector = constant(added)
    return np.zeros(matrix(node).shape[1], dtype=np.float32) if vector is None else vector


def _biased(node: ir.Node) -> tuple[ir.Node, ir.Value | None]:
    """The Add behind a product and its vector, if it adds a constant one; else the product."""
    users = [use.node for use in node.outputs[0].uses()]
    if [user.op_type for user in users] != ["Add"]:
        return node, None
    other = [value for value in users[0].inputs if value is not node.outputs[0]]
    vector = constant(other[0]) if len(other) == 1 else None
    return (users[0], other[0]) if vector is not None and vector.ndim == 1 else (node, None)
