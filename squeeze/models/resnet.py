"""ResNets for 32 x 32 images (He et al. 2016, section 4.2) with a free depth for every stage.

For published scores and for the search over such networks; the chain compresses encoders only. Three
stages of basic blocks, the second and third halve the resolution. As in the networks that DisWOT was
published with, a block that changes resolution or width has a 1 x 1 convolution and a norm as its
shortcut (He et al.: padding with zeros, without parameters).

Shapes: N images, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.schema import Frozen

__all__ = ["ResNet", "ResNetShape", "Response"]


class ResNetShape(Frozen):
    """Blocks and channels of every stage. ResNet-20 is (3, 3, 3), ResNet-56 (9, 9, 9)."""

    depths: tuple[int, ...] = Field(min_length=1)
    widths: tuple[int, ...] = (16, 32, 64)
    labels: int = Field(default=10, ge=2)

    @model_validator(mode="after")
    def _one_depth_a_width(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths and {len(self.widths)} widths")
        return self


@dataclass(frozen=True)
class Response:
    """What a network makes of a batch.

    Attributes:
        features: (N, C, H, W) before the global pool, after the last ReLU.
        pooled: (N, C), what the last linear layer reads.
        logits: (N, K).
    """

    features: Tensor
    pooled: Tensor
    logits: Tensor


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_convolution(channels, width, stride), nn.BatchNorm2d(width))
        self.second = nn.Sequential(_convolution(width, width, 1), nn.BatchNorm2d(width))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages of blocks, global pool, one linear layer (`fc`)."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        first = shape.widths[0]
        self.stem = nn.Sequential(_convolution(3, first, 1), nn.BatchNorm2d(first), nn.ReLU())
        stages = zip(shape.depths, pairwise((first, *shape.widths)), strict=True)
        self.blocks = nn.Sequential(
            *(
                Block(
                    width if block else channels,
                    width,
                    stride=2 if stage and not block else 1,
                )
                for stage, (depth, (channels, width)) in enumerate(stages)
                for block in range(depth)
            )
        )
        self.fc = nn.Linear(shape.widths[-1], shape.labels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K) logits."""
        return self.observe(images).logits

    def observe(self, images: Tensor) -> Response:
        """The forward pass with what DisWOT compares."""
        features = self.blocks(self.stem(images))
        pooled = features.mean((2, 3))
        return Response(features, pooled, self.fc(pooled))


def _convolution(channels: int, width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
