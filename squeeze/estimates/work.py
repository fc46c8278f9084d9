"""What a node costs in operations and bytes, and which of its kind it is compared with.

A product of (m, k) and (k, n) is 2 m k n operations, a multiply and an add counted apart; bytes are what is
read and written once. Other nodes are counted by their bytes alone: their operations are as many as their
numbers, so one of the two says it all. A node that quantizes what it reads counts as two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from squeeze.estimates.trace import Node, Value

__all__ = ["KINDS", "PRODUCTS", "Kind", "Part", "parts", "unknown"]

Kind: TypeAlias = Literal[
    "product",
    "attention",
    "int8-dynamic",
    "int8-static",
    "quantize",
    "norm",
    "softmax",
    "curve",
    "gather",
    "simple",
    "move",
    "free",
    "other",
]
"""product, attention: of floats with weights and of two activations. int8-dynamic, int8-static: of bytes
whose step is found by the node itself, or was known before. curve: Gelu, Tanh and the like. simple: sums and
scalings. move: copies in another order. free: nodes that only rename. other: operators nobody here knows."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PRODUCTS: Final[tuple[Kind, ...]] = ("product", "attention", "int8-dynamic", "int8-static")
"""Kinds whose operations count; all others are counted by bytes."""

OPERATORS: Mapping[Kind, str] = {
    "quantize": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "norm": "LayerNormalization SkipLayerNormalization EmbedLayerNormalization SimplifiedLayerNormalization "
    "SkipSimplifiedLayerNormalization RMSNormalization InstanceNormalization GroupNorm BatchNormalization",
    "softmax": "Softmax LogSoftmax BiasSoftmax QLinearSoftmax",
    "curve": "Gelu BiasGelu FastGelu QuickGelu Erf Tanh Sigmoid Exp Log Pow Softplus Sin Cos HardSwish",
    "gather": "Gather GatherElements GatherND GatherBlockQuantized",
    "simple": "Add Sum Mul Sub Div Cast Where Not And Or Relu LeakyRelu Clip Min Max Mean Abs Neg Sqrt "
    "Reciprocal Equal Less LessOrEqual Greater GreaterOrEqual ReduceSum ReduceMean ReduceMax ReduceMin "
    "Range IsNaN CumSum Sign Floor Ceil Mod QLinearAdd QLinearMul",
    "move": "Transpose Split Concat Slice Expand Tile Pad QLinearConcat MemcpyToHost MemcpyFromHost",
    "free": "Reshape Unsqueeze Squeeze Flatten Identity Shape Size Constant ConstantOfShape Dropout",
}
OF_OPERATOR: Mapping[str, Kind] = {name: kind for kind, names in OPERATORS.items() for name in names.split()}


@dataclass(frozen=True)
class Part:
    """One thing that a node does.

    Attributes:
        kind: what it is compared with.
        work: operations; 0 where bytes say it all.
        bytes: read and written.
        nodes: 1, or 0 for a second part of the same node.
    """

    kind: Kind
    work: float
    bytes: float
    nodes: int = 1


def parts(node: Node) -> tuple[Part, ...]:
    """What a node costs; see `unknown` for those of kind "other"."""
    rule = PRODUCT_RULES.get(node.operator)
    if rule is not None and len(node.inputs) >= 2:
        return rule(node)
    kind = OF_OPERATOR.get(node.operator, "other")
    if kind == "free":
        return (Part(kind, 0.0, 0.0),)
    if kind == "gather":  # only the rows that are looked up are read
        return (Part(kind, 0.0, 2.0 * _bytes(node.outputs)),)
    if kind == "move" and node.operator == "Slice":
        return (Part(kind, 0.0, 2.0 * _bytes(node.outputs)),)
    return (Part(kind, 0.0, float(_bytes(node.inputs) + _bytes(node.outputs))),)


def unknown(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Names of the operators that are counted by their bytes because nobody here knows them."""
    return tuple(sorted({node.operator for node in nodes for part in parts(node) if part.kind == "other"}))


def _bytes(values: Sequence[Value]) -> int:
    return sum(value.bytes for value in values)


def _work(left: Value, made: Value) -> float:
    """Operations of a product: 2 for each number made and each number that it is summed from.

    The inner size is the left side's last one, or the one before where the left side is transposed.
    """
    inner = left.shape[-1] if left.shape else 1
    if len(left.shape) >= 2 and len(made.shape) >= 2 and made.shape[-2] not in (left.shape[-2], 1):
        inner = left.shape[-2]
    return 2.0 * made.numbers * inner


def _float_product(node: Node) -> tuple[Part, ...]:
    left, right = node.inputs[:2]
    packed = node.operator == "MatMulNBits"  # weights in blocks have three dimensions
    kind: Kind = "product" if len(right.shape) <= 2 or packed else "attention"
    return (Part(kind, _work(left, node.outputs[0]), float(_bytes(node.inputs) + _bytes(node.outputs))),)


def _integer_product(node: Node) -> tuple[Part, ...]:
    """A product of bytes; with its scale fused it is a static one, whose input a node before quantized."""
    kind: Kind = "int8-dynamic" if node.operator == "MatMulInteger" else "int8-static"
    return (
        Part(kind, _work(node.inputs[0], node.outputs[0]), float(_bytes(node.inputs) + _bytes(node.outputs))),
    )


def _quantizing_product(node: Node) -> tuple[Part, ...]:
    """DynamicQuantizeMatMul reads floats, makes bytes of them and multiplies those."""
    left, made = node.inputs[0], node.outputs[0]
    read = left.numbers + _bytes(node.inputs[1:])
    return (
        Part("int8-dynamic", _work(left, made), float(read + made.bytes)),
        Part("quantize", 0.0, float(left.bytes + left.numbers), nodes=0),
    )


PRODUCT_RULES: Mapping[str, Callable[[Node], tuple[Part, ...]]] = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulNBits"), _float_product),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm"), _integer_product),
    "DynamicQuantizeMatMul": _quantizing_product,
}
