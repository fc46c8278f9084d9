"""Single weights set to zero: chosen once, and held at zero while the rest learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from squeeze.core.sparsity import largest, largest_together, share_of_zeros, two_of_four
from squeeze.models.encoder import Encoder
from squeeze.models.weights import layer_weights
from squeeze.stages.prune.stage import PruneSection, SparsityReport

__all__ = ["choose", "held", "masked_names", "report"]

HALF = 0.5


def masked_names(encoder: Encoder) -> list[str]:
    """The linear parts that are masked: all of every layer; the table and the head stay whole."""
    layers = (layer_weights(encoder.shape, index) for index in range(len(encoder.layers)))
    return [w.name.removesuffix(".weight") for layer in layers for w in layer if w.kind == "matrix"]


def choose(encoder: Encoder, settings: PruneSection) -> dict[str, Tensor]:
    """A mask for every part of `masked_names`, True where a weight stays; none where none is asked for.

    Sizes alone decide: recovery mends what a finer choice would have spared.
    """
    if not settings.sparse:
        return {}
    weights = {name: _weight(encoder, name) for name in masked_names(encoder)}
    share = HALF if settings.sparsity is None else settings.sparsity
    if settings.pattern == "2:4":
        return {name: two_of_four(weight) for name, weight in weights.items()}
    if settings.sparsity_scope == "layer":
        return {name: largest(weight, share) for name, weight in weights.items()}
    return dict(zip(weights, largest_together(list(weights.values()), share), strict=True))


class _Masked(nn.Module):
    """A weight seen through its mask."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)  # it is kept beside the checkpoints

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.mask, weight, torch.zeros_like(weight))


@contextmanager
def held(encoder: Encoder, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Masked weights are zero inside, in every forward pass and whatever the optimizer does; so they stay.

    A parametrization and not a step after each step of the optimizer: its momentum and its decay never
    reach the weight that is used, and a resumed training needs nothing but the masks.
    """
    for name, mask in masks.items():
        parametrize.register_parametrization(encoder.get_submodule(name), "weight", _Masked(mask))
    try:
        yield
    finally:
        for name in masks:
            parametrize.remove_parametrizations(encoder.get_submodule(name), "weight")


def report(encoder: Encoder, settings: PruneSection) -> SparsityReport | None:
    """What was reached, counted on the weights as they are; None where nothing was asked for."""
    if not settings.sparse:
        return None
    weights = [_weight(encoder, name) for name in masked_names(encoder)]
    return SparsityReport(
        pattern=settings.pattern, weights=sum(map(Tensor.numel, weights)), zeros=share_of_zeros(weights)
    )


def _weight(encoder: Encoder, name: str) -> Tensor:
    return encoder.get_parameter(f"{name}.weight").detach()
