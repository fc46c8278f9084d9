"""DisWOT on CNNs, as the paper and the core code in its README define it (arXiv:2303.15678).

Teacher and student are both of random weights: convolutions and the linear layer N(0, 1), biases 0,
norms 1 and 0 and in training mode; one batch of real images, the same for every candidate. The score
is -(relation + semantic), higher is better.

What the released scripts do and this does not: the teacher's gradients are never zeroed there, so that
they grow with every candidate, and each candidate sees another batch; one script compares the channels
of a single image; and one start is used, of which the score's spread is as large as the score
(README.md). Here at least five starts of each side are averaged over all their pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from squeeze.core import diswot
from squeeze.models.resnet import ResNet, ResNetShape

__all__ = ["LEAST", "Distances", "View", "compare", "distances", "randomised", "view", "views"]

LEAST = 5
"""Starts of either side below which an average is refused."""


@dataclass(frozen=True)
class View:
    """How one network sees the batch.

    Attributes:
        relations: (N, N) of the feature maps before the global pool.
        gradient: (K, D) of the linear layer's weights.
        pulls: (N, N) of each sample's own gradient, for networks whose D differ.
    """

    relations: Tensor
    gradient: Tensor
    pulls: Tensor


@dataclass(frozen=True)
class Distances:
    """How far a student is from its teacher.

    Attributes:
        relation: -M_r of the paper.
        semantic: -M_s of the paper, or the extension that stands in for it.
    """

    relation: float
    semantic: float

    @property
    def score(self) -> float:
        """The paper's score, higher is better; at most 0.

        >>> Distances(relation=0.25, semantic=0.5).score
        -0.75
        """
        return -(self.relation + self.semantic)


def randomised(shape: ResNetShape, seed: int) -> ResNet:
    """A network of the paper's random weights; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ResNet(shape)
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return net


def view(net: ResNet, images: Tensor, labels: Tensor) -> View:
    """What is compared, of one network; norms use the batch's own mean and variance.

    Args:
        net: any; left in training mode.
        images: (N, 3, H, W).
        labels: (N,) integers.
    """
    with torch.no_grad():  # the gradient has a closed form, so nothing is left in the network
        seen = net.train().observe(images)
        last = (seen.logits, labels, seen.pooled)
        return View(
            diswot.relations(seen.features), diswot.class_gradient(*last), diswot.gradient_relations(*last)
        )


def views(shape: ResNetShape, images: Tensor, labels: Tensor, seeds: Iterable[int]) -> tuple[View, ...]:
    """Views of a shape under several random starts."""
    return tuple(view(randomised(shape, seed), images, labels) for seed in seeds)


def compare(teacher: View, student: View, *, extended: bool = False) -> Distances:
    """Both distances of one pair of networks; 0 for a copy.

    Args:
        teacher: its view of the batch.
        student: of the same batch.
        extended: compare the samples' own gradients instead of the classes': our extension, as for
            encoders, because the paper's semantic distance needs linear layers of one width.

    Raises:
        ValueError: the linear layers differ in size, which the paper's semantic distance cannot compare.
    """
    return Distances(
        relation=float(diswot.distance(teacher.relations, student.relations)),
        semantic=float(
            diswot.distance(teacher.pulls, student.pulls)
            if extended
            else diswot.semantic_distance(teacher.gradient, student.gradient)
        ),
    )


def distances(teachers: Sequence[View], students: Sequence[View], *, extended: bool = False) -> Distances:
    """Mean over all pairs of a teacher's start and a student's.

    Raises:
        ValueError: there are fewer than five of either.
    """
    if min(len(teachers), len(students)) < LEAST:
        raise ValueError(f"need {LEAST} starts of each side, got {len(teachers)} and {len(students)}")
    found = [compare(theirs, ours, extended=extended) for theirs in teachers for ours in students]
    return Distances(
        relation=sum(each.relation for each in found) / len(found),
        semantic=sum(each.semantic for each in found) / len(found),
    )
