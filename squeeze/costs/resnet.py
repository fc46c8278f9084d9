"""What a CIFAR ResNet costs: counted from its shape alone, but for its latency, which is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from squeeze.graphs import resnet as graph
from squeeze.models.resnet import ResNet, ResNetShape
from squeeze.progress import Silent
from squeeze.targets import cpu
from squeeze.targets.subjects import Subject

__all__ = ["int8_bytes", "macs", "measured_ms", "parameters"]

CHANNEL_BYTES = 8
"""Of an output channel in int8 beside its weights: a float scale, and a float bias with the norm in it."""
RUNS, SECONDS, MOST_SECONDS = 50, 0.5, 20.0  # of one network's timing


@dataclass(frozen=True)
class Convolution:
    """One convolution, with its norm behind it.

    Attributes:
        inputs: channels.
        outputs: channels.
        kernel: side of the square window.
        stage: number of the stage, the stem counts as the first one; each halves the resolution once more.
    """

    inputs: int
    outputs: int
    kernel: int
    stage: int

    @property
    def weights(self) -> int:
        """How many."""
        return self.inputs * self.outputs * self.kernel**2


def parameters(shape: ResNetShape) -> int:
    """Trained values: weights, norms, the linear layer with its bias.

    >>> parameters(ResNetShape(depths=(9, 9, 9), labels=100))
    861620
    """
    head = (shape.widths[-1] + 1) * shape.labels
    return sum(each.weights + 2 * each.outputs for each in _convolutions(shape)) + head


def int8_bytes(shape: ResNetShape) -> int:
    """Bytes of the weights in int8 with a scale and a bias an output channel, norms folded in.

    The graph around them is not counted. ONNX Runtime's static quantization of depths (3, 1, 3) stores
    237,633 bytes of tensors where this counts 239,360, and 70,000 bytes of graph around them.
    """
    head = (shape.widths[-1] + CHANNEL_BYTES) * shape.labels
    return sum(each.weights + CHANNEL_BYTES * each.outputs for each in _convolutions(shape)) + head


def macs(shape: ResNetShape, size: tuple[int, int]) -> int:
    """Multiply-accumulates of the convolutions and the linear layer for one image.

    Args:
        shape: of the network.
        size: (height, width) of the image, pixels.
    """
    total = shape.widths[-1] * shape.labels
    for each in _convolutions(shape):
        height, width = (_halved(side, each.stage) for side in size)
        total += each.weights * height * width
    return total


def measured_ms(shape: ResNetShape, size: tuple[int, int]) -> float:
    """Median latency of the exported fp32 graph in ONNX Runtime: one image, one thread, random weights.

    It takes some seconds: the export, a process of its own, and the timing.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph.export(ResNet(shape), path, size)
        settings = cpu.Settings(min_runs=RUNS, min_seconds=SECONDS, max_seconds=MOST_SECONDS, starts=1)
        (found,) = cpu.measure([Subject(path, path.name)], settings, Silent())
    return found.p50.value


def _convolutions(shape: ResNetShape) -> Iterator[Convolution]:
    """All of a network, as models/resnet.py builds it."""
    yield Convolution(3, shape.widths[0], 3, stage=0)
    widths = pairwise((shape.widths[0], *shape.widths))
    for stage, (depth, (channels, width)) in enumerate(zip(shape.depths, widths, strict=True)):
        for block in range(depth):
            inputs = width if block else channels
            yield Convolution(inputs, width, 3, stage)
            yield Convolution(width, width, 3, stage)
            if inputs != width or (stage and not block):  # a change of width or resolution
                yield Convolution(inputs, width, 1, stage)


def _halved(side: int, times: int) -> int:
    """What padded convolutions of stride 2 leave of a side.

    >>> _halved(32, 2), _halved(33, 1)
    (8, 17)
    """
    return -(-side // (1 << times))
