"""Write the reference workload that `squeeze bench` may run in turns with the models it measures.

    python -m tools.reference_model

Two encoder layers at the sizes of small students, the first with float weights and the second with int8
weights and activations quantized at run time, because models of both kinds are measured against it and
machines differ in what they make of either. The input is one text of 32 token numbers, never another.

Every weight matrix is the same small block of noise, laid side by side and scaled by the graph itself.
ONNX Runtime computes that once, when it loads the file, and keeps matrices of full size; so the file is
small and the weights still do not fit into the caches of a core, as those of a real encoder do not. What
it computes says nothing, how long it takes is all that is wanted.

The file is committed with its digest; a test makes it anew and compares. A change of the workload is a
change of every figure in its unit: raise VERSION in squeeze/targets/reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from squeeze.targets.reference import INPUT, MODEL, TOKENS, VERSION, VOCABULARY

__all__ = ["Writer", "build", "main"]

HIDDEN, HEADS, HEAD_SIZE, FFN = 256, 4, 32, 1024
LAYERS = ("fp32", "int8")
NOISE = (128, 128)  # rows and columns of the one block of weights
LARGEST = 63  # int8 weights of 7 bits, whose products are exact on every processor
OPSET, IR_VERSION = 20, 10
SEED = 0


@dataclass
class Writer:
    """Collects nodes and constants; every method gives the name of what it computes."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """One operator."""
        name = f"{kind.lower()}{len(self.nodes)}"
        made = [f"{name}.{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=name, **attributes))
        return made

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one output."""
        return self.node(kind, inputs, **attributes)[0]

    def constant(self, values: Any) -> str:
        """A constant; equal ones are stored once."""
        array = np.asarray(values)
        for name, known in self.constants.items():
            if known.dtype == array.dtype and known.shape == array.shape and (known == array).all():
                return name
        name = f"constant{len(self.constants)}"
        self.constants[name] = array
        return name

    def whole(self, *values: int) -> str:
        """A list of integers, as shapes and axes are."""
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A float scalar."""
        return self.constant(np.float32(value))

    def weights(self, rows: int, columns: int) -> str:
        """(rows, columns) int8 weights: the block of noise laid side by side."""
        block = self.constant(noise())
        return self.one("Tile", block, self.whole(rows // NOISE[0], columns // NOISE[1]))

    def bias(self, columns: int) -> str:
        """(columns,) small numbers."""
        small = self.constant(noise()[0].astype(np.float32) / 1024)
        return self.one("Tile", small, self.whole(columns // NOISE[1]))

    def norm(self, x: str, residual: str) -> str:
        """The norm of a sum."""
        scale = self.one("Expand", self.number(1.0), self.whole(HIDDEN))
        return self.one("LayerNormalization", self.one("Add", x, residual), scale, self.bias(HIDDEN), axis=-1)

    def linear(self, x: str, rows: int, columns: int, form: str) -> str:
        """A product with its bias."""
        product = self._whole(x, rows, columns) if form == "int8" else self._float(x, rows, columns)
        return self.one("Add", product, self.bias(columns))

    def _float(self, x: str, rows: int, columns: int) -> str:
        real = self.one("Cast", self.weights(rows, columns), to=TensorProto.FLOAT)
        return self.one("MatMul", x, self.one("Mul", real, self.number(step(rows))))

    def _whole(self, x: str, rows: int, columns: int) -> str:
        """The chain that ONNX Runtime fuses: see squeeze/graphs/int8.py."""
        codes, scale, zero = self.node("DynamicQuantizeLinear", [x], 3)
        product = self.one("MatMulInteger", codes, self.weights(rows, columns), zero)
        real = self.one("Cast", product, to=TensorProto.FLOAT)
        return self.one("Mul", real, self.one("Mul", scale, self.number(step(rows))))


def noise() -> Any:
    """The block of weights, int8."""
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(-LARGEST, LARGEST + 1, size=NOISE)
    return drawn.astype(np.int8)


def step(rows: int) -> float:
    """What an integer weight is worth, so that a product keeps the size of its input."""
    return float(1 / (LARGEST * np.sqrt(rows / 3)))


def layer(graph: Writer, x: str, form: str) -> str:
    """(1, TOKENS, HIDDEN) through attention and feed-forward."""
    inner = HEADS * HEAD_SIZE
    parts = graph.linear(x, HIDDEN, 3 * inner, form)
    apart = graph.one("Reshape", parts, graph.whole(1, TOKENS, 3 * HEADS, HEAD_SIZE))
    turned = graph.one("Transpose", apart, perm=[0, 2, 1, 3])
    q, k, v = graph.node("Split", [turned], 3, axis=1, num_outputs=3)
    scores = graph.one("MatMul", q, graph.one("Transpose", k, perm=[0, 1, 3, 2]))
    shares = graph.one("Softmax", graph.one("Mul", scores, graph.number(HEAD_SIZE**-0.5)), axis=-1)
    context = graph.one("Transpose", graph.one("MatMul", shares, v), perm=[0, 2, 1, 3])
    joined = graph.one("Reshape", context, graph.whole(1, TOKENS, inner))
    x = graph.norm(graph.linear(joined, inner, HIDDEN, form), x)
    wide = graph.one("Gelu", graph.linear(x, HIDDEN, FFN, form))
    return graph.norm(graph.linear(wide, FFN, HIDDEN, form), x)


def build() -> bytes:
    """The file."""
    graph = Writer()
    rows = graph.one("Gather", graph.weights(VOCABULARY, HIDDEN), INPUT)
    real = graph.one("Mul", graph.one("Cast", rows, to=TensorProto.FLOAT), graph.number(1 / LARGEST))
    x = graph.one("Reshape", real, graph.whole(1, TOKENS, HIDDEN))
    for form in LAYERS:
        x = layer(graph, x, form)
    output = helper.make_node("Identity", [x], ["hidden"], name="output")
    made = helper.make_graph(
        [*graph.nodes, output],
        "squeeze-reference",
        [helper.make_tensor_value_info(INPUT, TensorProto.INT64, [TOKENS])],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, TOKENS, HIDDEN])],
        [numpy_helper.from_array(values, name) for name, values in graph.constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name, model.producer_version = "squeeze", str(VERSION)
    helper.set_model_props(model, {"squeeze.reference": str(VERSION)})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def main(path: Path = MODEL) -> None:
    """Write the file and print what squeeze/targets/reference must know of it."""
    import hashlib

    content = build()
    path.write_bytes(content)
    print(f'{path}: {len(content)} bytes\nSHA256 = "{hashlib.sha256(content).hexdigest()}"')


if __name__ == "__main__":
    main()
