"""Which ResNets may be chosen: named spaces, and one candidate of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from squeeze.models.resnet import ResNetShape
from squeeze.schema import Frozen
from squeeze.stages.search.cnn.settings import SpaceName

__all__ = ["SPACES", "CnnCandidate", "all_of"]

DEPTHS, ANY_DEPTH = (1, 3, 5, 7), tuple(range(1, 10))

SPACES: Mapping[SpaceName, Mapping[str, tuple[int, ...]]] = {
    "resnet-cifar": {"first": DEPTHS, "second": DEPTHS, "third": DEPTHS, "width": (16,)},
    "resnet-cifar-wide": {
        "first": ANY_DEPTH,
        "second": ANY_DEPTH,
        "third": ANY_DEPTH,
        "width": (8, 12, 16, 20, 24, 32),
    },
}
"""Choices by dimension. `resnet-cifar`: the 64 networks of DisWOT's S0 (Dong et al. 2023).
`resnet-cifar-wide`: all depths up to ResNet-56's, at 0.5 to 2 times its width."""


class CnnCandidate(Frozen):
    """One point of a space: blocks of the three stages, and channels of the first; each next doubles them."""

    first: int
    second: int
    third: int
    width: int

    @property
    def name(self) -> str:
        """Short and unique within a space.

        >>> CnnCandidate(first=7, second=1, third=3, width=16).name
        'D7-1-3-W16'
        """
        return f"D{self.first}-{self.second}-{self.third}-W{self.width}"

    def shape(self, labels: int) -> ResNetShape:
        """The network's shape."""
        widths = (self.width, 2 * self.width, 4 * self.width)
        return ResNetShape(depths=(self.first, self.second, self.third), widths=widths, labels=labels)


def all_of(space: SpaceName) -> list[CnnCandidate]:
    """Every candidate, in a fixed order."""
    choices = SPACES[space]
    return [
        CnnCandidate.model_validate(dict(zip(choices, values, strict=True)))
        for values in product(*choices.values())
    ]
