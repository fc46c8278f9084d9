"""The student as a lean ONNX graph.

torch's exporter keeps what the module says; the module says little (one mask, one matrix for Q, K
and V, no segments). What remains to be done here: the score scale goes into the query weights, the
offsets of a product-quantized table into its codes, and names and dimensions are set.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from squeeze.models.encoder import Encoder

__all__ = ["export", "folded"]

INPUTS = ("input_ids", "attention_mask")


def folded(student: Encoder) -> Encoder:
    """A copy in which constant factors are multiplied into the weights; it gives the same logits."""
    lean = copy.deepcopy(student).eval()
    with torch.no_grad():
        for layer in lean.layers:
            width = layer.heads * layer.head_size
            layer.qkv.weight[:width] *= layer.scale
            layer.qkv.bias[:width] *= layer.scale
            layer.scale = 1.0
    return lean


def export(student: Encoder, path: Path, opset: int) -> None:
    """Write the fp32 graph: input_ids and attention_mask (batch, sequence) int64 -> logits.

    Args:
        student: any encoder; it is not changed.
        path: where the file goes.
        opset: ONNX operator set.
    """
    lean = folded(student)
    batch = torch.export.Dim("batch", min=1)
    sequence = torch.export.Dim("sequence", min=1, max=student.shape.positions)
    # Two tensors: the exporter takes one object for one input.
    ids, mask = (torch.ones(2, min(8, student.shape.positions), dtype=torch.int64) for _ in range(2))
    axes = {0: batch, 1: sequence}
    program = torch.onnx.export(
        lean,
        (ids, mask),
        dynamo=True,
        opset_version=opset,
        input_names=list(INPUTS),
        output_names=["logits"],
        dynamic_shapes=(axes, axes),
        verbose=False,
    )
    program.save(str(path), external_data=False)
