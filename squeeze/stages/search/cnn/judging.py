"""What a ResNet costs and how it scores, without training it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from squeeze.artifact import digest_json
from squeeze.costs import resnet as costs
from squeeze.data import images
from squeeze.data.images import Images
from squeeze.models.resnet import ResNetShape
from squeeze.scores.cnn_table import Ground, score_all
from squeeze.stages.search.cnn.settings import CnnLimits, CnnSearch
from squeeze.stages.search.cnn.space import SPACES, CnnCandidate
from squeeze.stages.search.study import Judged

__all__ = ["LATENCY", "CnnJudge", "ground", "judge", "standardised"]

LATENCY = "latency"
"""The score that holds measured milliseconds: the slower, the better, a baseline like the others."""


@dataclass
class CnnJudge:
    """Costs and scores of candidates; each is scored and timed once.

    Attributes:
        ground: what all are scored on.
        labels: classes.
        limits: the budget.
        ranked_by: the score that is a candidate's worth.
        measure: (shape, (height, width)) -> milliseconds.
    """

    ground: Ground
    labels: int
    limits: CnnLimits
    ranked_by: str
    measure: Callable[[ResNetShape, tuple[int, int]], float] = costs.measured_ms
    _found: dict[CnnCandidate, Judged] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        height, width = self.ground.images.shape[2:]
        return height, width

    def figures(self, candidate: CnnCandidate) -> dict[str, float]:
        """Costs that are counted, by the names of the limits."""
        shape = candidate.shape(self.labels)
        return {
            "parameters": costs.parameters(shape),
            "macs": costs.macs(shape, self.size),
            "size": costs.int8_bytes(shape) / 1e6,
        }

    def excess(self, candidate: CnnCandidate) -> float:
        """By how much the limits that are counted are missed, as a share; 0 inside."""
        return self.limits.violation(self.figures(candidate))

    def remember(self, found: Mapping[CnnCandidate, Mapping[str, float]]) -> None:
        """Take scores that were computed before or elsewhere."""
        for candidate, scores in found.items():
            if scores:
                self._found[candidate] = self._inside(candidate, scores)

    def __call__(self, candidate: CnnCandidate) -> Judged:
        """What is counted first, then what is measured, and scores only of what is inside."""
        if candidate not in self._found:
            self._found[candidate] = self._judged(candidate)
        return self._found[candidate]

    def _judged(self, candidate: CnnCandidate) -> Judged:
        figures, excess = self.figures(candidate), self.excess(candidate)
        if excess:
            return Judged(None, figures["macs"], excess)
        shape, timed = candidate.shape(self.labels), {}
        if self.limits.p50 is not None:
            timed = {LATENCY: self.measure(shape, self.size)}
            excess = self.limits.violation({"p50": timed[LATENCY]})
            if excess:
                return Judged(None, timed[LATENCY], excess)
        return self._inside(candidate, {**score_all(shape, self.ground), **timed})

    def _inside(self, candidate: CnnCandidate, scores: Mapping[str, float]) -> Judged:
        cost = scores.get(LATENCY, self.figures(candidate)["macs"])
        return Judged(scores[self.ranked_by], cost, 0.0, scores)


def judge(config: CnnSearch) -> tuple[CnnJudge, str]:
    """What judges candidates of a search, and the digest of the images that were drawn.

    Raises:
        DataError: the images cannot be used.
    """
    drawn = images.draw(config.images, config.batch, config.seed)
    digest = digest_json([drawn.pixels.tobytes().hex(), drawn.labels.tolist(), drawn.classes])
    return CnnJudge(ground(config, drawn), drawn.classes, config.limits, config.score), digest


def ground(config: CnnSearch, drawn: Images) -> Ground:
    """What candidates are scored on."""
    teacher = ResNetShape(depths=config.teacher, labels=drawn.classes)
    widths = {4 * width for width in SPACES[config.space]["width"]}
    return Ground(
        teacher,
        standardised(drawn),
        torch.from_numpy(drawn.labels),
        extended=widths != {teacher.widths[-1]},
        starts=config.starts,
        seed=config.seed,
    )


def standardised(drawn: Images) -> Tensor:
    """(N, 3, H, W), every channel with mean 0 and standard deviation 1 over the batch."""
    pixels = torch.from_numpy(drawn.pixels).permute(0, 3, 1, 2).float()
    spread, mean = torch.std_mean(pixels, dim=(0, 2, 3), keepdim=True, correction=0)
    return (pixels - mean) / spread.clamp_min(1e-6)  # a channel may be the same everywhere
