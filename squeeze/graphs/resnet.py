"""A CIFAR ResNet as an ONNX graph, as torch's exporter writes it."""

from __future__ import annotations

from pathlib import Path

import torch

from squeeze.graphs.lean import OPSET, quietly
from squeeze.models.resnet import ResNet

__all__ = ["export"]


def export(net: ResNet, path: Path, size: tuple[int, int]) -> None:
    """Write the fp32 graph: images (batch, 3, height, width) float -> logits.

    Args:
        net: any; left in evaluation mode.
        path: where the file goes.
        size: (height, width) of the images, pixels.
    """
    with quietly():
        torch.onnx.export(
            net.eval(),
            (torch.zeros(2, 3, *size),),
            path,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
