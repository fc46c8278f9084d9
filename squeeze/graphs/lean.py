"""The student as a lean ONNX graph.

torch's exporter writes down what a module does, so the module here does as little as it can, with the
student's own weights and the student's logits:

- the classification head reads the first token only, so the last layer is computed for that token
  alone (its keys and values still come from all);
- the score scale is multiplied into the query weights;
- Q, K and V leave one product through one Split; one additive mask serves all layers.

What the exporter cannot be told is done on its graph: shapes become constants, the sums before norms
keep their own operator, and traces of this machine are removed.
"""

from __future__ import annotations

import ast
import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from torch import Tensor, nn

from squeeze.graphs import sites
from squeeze.models.encoder import Encoder, Layer, additive_mask

__all__ = ["OPSET", "Lean", "export", "folded", "quietly"]

OPSET = 20
"""The first with Gelu as one operator; what the export stage takes unless told otherwise."""

INPUTS = ("input_ids", "attention_mask")
INNER = "inner."  # where `Lean` keeps the student


def folded(student: Encoder) -> Encoder:
    """A copy in which constant factors are multiplied into the weights; it gives the same logits."""
    lean = copy.deepcopy(student).eval()
    with torch.no_grad():
        for layer in _layers(lean):
            width = layer.heads * layer.head_size
            layer.qkv.weight[:width] *= layer.scale
            layer.qkv.bias[:width] *= layer.scale
            layer.scale = 1.0
    return lean


class Lean(nn.Module):
    """The student's forward pass as it is exported; the student is not changed."""

    def __init__(self, student: Encoder) -> None:
        super().__init__()
        self.inner = folded(student)
        _layers(self.inner)[-1].split_queries()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) token numbers and a mask of ones and zeros -> (B, labels) logits."""
        x = self.inner.enter(input_ids)
        return self.answer(x, additive_mask(attention_mask, x.dtype))

    def answer(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H) and an additive mask that broadcasts to (B, heads, T, T) -> (B, labels) logits."""
        *full, last = _layers(self.inner)
        for layer in full:
            x = _full(layer, x, mask)
        x = self._first(last, x, mask)
        logits: Tensor = self.inner.head.output(self.inner.head.features(x))
        return logits

    def _first(self, layer: Layer, x: Tensor, mask: Tensor) -> Tensor:
        """The first token's row of the last layer, (B, T, H) -> (B, H)."""
        heads, size, first = layer.heads, layer.head_size, x[:, 0]
        if layer.distances is not None:
            middle = layer.distances.shape[1] // 2  # distance 0
            mask = mask + layer.distances[:, None, middle : middle + x.shape[1]]
        q = layer.query(first).view(-1, heads, 1, size)
        k, v = layer.pair(x).unflatten(-1, (2 * heads, size)).transpose(1, 2).split(heads, dim=1)
        context = (q @ k.transpose(-1, -2) + mask).softmax(-1) @ v
        return layer.finish(first, context.reshape(-1, heads * size))


def _layers(encoder: Encoder) -> list[Layer]:
    return [cast("Layer", layer) for layer in encoder.layers]


def _full(layer: Layer, x: Tensor, mask: Tensor) -> Tensor:
    """One layer on all tokens, (B, T, H) -> (B, T, H)."""
    heads, length = layer.heads, x.shape[1]
    if layer.distances is not None:
        mask = mask + _distance_bias(layer.distances, length)
    q, k, v = layer.qkv(x).unflatten(-1, (3 * heads, layer.head_size)).transpose(1, 2).split(heads, dim=1)
    context = (q @ k.transpose(-1, -2) + mask).softmax(-1) @ v
    return layer.finish(x, context.transpose(1, 2).flatten(2))


def _distance_bias(distances: Tensor, length: int) -> Tensor:
    """(heads, 2P-1) -> (heads, T, T); a look-up of rows, which exports as one Gather."""
    steps = torch.arange(length)
    index = steps[None, :] - steps[:, None] + distances.shape[1] // 2
    return nn.functional.embedding(index, distances.T).permute(2, 0, 1)


def export(student: Encoder, path: Path, opset: int) -> None:
    """Write the fp32 graph: input_ids and attention_mask (batch, sequence) int64 -> logits.

    Args:
        student: any encoder; it is not changed.
        path: where the file goes.
        opset: ONNX operator set.
    """
    positions = student.shape.positions
    # Two tensors: the exporter takes one object for one input.
    ids, mask = (torch.ones(2, min(8, positions), dtype=torch.int64) for _ in range(2))
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("sequence", min=1, max=positions)}
    with quietly():
        program = torch.onnx.export(
            Lean(student).eval(),
            (ids, mask),
            dynamo=True,
            opset_version=opset,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_shapes=(axes, axes),
            verbose=False,
        )
    assert program is not None
    ir.save(_tidy(program.model), path)


def _tidy(model: ir.Model) -> ir.Model:
    """Constant shapes, sums that stay sums, nothing unused, no trace of where it was made."""
    _fix_shapes(model.graph)
    _keep_sums(model.graph)
    common.RemoveUnusedNodesPass()(model)
    _name_products(model)
    for tidy in (
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        tidy(model)
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.producer_name, model.producer_version = "squeeze", None
    return model


def _name_products(model: ir.Model) -> None:
    """Products are named as the modules of the student are, and so are their weights.

    The exporter writes down the modules that a node was reached through, its own name last.
    """
    for value in tuple(model.graph.initializers.values()):
        value.name = str(value.name).removeprefix(INNER)
    for node in sites.products(model).values():
        *_, module, _ = ast.literal_eval(node.metadata_props["pkg.torch.onnx.name_scopes"])
        node.name = module.removeprefix(INNER)
        weights = node.inputs[1]
        assert weights is not None
        if f"{node.name}.weight" not in model.graph.initializers:
            weights.name = f"{node.name}.weight"


def _fix_shapes(graph: ir.Graph) -> None:
    """Reshape targets that are put together at run time become constants.

    0 stands for a dimension that stays in its place, -1 for the one that is what is left.
    """
    for node in [node for node in graph if node.op_type == "Reshape"]:
        target = node.inputs[1]
        joined = target.producer() if target is not None else None
        if joined is None or joined.op_type != "Concat":
            continue
        dims = _constant_dims(node, joined)
        if dims.count(-1) <= 1:
            value = ir.val(f"{node.outputs[0].name}.shape", const_value=ir.tensor(np.array(dims)))
            graph.register_initializer(value)
            node.replace_input_with(1, value)
            node.attributes.pop("allowzero", None)  # with it, 0 would mean an empty dimension


def _constant_dims(node: ir.Node, joined: ir.Node) -> list[int]:
    source, made = node.inputs[0], node.outputs[0]
    before: list[object] = list(source.shape) if source is not None and source.shape is not None else []
    after: list[object] = list(made.shape) if made.shape is not None else []
    dims: list[int] = []
    for place, part in enumerate(joined.inputs):
        if part is not None and part.const_value is not None:
            dims += part.const_value.numpy().tolist()
        else:
            stays = before[place : place + 1] == after[place : place + 1] != []
            dims.append(0 if stays else -1)
    return dims


def _keep_sums(graph: ir.Graph) -> None:
    """Add before a norm becomes Sum, which is the same.

    ONNX Runtime fuses Add and LayerNormalization into one operator whose CPU kernel takes longer than
    the two apart (benchmarks/lean.py says by how much). Sum it leaves alone.
    """
    for norm in [node for node in graph if node.op_type == "LayerNormalization"]:
        summed = norm.inputs[0]
        add = summed.producer() if summed is not None else None
        if summed is None or add is None or add.op_type != "Add":
            continue
        node = ir.node("Sum", list(add.inputs))
        new = node.outputs[0]
        new.name, new.shape, new.type = summed.name, summed.shape, summed.type
        ir.convenience.replace_nodes_and_values(graph, add, [add], [node], [summed], [new])


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporter's notes about itself out of our output; errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
