"""What a candidate costs and what it is worth, without training it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from squeeze.budget import BudgetSection
from squeeze.costs.sizes import file_bytes, parameters
from squeeze.models.shapes import EncoderShape
from squeeze.stages.search.space import Candidate
from squeeze.stages.search.study import Judged

__all__ = ["Cost", "Judge", "Limits", "limits"]


@dataclass(frozen=True)
class Limits:
    """The part of a budget that is known before training; None: not asked for.

    Attributes:
        p50_ms: median latency, headroom taken off.
        p95_ms: 95th percentile of latency, headroom taken off.
        size_bytes: model and tokenizer.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    size_bytes: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a candidate costs.

    Attributes:
        p50_ms: of the validation text, predicted.
        p95_ms: likewise; both count the spread of the lengths, not the noise of a machine.
        size_bytes: model and tokenizer, exact.
        parameters: exact.
    """

    p50_ms: float
    p95_ms: float
    size_bytes: int
    parameters: int

    def violation(self, limits: Limits) -> float:
        """The largest excess, as a share of its limit; 0 within all of them."""
        pairs = (
            (self.p50_ms, limits.p50_ms),
            (self.p95_ms, limits.p95_ms),
            (self.size_bytes, limits.size_bytes),
        )
        return max([0.0, *(value / limit - 1 for value, limit in pairs if limit is not None)])


def limits(budget: BudgetSection | None, headroom: float) -> Limits:
    """What a budget says of latency and size."""
    if budget is None:
        return Limits()
    return Limits(
        p50_ms=None if budget.p50_ms is None else budget.p50_ms * headroom,
        p95_ms=None if budget.p95_ms is None else budget.p95_ms * headroom,
        size_bytes=None if budget.size_mb is None else budget.size_mb * 1e6,
    )


@dataclass
class Judge:
    """Costs and scores of candidates; each candidate is looked at once.

    Attributes:
        shape: candidate -> its encoder's shape.
        latencies: (shape, lengths) -> predicted milliseconds of each.
        lengths: candidate -> token counts of the validation text as it reads it.
        tokenizer_bytes: candidate -> size of its tokenizer.json.
        score: candidate -> scores by name that cost next to nothing or have a weight, higher is better.
        every: candidate -> all scores that can be had, which takes seconds.
        form: which exported form is judged.
        limits: what the budget allows.
        weights: of each score in the worth.
        usual: mean and standard deviation of each score among random candidates; set by `standardise`.
    """

    shape: Callable[[Candidate], EncoderShape]
    latencies: Callable[[EncoderShape, Sequence[int]], NDArray[np.float64]]
    lengths: Callable[[Candidate], Sequence[int]]
    tokenizer_bytes: Callable[[Candidate], int]
    score: Callable[[Candidate], Mapping[str, float]]
    every: Callable[[Candidate], Mapping[str, float]]
    form: str
    limits: Limits
    weights: Mapping[str, float]
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    _costs: dict[str, Cost] = field(default_factory=dict)
    _scores: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def cost(self, candidate: Candidate) -> Cost:
        """Latency, size and parameters."""
        if candidate.name not in self._costs:
            shape = self.shape(candidate)
            times = self.latencies(shape, self.lengths(candidate))
            self._costs[candidate.name] = Cost(
                p50_ms=float(np.quantile(times, 0.5)),
                p95_ms=float(np.quantile(times, 0.95)),
                size_bytes=file_bytes(shape, self.form) + self.tokenizer_bytes(candidate),
                parameters=parameters(shape),
            )
        return self._costs[candidate.name]

    def scores(self, candidate: Candidate) -> Mapping[str, float]:
        """All scores of a candidate."""
        if candidate.name not in self._scores:
            self._scores[candidate.name] = self.score(candidate)
        return self._scores[candidate.name]

    def remember(self, found: Mapping[str, Mapping[str, float]]) -> None:
        """Take scores, by a candidate's name, that were computed before or elsewhere."""
        self._scores.update(found)

    def standardise(self, candidates: Sequence[Candidate]) -> None:
        """Take mean and spread of every score from these candidates, so that weights mean something."""
        rows = [self.scores(candidate) for candidate in candidates]
        names = list(rows[0]) if rows else []
        columns = {name: np.array([row[name] for row in rows]) for name in names}
        self.usual = {name: (float(c.mean()), float(c.std()) or 1.0) for name, c in columns.items()}

    def worth(self, candidate: Candidate) -> float:
        """Weighted sum of standardised scores."""
        found = self.scores(candidate)
        parts = (
            weight * (found[name] - self.usual[name][0]) / self.usual[name][1]
            for name, weight in self.weights.items()
        )
        return float(sum(parts))

    def __call__(self, candidate: Candidate) -> Judged:
        """Cost first: what the budget excludes is never scored."""
        cost = self.cost(candidate)
        violation = cost.violation(self.limits)
        if violation > 0:
            return Judged(None, cost.p50_ms, violation)
        return Judged(self.worth(candidate), cost.p50_ms, violation, self.scores(candidate))
