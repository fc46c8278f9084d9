"""Rules about QuantizeLinear and DequantizeLinear themselves: what TensorRT refuses or reads otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from squeeze.graphs.readiness.facts import BLOCK_SIZES, OPERATORS, QUANTIZED
from squeeze.graphs.readiness.issue import Issue
from squeeze.graphs.readiness.view import (
    DQ,
    Q,
    called,
    constant,
    dtype,
    input_of,
    is_constant,
    nodes,
    products,
    readers,
    weight_axis,
    writer,
)

__all__ = [
    "activations",
    "axes",
    "biases",
    "blocks",
    "constants",
    "inputs",
    "pairs",
    "stored_types",
    "zero_points",
]


def zero_points(model: ir.Model) -> Iterator[Issue]:
    """Zero-points other than 0."""
    for node in nodes(model, Q, DQ):
        found = constant(input_of(node, 2))
        if found is not None and np.any(found.astype(np.float32)):
            yield Issue(
                severity="error",
                rule="zero-point",
                node=called(node),
                what=f"zero-point {found.ravel()[np.flatnonzero(found.astype(np.float32))[0]]}",
                limit="0: TensorRT quantizes symmetrically only",
                hint="quantize with symmetric activations and weights",
            )


def stored_types(model: ir.Model) -> Iterator[Issue]:
    """Quantized to something else than signed int8, int4 or fp8."""
    for node in nodes(model, Q, DQ):
        kind = _stored(node)
        if kind in QUANTIZED or kind == "INT32":  # int32 is a bias, which has its own rule
            continue
        yield Issue(
            severity="error",
            rule="quantized-type",
            node=called(node),
            what=f"quantized to {kind}",
            limit="INT8, INT4 or FP8, signed",
            hint="quantize symmetrically, and write the zero-point as an int8 0: without one it is UINT8",
        )


def _stored(node: ir.Node) -> str:
    """What a quantizer stores; QuantizeLinear without a zero-point makes uint8 (ONNX)."""
    if node.op_type == DQ:
        return dtype(node.inputs[0]) or dtype(input_of(node, 2)) or "an unknown type"
    asked = node.attributes.get_int("output_dtype", 0)
    default = ir.DataType(asked).name if asked else "UINT8"
    return dtype(input_of(node, 2)) or default


def constants(model: ir.Model) -> Iterator[Issue]:
    """Scales and zero-points that are computed at run time, or scales that are not above 0."""
    for node in nodes(model, Q, DQ):
        for place, name in ((1, "scale"), (2, "zero-point")):
            value = input_of(node, place)
            if value is not None and not is_constant(value):
                yield Issue(
                    severity="error",
                    rule="constant-scale",
                    node=called(node),
                    what=f"the {name} ({value.name}) is computed at run time",
                    limit="scale and zero-point are known when the engine is built",
                    hint="calibrate, and write the scale as an initializer",
                )
        scale = constant(input_of(node, 1))
        if scale is not None and not np.all(scale.astype(np.float32) > 0):
            yield Issue(
                severity="error",
                rule="scale",
                node=called(node),
                what=f"a scale of {float(scale.astype(np.float32).min()):g}",
                limit="above 0",
                hint="give channels of zeros a scale of 1",
            )


def inputs(model: ir.Model) -> Iterator[Issue]:
    """DequantizeLinear of something that no quantizer made, such as rows of an int8 table."""
    for node in nodes(model, DQ):
        source = node.inputs[0]
        made = writer(source)
        if is_constant(source) or (made is not None and made.op_type == Q):
            continue
        origin = f"the output of {made.op_type}" if made is not None else "an input of the graph"
        yield Issue(
            severity="error",
            rule="dequantized",
            node=called(node),
            what=f"dequantizes {origin}",
            limit="a constant or the output of QuantizeLinear",
            hint="keep tables that are looked up in float; fp16 halves them",
        )


def pairs(model: ir.Model) -> Iterator[Issue]:
    """Quantized tensors that anything but DequantizeLinear takes."""
    for node in nodes(model, Q):
        made = node.outputs[0]
        others = [each.op_type for each in readers(made) if each.op_type != DQ]
        others += ["an output of the graph"] if made.is_graph_output() else []
        if others or not readers(made):
            yield _unpaired(called(node), f"QuantizeLinear goes to {others[0] if others else 'nothing'}")
    for value in model.graph.initializers.values():
        if dtype(value) in QUANTIZED:
            for node in readers(value):
                if node.op_type in OPERATORS and node.op_type not in (Q, DQ):  # others are told elsewhere
                    yield _unpaired(
                        called(node), f"{node.op_type} takes {value.name}, stored as {dtype(value)}"
                    )


def _unpaired(node: str, what: str) -> Issue:
    return Issue(
        severity="error",
        rule="pair",
        node=node,
        what=what,
        limit="quantized tensors go to DequantizeLinear and nowhere else",
        hint="dequantize at once; TensorRT fuses the pair into the product behind it",
    )


def activations(model: ir.Model) -> Iterator[Issue]:
    """More than one scale for what is computed at run time."""
    for node in nodes(model, Q):
        scale = constant(input_of(node, 1))
        if scale is not None and scale.size > 1 and not is_constant(node.inputs[0]):
            yield Issue(
                severity="error",
                rule="activation-scale",
                node=called(node),
                what=f"an activation with {scale.size} scales",
                limit="one scale a tensor for activations",
                hint="calibrate per tensor; per-channel is for weights",
            )


def axes(model: ir.Model) -> Iterator[Issue]:
    """Weights whose scales do not run over the product's outputs, or not along their axis."""
    for node in nodes(model, DQ):
        scale, stored = constant(input_of(node, 1)), _weights(node)
        if scale is None or stored is None or scale.ndim != 1 or scale.size < 2:
            continue
        axis = node.attributes.get_int("axis", 1) % max(len(stored), 1)
        if len(stored) == 0 or stored[axis] != scale.size:
            yield _axis_issue(
                node, f"{scale.size} scales for axis {axis} of {list(stored)}", "one scale an entry"
            )
            continue
        for product, place, swapped in products(node.outputs[0]):
            wanted = weight_axis(product, place, len(stored), swapped=swapped)
            if wanted is not None and axis != wanted:
                what = f"scales along axis {axis} of {list(stored)}, an input axis of {called(product)}"
                yield _axis_issue(node, what, f"axis {wanted}, the outputs of {product.op_type}")


def _axis_issue(node: ir.Node, what: str, limit: str) -> Issue:
    hint = "one scale an output channel: no integer kernel multiplies by a scale inside its sum"
    return Issue(severity="error", rule="weight-axis", node=called(node), what=what, limit=limit, hint=hint)


def _weights(node: ir.Node) -> tuple[int, ...] | None:
    """Shape of the constant that a DequantizeLinear widens, with or without QuantizeLinear before it."""
    source = node.inputs[0]
    made = writer(source)
    if made is not None and made.op_type == Q:
        source = made.inputs[0]
    found = constant(source)
    return None if found is None else found.shape


def biases(model: ir.Model) -> Iterator[Issue]:
    """Biases stored as int32, as other runtimes want them, or quantized like weights."""
    for node in nodes(model, DQ):
        bias = any(place == 2 for _, place, _ in products(node.outputs[0]))
        if bias or dtype(node.inputs[0]) == "INT32":
            yield Issue(
                severity="error",
                rule="bias",
                node=called(node),
                what=f"a bias is quantized to {_stored(node)}",
                limit="biases stay in float",
                hint="write biases in float; TensorRT adds them inside the product",
            )


def blocks(model: ir.Model) -> Iterator[Issue]:
    """Block-wise scales: for constant int4 weights, whole blocks, in sizes that are documented."""
    for node in nodes(model, Q, DQ):
        size = node.attributes.get_int("block_size", 0)
        if not size:
            continue
        problem = _block_problem(node, size)
        if problem is not None:
            limit = "int4 constants, two axes, scales one a block"
            hint = "store the weights per channel in int8, or in blocks of int4"
            yield Issue(
                severity="error", rule="block", node=called(node), what=problem, limit=limit, hint=hint
            )
        elif size not in BLOCK_SIZES:
            limit = f"{' and '.join(map(str, BLOCK_SIZES))} are usual for TensorRT"
            what = f"blocks of {size}"
            yield Issue(severity="warning", rule="block", node=called(node), what=what, limit=limit)


def _block_problem(node: ir.Node, size: int) -> str | None:
    stored, scale = _weights(node) if node.op_type == DQ else None, constant(input_of(node, 1))
    if stored is None:
        return "blocks of something that is no constant"
    if _stored(node) != "INT4":
        return f"blocks of {_stored(node)}"
    axis = node.attributes.get_int("axis", 1) % max(len(stored), 1)
    if len(stored) != 2 or stored[axis] % size:
        return f"blocks of {size} along axis {axis} of {list(stored)}"
    expected = tuple(n // size if place == axis else n for place, n in enumerate(stored))
    if scale is not None and scale.shape != expected:
        return f"scales of shape {list(scale.shape)} where {list(expected)} are needed"
    return None
