"""All scores of encoders by name, and the one function that computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from squeeze.scores import baselines, carved, proxy
from squeeze.scores.encoder import average
from squeeze.scores.subjects import Candidate, Ground, Look

__all__ = ["SCORES", "Kind", "Need", "Score", "Weights", "available", "score_all"]

Kind = Literal["published", "extension", "ours", "baseline"]
Weights = Literal["none", "carved", "random"]
Need = Literal["labels", "importance", "latency"]


@dataclass(frozen=True)
class Score:
    """One score; higher is better in all.

    Attributes:
        compute: its value.
        kind: published as it stands, our extension of something published, our own, or a baseline.
        weights: whether it looks at a carved student, at random weights, or at the shape alone.
        needs: what the ground must have for it.
        costly: needs the student and its forward passes, so only computed when it is asked for by name.
    """

    compute: Callable[[Look], float]
    kind: Kind
    weights: Weights = "none"
    needs: frozenset[Need] = frozenset()
    costly: bool = False


def _diswot(look: Look) -> float:
    return -sum(average(look.ground.views, look.views))


def _diswot_relation(look: Look) -> float:
    return -average(look.ground.views, look.views)[0]


def _diswot_semantic(look: Look) -> float:
    return -average(look.ground.views, look.views)[1]


LABELS: frozenset[Need] = frozenset({"labels"})

SCORES: Mapping[str, Score] = {
    "parameters": Score(baselines.parameters, "baseline"),
    "embedding_codes": Score(baselines.embedding_codes, "baseline"),
    "embedding_variance": Score(baselines.embedding_variance, "baseline", "carved"),
    "encoder_macs": Score(baselines.encoder_macs, "baseline"),
    "predicted_latency": Score(baselines.predicted_latency, "baseline", needs=frozenset({"latency"})),
    "random": Score(baselines.chance, "baseline"),
    "taylor_mass": Score(carved.taylor, "ours", "carved", frozenset({"importance"})),
    "carved_kl": Score(carved.kl, "ours", "carved", costly=True),
    "carved_relation": Score(carved.relation, "ours", "carved", costly=True),
    "diswot": Score(_diswot, "extension", "random", LABELS, costly=True),
    "diswot_relation": Score(_diswot_relation, "extension", "random", LABELS, costly=True),
    "diswot_semantic": Score(_diswot_semantic, "extension", "random", LABELS, costly=True),
    "w_pca": Score(proxy.w_pca, "published", "random", costly=True),
}


def available(candidate: Candidate, ground: Ground) -> tuple[str, ...]:
    """Names of the scores that can be had here, costly ones too, in the table's order."""
    return tuple(name for name in SCORES if not _missing(name, candidate, ground))


def score_all(candidate: Candidate, ground: Ground, names: Iterable[str] | None = None) -> dict[str, float]:
    """Scores of one candidate, higher is better; the same for the same seed.

    Args:
        candidate: an untrained student.
        ground: what all candidates are held against; the teacher's side is computed once and kept.
        names: which scores; None: all that can be had here and are not costly.

    Raises:
        ValueError: a score that was asked for is unknown, or needs what is not here.
    """
    wanted = _cheap(candidate, ground) if names is None else tuple(names)
    for name in wanted:
        if name not in SCORES:
            raise ValueError(f"no score {name!r}; there are {', '.join(SCORES)}")
        if missing := _missing(name, candidate, ground):
            raise ValueError(f"score {name!r} needs {missing}")
    look = Look(candidate, ground)
    return {name: float(SCORES[name].compute(look)) for name in wanted}


def _cheap(candidate: Candidate, ground: Ground) -> tuple[str, ...]:
    return tuple(name for name in available(candidate, ground) if not SCORES[name].costly)


def _missing(name: str, candidate: Candidate, ground: Ground) -> str:
    """What a score needs and does not find, in words; empty where it has all."""
    score = SCORES[name]
    if score.weights == "carved" and (candidate.carve is None or candidate.cut is None):
        return "a carved student and its cut"
    found = {"labels": ground.labels, "importance": ground.importance, "latency": ground.latency}
    absent = sorted(need for need in score.needs if found[need] is None)
    return ", ".join(f"the ground's {need}" for need in absent)
