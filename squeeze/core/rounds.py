"""Ratios of latencies that were measured side by side in several fresh processes, and when to stop.

A round is one fresh process that times all models in turns. Where the loader, the allocator and the
kernel put things in memory is drawn once a process and biases all of its calls alike (Mytkowicz et al.,
"Producing wrong data without doing anything obviously wrong!", ASPLOS 2009). Calls and blocks of one round
say nothing about that bias, so the round is the unit (Kalibera and Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013). Everything is computed on logarithms: a ratio and its inverse are the same
distance from 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from squeeze.core.stats import Interval, Quantile

__all__ = [
    "Look",
    "Round",
    "hodges_lehmann",
    "least_rounds",
    "log_ratios",
    "looks",
    "quotient",
    "ratio",
    "signed_rank_interval",
]

Round: TypeAlias = Sequence[Sequence[float]]
"""Blocks of samples of one model in one fresh process."""

SCHEDULE = (8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150, 200, 267, 356, 475, 633)
"""Numbers of rounds at which the answer is looked at: each about a third more than the one before."""
NEAR_END = 0.85  # a look so near the last one would take error probability from it for nothing
RESAMPLES = 1_000
AT_ONCE = 500_000  # pairwise means held in memory
INNER = 50  # times that the blocks of one round are drawn again
SEED = 0  # the same samples always give the same interval


@dataclass(frozen=True)
class Look:
    """When to look, and what it may cost.

    Attributes:
        rounds: so many must be there.
        share: of the error probability that this look may spend.
    """

    rounds: int
    share: float


def hodges_lehmann(values: ArrayLike) -> float:
    """The median of all pairwise means, each value with itself included (Hodges and Lehmann 1963).

    As robust as it need be (29 % of the values may be anything) and nearly as sharp as the mean.

    >>> hodges_lehmann([1.0, 2.0, 9.0])
    3.5
    """
    return float(np.median(_pairwise_means(np.asarray(values, dtype=np.float64))))


def signed_rank_interval(values: ArrayLike, confidence: float) -> Interval | None:
    """Exact interval of the centre of symmetry, from Wilcoxon's signed-rank test turned around.

    Of the M = n (n + 1) / 2 pairwise means in order, the interval goes from the k-th to the
    (M + 1 - k)-th, with the largest k for which P(W < k) is at most half of the risk; W has the
    statistic's exact distribution (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods,
    3.1 to 3.3). It needs independent values whose distribution is symmetric, and nothing else. The log
    ratio of two models in one round is symmetric as far as the luck of a process goes: which model is
    opened first and timed first is drawn at random, so luck falls to either side alike.

    Args:
        values: n >= 1, independent.
        confidence: 0 < confidence < 1.

    Returns:
        None below ``least_rounds(confidence)`` values.

    >>> signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.95)
    Interval(low=1.0, high=6.0)
    >>> signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95) is None
    True
    """
    found = np.asarray(values, dtype=np.float64)
    reached = np.cumsum(_signed_rank_chances(len(found)))  # P(W <= w) at w = 0..
    k = int(np.searchsorted(reached, (1 - confidence) / 2, side="right"))
    if k == 0:
        return None
    ordered = np.sort(_pairwise_means(found))
    return Interval(low=float(ordered[k - 1]), high=float(ordered[len(ordered) - k]))


def least_rounds(confidence: float) -> int:
    """Fewest rounds with an interval: all n on one side has the chance 2 ** -n on each side.

    >>> least_rounds(0.95), least_rounds(0.99)
    (6, 8)
    """
    return math.ceil(-math.log2((1 - confidence) / 2))


def log_ratios(above: Sequence[Round], below: Sequence[Round], share: float) -> NDArray[np.float64]:
    """(n,) logarithm, round by round, of one model's quantile over the other's.

    Args:
        above: n rounds of one model.
        below: the same rounds of the other.
        share: 0 < share < 1; 0.95 for p95.
    """
    pairs = zip(above, below, strict=True)
    return np.array([math.log(_quantile(one, share) / _quantile(other, share)) for one, other in pairs])


def ratio(above: Sequence[Round], below: Sequence[Round], share: float, confidence: float) -> Quantile:
    """How many times larger one model's quantile is than that of another in the same rounds.

    The value is the Hodges-Lehmann estimate over rounds. The interval covers both the signed-rank
    interval, which is exact where the log ratios are symmetric, and a bootstrap that draws rounds and,
    inside each, blocks again (Davison and Hinkley, Bootstrap Methods and their Application, 3.8), which
    does not need symmetry and also sees how well each round knows its own quantile. What only one of the
    two believes is not believed.

    Args:
        above: n rounds of one model, of positive samples.
        below: the same rounds of the other; block i of a round beside block i.
        share: 0 < share < 1; 0.95 for p95.
        confidence: 0 < confidence < 1.

    Returns:
        A ratio; no interval below ``least_rounds(confidence)`` rounds.

    >>> ratio([[[2.0, 2.0]]] * 6, [[[1.0, 1.0]]] * 6, 0.5, 0.95)
    Quantile(value=2.0, low=2.0, high=2.0)
    """
    logs = log_ratios(above, below, share)
    value = math.exp(hodges_lehmann(logs))
    exact = signed_rank_interval(logs, confidence)
    if exact is None:
        return Quantile(value=value, low=None, high=None)
    drawn = _bootstrap(above, below, share, confidence)
    low, high = min(exact.low, drawn.low), max(exact.high, drawn.high)
    return Quantile(value=value, low=math.exp(low), high=math.exp(high))


def quotient(one: Quantile, other: Quantile) -> Quantile:
    """One positive figure over another that was measured apart from it, and the interval of that.

    The distances from value to ends are combined like the sides of a right triangle, on logarithms and
    each end with its own (the method of variance estimates recovery: Zou and Donner, Statistics in
    Medicine 27, 2008). It has the confidence that both intervals have.

    >>> quotient(Quantile(value=3.0, low=3.0, high=3.0), Quantile(value=2.0, low=2.0, high=2.0))
    Quantile(value=1.5, low=1.5, high=1.5)
    >>> quotient(Quantile(value=3.0, low=None, high=None), Quantile(value=2.0, low=2.0, high=2.0)).low is None
    True
    """
    value = one.value / other.value
    ends = (one.low, one.high, other.low, other.high)
    if any(end is None or end <= 0 for end in ends):
        return Quantile(value=value, low=None, high=None)
    low, high, other_low, other_high = (math.log(end) for end in ends if end is not None)
    centre, other_centre = math.log(one.value), math.log(other.value)
    down = math.hypot(centre - low, other_high - other_centre)
    up = math.hypot(high - centre, other_centre - other_low)
    return Quantile(value=value, low=value * math.exp(-down), high=value * math.exp(up))


def looks(most: int, confidence: float) -> tuple[Look, ...]:
    """When to look at the answer, if so many rounds fit into the time, and what each look may spend.

    Whoever looks again and again and stops at the first answer that pleases is wrong more often than
    once in 1 / (1 - confidence). So the error probability is shared: what may be spent up to a look grows
    with the share t of all rounds as ln(1 + (e - 1) t) (Lan and DeMets, Biometrika 70, 1983, their third
    function), a look gets what has become free since the last one, and, because the shares sum to 1, the
    intervals of all looks hold at once with the asked confidence, whatever made us stop (Jennison and
    Turnbull, Journal of the Royal Statistical Society B 51, 1989; the sum is Bonferroni's bound, which
    needs nothing of how looks depend on each other). A look at which no interval could be had is left
    out, and what it would have spent goes to the next.

    Args:
        most: rounds that fit.
        confidence: of all looks together, 0 < confidence < 1.

    Returns:
        At least one look, the last at ``most`` rounds; shares sum to 1.

    >>> [each.rounds for each in looks(30, 0.95)]
    [8, 11, 15, 20, 30]
    >>> looks(4, 0.95)
    (Look(rounds=4, share=1.0),)
    """
    found: list[Look] = []
    spent = 0.0
    for rounds in SCHEDULE:
        if rounds > NEAR_END * most:
            break
        free = math.log1p((math.e - 1) * rounds / most) - spent
        if least_rounds(1 - (1 - confidence) * free) <= rounds:
            found.append(Look(rounds, free))
            spent += free
    return (*found, Look(most, 1 - spent))


def _pairwise_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n (n + 1) / 2,) Walsh averages."""
    first, second = np.triu_indices(len(values))
    return (values[first] + values[second]) / 2


def _signed_rank_chances(n: int) -> NDArray[np.float64]:
    """(n (n + 1) / 2 + 1,) P(W = w): each rank 1..n is in the sum or not, both with a half."""
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):
        moved = np.zeros_like(chances)
        moved[rank:] = chances[:-rank]
        chances = (chances + moved) / 2
    return chances


def _quantile(blocks: Round, share: float) -> float:
    return float(
        np.quantile(np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks]), share)
    )


def _bootstrap(above: Sequence[Round], below: Sequence[Round], share: float, confidence: float) -> Interval:
    """Percentile interval of the Hodges-Lehmann estimate, on logarithms; rounds and blocks drawn again."""
    generator = np.random.default_rng(SEED)
    drawn = np.array(
        [
            _block_quantiles(one, share, times) - _block_quantiles(other, share, times)
            for one, other in zip(above, below, strict=True)
            for times in [_times_drawn(min(len(one), len(other)), generator)]
        ]
    )  # (n, INNER)
    n = len(drawn)
    chosen = drawn[generator.integers(n, size=(RESAMPLES, n)), generator.integers(INNER, size=(RESAMPLES, n))]
    rows = max(1, AT_ONCE // (n * (n + 1) // 2))
    parts = [_centres(chosen[start : start + rows]) for start in range(0, RESAMPLES, rows)]
    centres = np.concatenate(parts)
    risk = (1 - confidence) / 2
    low, high = np.quantile(centres, [risk, 1 - risk])
    return Interval(low=float(low), high=float(high))


def _centres(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) Hodges-Lehmann estimates of the rows of (R, n) values."""
    first, second = np.triu_indices(drawn.shape[1])
    found: NDArray[np.float64] = np.median((drawn[:, first] + drawn[:, second]) / 2, axis=1)
    return found


def _times_drawn(blocks: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """(INNER, blocks) how often each block is drawn."""
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=INNER)


def _block_quantiles(blocks: Round, share: float, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """(INNER,) logarithm of the quantile when blocks are drawn as often as ``times`` says."""
    kept = [np.asarray(block, dtype=np.float64) for block in blocks[: times.shape[1]]]
    samples = np.concatenate(kept)
    order = np.argsort(samples, kind="stable")
    reached = np.cumsum(np.repeat(times, [len(block) for block in kept], axis=1)[:, order], axis=1)
    wanted = share * reached[:, -1:]
    places = (reached >= wanted).argmax(axis=1)
    found: NDArray[np.float64] = np.log(samples[order][places])
    return found
