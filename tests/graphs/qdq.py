"""Small quantized graphs, sound or broken in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

HIDDEN = 32
ZERO = np.zeros((), np.int8)
SIZES = ("batch", HIDDEN)


class Sketch:
    """A graph that is put together node by node."""

    def __init__(self, opset: int = 21) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": opset}, name="sketch")

    def enter(self, name: str = "x", kind: ir.DataType = ir.DataType.FLOAT, shape: Any = SIZES) -> ir.Value:
        value = ir.val(name, kind, None if shape is None else list(shape))
        self.graph.inputs.append(value)
        return value

    def weight(self, name: str, values: Any) -> ir.Value:
        value = ir.val(name, const_value=ir.tensor(np.asarray(values), name=name))
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        kind: str,
        *inputs: ir.Value | None,
        domain: str = "",
        outputs: int = 1,
        to: ir.DataType | None = None,
        **attributes: Any,
    ) -> ir.Value:
        made = ir.node(kind, list(inputs), attributes, domain=domain, num_outputs=outputs)
        made.name = f"{kind}_{len(self.graph)}"
        for place, value in enumerate(made.outputs):
            value.name = f"{made.name}.{place}"
            value.type = ir.TensorType(to or ir.DataType.FLOAT)
        self.graph.append(made)
        return made.outputs[0]

    def leave(self, value: ir.Value, shape: Any = SIZES) -> ir.Model:
        value.shape = ir.Shape(shape)
        self.graph.outputs.append(value)
        return ir.Model(self.graph, ir_version=10)


def matrix(rows: int = HIDDEN, columns: int = HIDDEN) -> Any:
    return np.random.default_rng(rows + columns).standard_normal((rows, columns)).astype(np.float32)


def to_int8(values: Any, axis: int = 1) -> tuple[Any, Any]:
    """Symmetric int8 with one scale an entry of ``axis``."""
    scale = np.abs(values).max(axis=1 - axis).astype(np.float32) / 127
    wide = scale[None] if axis == 1 else scale[:, None]
    return np.rint(values / wide).astype(np.int8), scale


def pair(
    sketch: Sketch,
    value: ir.Value,
    *,
    name: str = "a",
    scale: Any = 0.05,
    zero: Any = ZERO,
    to: ir.DataType = ir.DataType.INT8,
    **attributes: Any,
) -> ir.Value:
    """QuantizeLinear and DequantizeLinear of an activation."""
    step = sketch.weight(f"{name}.scale", np.asarray(scale, np.float32))
    point = None if zero is None else sketch.weight(f"{name}.zero", zero)
    quantized = sketch.node("QuantizeLinear", value, step, point, to=to, **attributes)
    return sketch.node("DequantizeLinear", quantized, step, point, **attributes)


def widened(sketch: Sketch, values: Any, *, axis: int = 1, name: str = "w", **changed: Any) -> ir.Value:
    """Weights stored as int8 behind DequantizeLinear."""
    stored, scale = to_int8(values, axis)
    parts = [sketch.weight(name, changed.get("stored", stored))]
    parts.append(sketch.weight(f"{name}.scale", changed.get("scale", scale)))
    if "zero" in changed:
        parts.append(sketch.weight(f"{name}.zero", changed["zero"]))
    return sketch.node("DequantizeLinear", *parts, axis=changed.get("given_axis", axis))


def sound(opset: int = 21) -> ir.Model:
    """Two int8 products with a norm between them, as TensorRT likes them."""
    s = Sketch(opset)
    x = s.enter()
    y = s.node("MatMul", pair(s, x), widened(s, matrix()))
    y = s.node("Add", y, s.weight("bias", np.zeros(HIDDEN, np.float32)))
    y = s.node("Sum", x, y)
    y = s.node("LayerNormalization", y, s.weight("gamma", np.ones(HIDDEN, np.float32)))
    y = s.node("MatMul", pair(s, y, name="b"), widened(s, matrix(), name="v"))
    return s.leave(y)


def save(model: ir.Model, path: Path) -> Path:
    ir.save(model, path)
    return path


def int4(rows: int = 128, columns: int = HIDDEN, **changed: Any) -> ir.Model:
    """A product of a float activation and int4 weights in blocks of 64."""
    s = Sketch()
    x = s.enter(shape=("batch", rows))
    block = changed.get("block", 64)
    values = np.zeros((rows, columns), changed.get("kind", ml_dtypes.int4))
    scale = np.ones(changed.get("scales", (rows // block, columns)), np.float32)
    weights = s.weight("w", values)
    wide = s.node("DequantizeLinear", weights, s.weight("w.scale", scale), axis=0, block_size=block)
    return s.leave(s.node("MatMul", x, wide), ("batch", columns))
