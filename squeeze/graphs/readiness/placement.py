"""Rules about where quantizers stand: what TensorRT builds, and then runs slower than without them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from squeeze.graphs.readiness.facts import LEAST_WIDTH, MOVES, UNFUSED
from squeeze.graphs.readiness.issue import Issue
from squeeze.graphs.readiness.view import (
    DQ,
    Q,
    called,
    constant,
    dtype,
    is_constant,
    nodes,
    products,
    readers,
    writer,
)

__all__ = [
    "before_functions",
    "half_quantized",
    "moved",
    "outputs_of_products",
    "residuals",
    "small",
    "unfolded",
]

FACTORS = ("MatMul", "Gemm")
SUMS = ("Add", "Sum")


def before_functions(model: ir.Model) -> Iterator[Issue]:
    """Pairs before functions that are computed in float anyway."""
    for node in _pairs(model):
        for reader in readers(node.outputs[0]):
            if reader.op_type in UNFUSED:
                yield _placed(
                    "before-function",
                    node,
                    f"{reader.op_type} reads a quantized tensor",
                    "it is computed in float, so the pair only costs time and accuracy",
                    f"take Q and DQ away before {called(reader)}",
                )


def residuals(model: ir.Model) -> Iterator[Issue]:
    """Pairs on the residual path: a sum quantized for the next sum."""
    for node in _pairs(model):
        quantizer = writer(node.inputs[0])
        source = writer(quantizer.inputs[0]) if quantizer is not None else None
        for reader in readers(node.outputs[0]):
            if reader.op_type in SUMS or (
                source is not None and source.op_type in SUMS and reader.op_type in UNFUSED
            ):
                yield _placed(
                    "residual",
                    node,
                    f"{reader.op_type} reads a quantized residual",
                    "the residual stays in float, so that sum and norm are one kernel",
                    "quantize behind the norm, at the inputs of products",
                )


def moved(model: ir.Model) -> Iterator[Issue]:
    """Pairs before Transpose, Reshape and the like, which keep them from the product behind."""
    for node in _pairs(model):
        for reader in readers(node.outputs[0]):
            if reader.op_type in MOVES and not is_constant(node.inputs[0]):
                yield _placed(
                    "moved",
                    node,
                    f"{reader.op_type} stands between Q/DQ and what reads it",
                    "the pair stands directly at the inputs of products",
                    f"put Q and DQ behind {called(reader)}",
                )


def outputs_of_products(model: ir.Model) -> Iterator[Issue]:
    """Outputs of products that are quantized and then read in float."""
    for node in nodes(model, Q):
        source = writer(node.inputs[0])
        if source is None or source.op_type not in FACTORS:
            continue
        widened = [each for each in readers(node.outputs[0]) if each.op_type == DQ]
        if widened and not any(list(products(each.outputs[0])) for each in widened):
            yield _placed(
                "product-output",
                node,
                f"the output of {called(source)} is quantized and read in float",
                "outputs of products stay in float unless the next product reads them",
                "take Q and DQ away",
            )


def half_quantized(model: ir.Model) -> Iterator[Issue]:
    """Products of an int8 factor and a float one, which run in float."""
    for node in nodes(model, *FACTORS):
        wide = [_dequantized(value) for value in node.inputs[:2]]
        if sum(wide) == 1 and not _int4(node):
            yield _placed(
                "half-quantized",
                node,
                f"only input {wide.index(True)} of {node.op_type} is quantized",
                "both factors in int8, or both in float",
                "calibrate the other input too, or leave this product in float",
            )


def small(model: ir.Model) -> Iterator[Issue]:
    """Quantized products with few inputs or outputs."""
    for node in nodes(model, *FACTORS):
        if not all(_dequantized(value) for value in node.inputs[:2]):
            continue
        sizes = next((shape for value in node.inputs[:2] if (shape := _shape(value)) is not None), None)
        if sizes is not None and min(sizes[-2:]) < LEAST_WIDTH:
            yield _placed(
                "small",
                node,
                f"a quantized product with weights of {list(sizes)}",
                f"at least {LEAST_WIDTH} inputs and outputs, below which int8 gains nothing",
                "leave it in float",
            )


def unfolded(model: ir.Model) -> Iterator[Issue]:
    """Weights in float with QuantizeLinear behind them."""
    for node in nodes(model, Q):
        if is_constant(node.inputs[0]):
            yield _placed(
                "unfolded",
                node,
                "weights are stored in float and quantized when the engine is built",
                "weights stored as int8 behind DequantizeLinear",
                "fold QuantizeLinear into the weights: the file is a quarter of the size",
            )


def _pairs(model: ir.Model) -> Iterator[ir.Node]:
    """Each DequantizeLinear behind a QuantizeLinear of something computed at run time."""
    for node in nodes(model, DQ):
        made = writer(node.inputs[0])
        if made is not None and made.op_type == Q and not is_constant(made.inputs[0]):
            yield node


def _dequantized(value: ir.Value | None) -> bool:
    """Whether a factor comes out of DequantizeLinear, straight or through one Transpose."""
    made = writer(value)
    if made is not None and made.op_type == "Transpose":
        made = writer(made.inputs[0])
    return made is not None and made.op_type == DQ


def _int4(node: ir.Node) -> bool:
    """Whether a factor is stored as int4: weight-only by design."""
    makers = (writer(value) for value in node.inputs[:2])
    return any(made is not None and made.op_type == DQ and dtype(made.inputs[0]) == "INT4" for made in makers)


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Shape of a factor's constant; None for an activation."""
    made = writer(value)
    while made is not None and made.op_type in ("Transpose", DQ, Q):
        value = made.inputs[0]
        made = writer(value)
    found = constant(value)
    return None if found is None else found.shape


def _placed(rule: str, node: ir.Node, what: str, limit: str, hint: str) -> Issue:
    return Issue(severity="warning", rule=rule, node=called(node), what=what, limit=limit, hint=hint)
