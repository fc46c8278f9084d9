"""Ratios over rounds: exact tests by hand, what intervals cover, and looks that together cost one error."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from squeeze.core import rounds
from squeeze.core.stats import Quantile

values = st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=14)


def logs_of(random, count, centre=0.0, spread=0.01):
    return centre + spread * random.standard_t(4, size=count)


def as_rounds(logs, *, blocks=4, calls=6, seed=0, noise=0.0) -> tuple[list[rounds.Round], list[rounds.Round]]:
    """Two models whose every round has this log ratio; both share a level that drifts."""
    random = np.random.default_rng(seed)
    above: list[rounds.Round] = []
    below: list[rounds.Round] = []
    for log in logs:
        level = math.exp(random.normal(0, 0.3))
        for side, factor in ((above, math.exp(log)), (below, 1.0)):
            samples = level * factor * np.exp(noise * random.standard_normal((blocks, calls)))
            side.append(samples.tolist())
    return above, below


def test_hodges_lehmann_by_hand():
    # pairwise means of 0, 1, 5: 0, 0.5, 1, 2.5, 3, 5
    assert rounds.hodges_lehmann([5.0, 0.0, 1.0]) == 1.75
    assert rounds.hodges_lehmann([3.0]) == 3.0


@given(values, st.floats(-3, 3), st.floats(0.1, 4))
def test_hodges_lehmann_moves_with_its_values(found, shift, factor):
    base = rounds.hodges_lehmann(found)
    moved = rounds.hodges_lehmann([factor * value + shift for value in found])
    assert moved == pytest.approx(factor * base + shift, abs=1e-9)
    assert rounds.hodges_lehmann([-value for value in found]) == pytest.approx(-base, abs=1e-9)


def test_the_null_distribution_by_hand():
    # subsets of {1, 2, 3} by their sum: 0, 1, 2, 3 twice, 4, 5, 6
    assert rounds._signed_rank_chances(3).tolist() == [1 / 8, 1 / 8, 1 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8]


@pytest.mark.parametrize("n", [1, 4, 9])
def test_the_null_distribution_counts_signs(n):
    sums = [
        sum(rank for rank, sign in enumerate(signs, 1) if sign)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    counted = np.bincount(sums, minlength=n * (n + 1) // 2 + 1) / 2**n
    assert rounds._signed_rank_chances(n) == pytest.approx(counted)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 13, 20])
def test_the_interval_holds_what_the_test_does_not_refuse(n, confidence):
    found = np.random.default_rng(n).normal(1.0, 1.0, n)
    interval = rounds.signed_rank_interval(found, confidence)
    assert interval is not None
    near = 1e-9
    for end, outwards in ((interval.low, -near), (interval.high, near)):
        inside = wilcoxon(found - (end - outwards), method="exact").pvalue
        outside = wilcoxon(found - (end + outwards), method="exact").pvalue
        assert outside <= 1 - confidence < inside


def test_few_rounds_have_no_interval():
    for confidence in (0.8, 0.95, 0.99, 0.999):
        least = rounds.least_rounds(confidence)
        assert rounds.signed_rank_interval(range(least), confidence) is not None
        assert rounds.signed_rank_interval(range(least - 1), confidence) is None
        assert 2 * 0.5**least <= 1 - confidence < 2 * 0.5 ** (least - 1)


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=12), st.floats(-1, 1))
def test_a_ratio_lies_in_its_interval_and_turns_around(logs, shift):
    above, below = as_rounds([log + shift for log in logs])
    found, turned = rounds.ratio(above, below, 0.5, 0.95), rounds.ratio(below, above, 0.5, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert turned.high is not None
    assert found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)
    assert found.value * turned.value == pytest.approx(1)
    # a quantile of few drawn samples is one of them, from below here and from above there
    assert found.low * turned.high == pytest.approx(1, rel=0.02)


def test_a_ratio_by_hand():
    above = [[[2.0, 2.0]], [[4.0]], [[6.0]], [[8.0]], [[10.0]], [[24.0, 24.0]]]
    below = [[[1.0]], [[2.0]], [[3.0]], [[4.0]], [[5.0]], [[6.0, 6.0]]]
    found = rounds.ratio(above, below, 0.5, 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 4.0))


def test_what_both_share_cancels_and_what_rounds_do_not_share_widens():
    drifting = rounds.ratio(*as_rounds([0.1] * 12), 0.5, 0.95)
    assert (drifting.low, drifting.high) == pytest.approx((math.exp(0.1), math.exp(0.1)))
    random = np.random.default_rng(1)
    lucky = rounds.ratio(*as_rounds(logs_of(random, 12, spread=0.1)), 0.5, 0.95)
    assert lucky.low is not None
    assert lucky.high is not None
    assert math.log(lucky.high / lucky.low) > 0.05


def test_blocks_that_disagree_inside_rounds_widen_it_too():
    logs = [0.0] * 8
    calm, noisy = (rounds._bootstrap(*as_rounds(logs, noise=noise), 0.5, 0.95) for noise in (0.001, 0.1))
    assert noisy.high - noisy.low > 10 * (calm.high - calm.low)


def test_the_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        found = rounds.ratio(*as_rounds(logs_of(random, 10, centre=0.05), blocks=1, calls=1), 0.5, 0.9)
        assert found.low is not None
        assert found.high is not None
        missed += not found.low <= math.exp(0.05) <= found.high
    assert missed <= 41  # 30 expected at most; binomial (300, 0.1) exceeds 41 once in 50


def test_rounds_must_be_pairs():
    with pytest.raises(ValueError, match="zip"):
        rounds.ratio([[[1.0]]] * 3, [[[1.0]]] * 2, 0.5, 0.9)


def test_quotients_by_hand():
    one, other = Quantile(value=2.0, low=2.0 / 1.03, high=2.0 * 1.03), Quantile(value=4.0, low=3.8, high=4.2)
    found = rounds.quotient(one, other)
    assert found.value == 0.5
    assert found.high == pytest.approx(0.5 * math.exp(math.hypot(math.log(1.03), math.log(4 / 3.8))))
    assert found.low == pytest.approx(0.5 / math.exp(math.hypot(math.log(1.03), math.log(4.2 / 4))))


@pytest.mark.parametrize(
    "other", [Quantile(value=1.0, low=None, high=None), Quantile(value=1.0, low=0.0, high=2.0)]
)
def test_a_quotient_of_what_has_no_interval_has_none(other):
    assert rounds.quotient(Quantile(value=2.0, low=1.0, high=3.0), other).low is None


@given(st.integers(1, 900), st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999]))
def test_looks_share_one_error(most, confidence):
    found = rounds.looks(most, confidence)
    assert sum(look.share for look in found) == pytest.approx(1)
    assert [look.rounds for look in found] == sorted({look.rounds for look in found})
    assert found[-1].rounds == most
    assert all(look.share > 0 for look in found)
    for look in found[:-1]:  # every look but the last could decide
        assert look.rounds >= rounds.least_rounds(1 - (1 - confidence) * look.share)


def test_looking_often_raises_no_false_alarms():
    """A model that is exactly at its limit, looked at up to six times."""
    random = np.random.default_rng(3)
    planned = rounds.looks(36, 0.9)
    alarms = 0
    for _ in range(300):
        logs = logs_of(random, 36)
        for look in planned:
            interval = rounds.signed_rank_interval(logs[: look.rounds], 1 - 0.1 * look.share)
            if interval is not None and not interval.low <= 0 <= interval.high:
                alarms += 1
                break
    assert len(planned) >= 5
    assert alarms <= 30  # 10 % of them; without sharing it would be about 75
