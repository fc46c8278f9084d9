"""Costs of ResNets against torch's own counts, and the exported graph that is timed."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

from squeeze.costs import resnet as costs
from squeeze.graphs import resnet as graph
from squeeze.models.resnet import ResNet, ResNetShape

SHAPES = (
    ResNetShape(depths=(7, 1, 3), labels=100),
    ResNetShape(depths=(1, 1, 1), widths=(8, 16, 32), labels=2),
    ResNetShape(depths=(2, 3, 1), widths=(4, 4, 6), labels=5),  # a stage that halves and does not widen
    ResNetShape(depths=(1, 2), widths=(6, 5), labels=3),
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.depths} {shape.widths}")
@pytest.mark.parametrize("size", [(32, 32), (17, 21)])
def test_costs_are_those_of_the_network(shape, size):
    net = ResNet(shape)
    assert costs.parameters(shape) == sum(value.numel() for value in net.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, *size))
    assert 2 * costs.macs(shape, size) == counter.get_total_flops()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.depths} {shape.widths}")
def test_int8_bytes_are_those_of_the_folded_network(shape):
    found = 0
    net = ResNet(shape).eval()
    for part in net.modules():
        if isinstance(part, nn.Sequential):
            for first, second in zip(part, list(part)[1:], strict=False):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    found += stored(fuse_conv_bn_eval(first, second))
    assert costs.int8_bytes(shape) == found + stored(net.fc)


def stored(layer: nn.Conv2d | nn.Linear) -> int:
    """One byte a weight; of each output a scale of four bytes and a bias of four."""
    assert layer.bias is not None
    return layer.weight.numel() + 4 * layer.weight.shape[0] + 4 * layer.bias.numel()


def test_the_graph_that_is_timed_computes_the_network(tmp_path):
    net = ResNet(SHAPES[1]).eval()
    graph.export(net, tmp_path / "model.onnx", (12, 10))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(3, 3, 12, 10)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, net(images).numpy(), rtol=1e-4, atol=1e-5)


def test_a_larger_network_takes_longer():
    small, large = (ResNetShape(depths=(1, 1, 1), widths=(n, 2 * n, 4 * n), labels=2) for n in (4, 32))
    first, second = (costs.measured_ms(shape, (32, 32)) for shape in (small, large))
    assert 0 < first < second
