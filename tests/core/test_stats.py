"""Quantiles that cover what they promise, ratios, and the end of warm-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, median_abs_deviation, variation

from squeeze.core import stats

latencies = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=200)


def ranks(n, share, confidence=0.95):
    """Ranks (from 1) of the interval's ends among n samples; None if there is none."""
    found = stats.quantile(np.arange(1, n + 1), share, confidence)
    return None if found.low is None or found.high is None else (int(found.low), int(found.high))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.95, 0.99])
def test_the_interval_is_exact_and_tight(share, confidence):
    risk = (1 - confidence) / 2
    for n in (20, 61, 400, 1000):
        found = ranks(n, share, confidence)
        if found is None:
            assert n < stats.samples_needed(share, confidence)
            continue
        low, high = found
        assert binom.cdf(low - 1, n, share) <= risk < binom.cdf(low, n, share)
        assert binom.sf(high - 1, n, share) <= risk + 1e-12
        assert binom.sf(high - 2, n, share) > risk


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95, 0.99])
def test_no_interval_below_the_samples_needed(share):
    needed = stats.samples_needed(share)
    assert ranks(needed, share) is not None
    assert ranks(needed - 1, share) is None


def test_published_ranks_of_a_median():
    # Table of 95 % ranks of a median: n=10 -> 2 and 9; n=20 -> 6 and 15; n=100 -> 40 and 61 (Conover 1999).
    assert [ranks(n, 0.5) for n in (10, 20, 100)] == [(2, 9), (6, 15), (40, 61)]


def test_twenty_samples_bound_no_p99():
    found = stats.quantile(np.linspace(1, 2, 20), share=0.99)
    assert found.value == pytest.approx(1.99)
    assert (found.low, found.high) == (None, None)


@given(latencies, st.floats(0.01, 0.99))
def test_the_value_lies_in_its_interval(samples, share):
    found = stats.quantile(samples, share)
    assert found.value == np.quantile(samples, share)
    assert found.low is None or encloses(found, found.value)


def test_the_interval_covers_a_skewed_quantile():
    rng = np.random.default_rng(7)
    truth = -np.log(1 - 0.95)
    found = [stats.quantile(rng.exponential(size=200), 0.95) for _ in range(400)]
    assert np.mean([encloses(q, truth) for q in found]) >= 0.93


def test_order_does_not_matter():
    samples = np.random.default_rng(0).exponential(size=100)
    assert stats.quantile(samples, 0.5) == stats.quantile(samples[::-1], 0.5)


def encloses(found, truth):
    return found is not None and found.low is not None and found.low <= truth <= found.high


def width(found):
    return found.high - found.low


def blocks(rng, count, centre, drift):
    return [centre * drift[i] * rng.lognormal(0, 0.05, size=15) for i in range(count)]


def test_ratios_cover_the_truth_under_drift():
    rng = np.random.default_rng(4)
    covered, widths = [], []
    for _ in range(300):
        drift = rng.uniform(1, 2, size=20)
        found = stats.paired_ratio(blocks(rng, 20, 1.3, drift), blocks(rng, 20, 1.0, drift))
        covered.append(encloses(found, 1.3))
        widths.append(width(found))
    assert np.mean(covered) >= 0.92
    assert np.mean(widths) < 0.05


def test_a_drift_common_to_both_sides_cancels():
    drift = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
    found = stats.paired_ratio([[2 * d] for d in drift], [[d] for d in drift])
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_paired_ratio_golden():
    found = stats.paired_ratio([[k, k + 1.0, 99.0] for k in range(1, 9)], [[2.0]] * 8)
    assert found == stats.Quantile(value=2.75, low=1.0, high=4.5)


def test_five_blocks_give_no_interval():
    assert stats.paired_ratio([[1.0]] * 5, [[1.0]] * 5).low is None
    assert stats.paired_ratio([[1.0]] * 5, [[1.0]] * 5, confidence=0.9).low == 1


def test_blocks_may_differ_in_length():
    assert stats.paired_ratio([[4.0], [4.0, 4.0]], [[2.0, 1.0, 9.0], [2.0]]).value == 2


@pytest.mark.parametrize(("above", "below"), [([[1.0]], []), ([], [])])
def test_blocks_must_come_in_pairs(above, below):
    with pytest.raises(ValueError, match="equally many"):
        stats.paired_ratio(above, below)


@given(latencies)
def test_spread_is_that_of_scipy(samples):
    assert stats.median_absolute_deviation(samples) == pytest.approx(median_abs_deviation(samples))
    if len(samples) > 1:
        assert stats.coefficient_of_variation(samples) == pytest.approx(variation(samples, ddof=1), abs=1e-12)


def test_one_sample_does_not_vary():
    assert stats.coefficient_of_variation([3.0]) == 0


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        stats.quantile([], 0.5)


def test_warm_up_ends_when_two_windows_agree():
    samples = [50.0, 40.0, 30.0, 20.0, 10.0, 10.2, 9.9, 10.1, 10.0, 10.0]
    ends = [stats.steady(samples[:n], window=3, tolerance=0.05) for n in range(len(samples) + 1)]
    assert ends == [False] * 9 + [True, True]


def test_one_outlier_does_not_prolong_warm_up():
    assert stats.steady([1.0, 1.0, 1.0, 1.0, 99.0, 1.0], window=3, tolerance=0.01)


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="window"):
        stats.steady([1.0], window=0, tolerance=0.1)
