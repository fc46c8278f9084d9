"""Every score of an untrained CIFAR ResNet by name, baselines beside DisWOT; higher is better in all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from squeeze.costs import resnet as costs
from squeeze.models.resnet import ResNetShape
from squeeze.scores import cnn
from squeeze.scores.cnn import LEAST, View

__all__ = ["Ground", "score_all"]


@dataclass(frozen=True)
class Ground:
    """What all networks of a space are judged on.

    Attributes:
        teacher: shape of the teacher, which is never trained either.
        images: (N, 3, H, W), standardised.
        labels: (N,) integers.
        extended: whether the space has last layers of other widths than the teacher's, so that the
            semantic distance is our extension (``cnn.compare``).
        starts: random starts of each network.
        seed: of all starts and of chance.
    """

    teacher: ResNetShape
    images: Tensor
    labels: Tensor
    extended: bool = False
    starts: int = LEAST
    seed: int = 0

    @cached_property
    def teachers(self) -> tuple[View, ...]:
        """The teacher's views."""
        return self._views(self.teacher, side=0)

    def students(self, shape: ResNetShape) -> tuple[View, ...]:
        """A student's views, of other starts than the teacher's."""
        return self._views(shape, side=1)

    def _views(self, shape: ResNetShape, side: int) -> tuple[View, ...]:
        first = (2 * self.seed + side) * self.starts
        return cnn.views(shape, self.images, self.labels, range(first, first + self.starts))


def score_all(shape: ResNetShape, ground: Ground) -> dict[str, float]:
    """All scores of one network; five or more forward passes of the batch."""
    found = cnn.distances(ground.teachers, ground.students(shape), extended=ground.extended)
    height, width = ground.images.shape[2:]
    return {
        "parameters": float(costs.parameters(shape)),
        "macs": float(costs.macs(shape, (height, width))),
        "random": _chance(shape, ground.seed),
        "diswot": found.score,
        "diswot_relation": -found.relation,
        "diswot_semantic": -found.semantic,
    }


def _chance(shape: ResNetShape, seed: int) -> float:
    """A number in 0..1 that depends on the seed and on the shape alone."""
    text = f"{seed} {shape.model_dump_json()}"
    return float(
        np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")).random()
    )
