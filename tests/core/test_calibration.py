"""Histograms and thresholds against the plainest computation of the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from squeeze.core import calibration
from squeeze.core.calibration import BINS, METHODS, Histogram, collect

FLOATS = arrays.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-1e4, 1e4, width=32, allow_nan=False).map(lambda x: x if abs(x) > 1e-6 else 0.0),
)


def histogram(values: np.ndarray, parts: int = 1) -> Histogram:
    seen = None
    for part in np.array_split(values, parts):
        seen = collect(seen, part)
    assert seen is not None
    return seen


def normal(size: int = 20_000, tail: float = 0.0) -> np.ndarray:
    """Values of unit spread; `tail` adds one far away."""
    values = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    return np.append(values, np.float32(tail))


@given(FLOATS)
def test_a_histogram_counts_every_magnitude_in_its_bin(values):
    found = histogram(values)
    assert found.counts.sum() == values.size
    assert found.largest == np.abs(values).max()
    if found.largest:
        assert found.largest <= found.reach < 2 * found.largest * (1 + 1e-6)
        plain, _ = np.histogram(np.abs(values.astype(np.float64)), bins=BINS, range=(0, found.reach))
        np.testing.assert_array_equal(found.counts, plain)


@given(FLOATS, st.integers(1, 6), st.randoms())
def test_neither_order_nor_chunks_matter(values, parts, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    one, other = histogram(values), histogram(shuffled, min(parts, len(shuffled)))
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.reach, one.largest) == (other.reach, other.largest)


def test_bins_are_joined_when_larger_values_come():
    seen = collect(None, np.array([0.0], dtype=np.float32))
    assert (seen.reach, seen.largest, seen.counts[0]) == (0.0, 0.0, 1)
    seen = collect(seen, np.array([1.0, 0.75, -0.5], dtype=np.float32))
    assert seen.reach == 1.0
    seen = collect(seen, np.array([3.0], dtype=np.float32))
    assert seen.reach == 4.0
    places = {BINS // 4: 1, 3 * BINS // 16: 1, BINS // 8: 1, 3 * BINS // 4: 1, 0: 1}
    # 1.0 was at the very end of a range up to 1, and stays in the bin below the quarter.
    places = {(BINS // 4 - 1 if place == BINS // 4 else place): n for place, n in places.items()}
    assert {int(place): int(seen.counts[place]) for place in np.flatnonzero(seen.counts)} == places
    far = collect(seen, np.array([1e9], dtype=np.float32))
    assert (far.counts[0], far.counts.sum()) == (5, 6)


def test_minmax_clips_nothing():
    assert calibration.minmax(histogram(normal(tail=9.0))) == 9.0


@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999, 1.0])
def test_percentile_is_that_of_the_values(share):
    values = normal(tail=9.0)
    found = histogram(values)
    exact = np.quantile(np.abs(values), share, method="inverted_cdf")
    assert exact <= calibration.percentile(found, share) <= exact + found.width


def squared_error(values: np.ndarray, threshold: float) -> float:
    size = threshold / 127
    return float(((np.clip(np.rint(values / size), -127, 127) * size - values) ** 2).mean())


@pytest.mark.parametrize("tail", [0.0, 40.0])
def test_mse_is_as_good_as_the_best_of_many_thresholds_on_the_values_themselves(tail):
    values = normal(tail=tail).astype(np.float64)
    found = calibration.mse(histogram(values.astype(np.float32)))
    best = min(squared_error(values, threshold) for threshold in np.linspace(0.5, max(5, tail), 3000))
    assert squared_error(values, found) <= 1.02 * best


def divergence(counts: list[int], edge: int) -> float:
    """The published procedure, bin by bin."""
    wanted = [float(count) for count in counts[:edge]]
    wanted[-1] += sum(counts[edge:])
    told = [0.0] * edge
    for level in range(128):
        members = [b for b in range(edge) if level * edge // 128 <= b < (level + 1) * edge // 128]
        filled = [b for b in members if counts[b]]
        for b in filled:
            told[b] = sum(counts[m] for m in members) / len(filled)
    if any(w and not t for w, t in zip(wanted, told, strict=True)):
        return float("inf")
    total, spread = sum(wanted), sum(told)
    return sum(w / total * np.log(w / total / (t / spread)) for w, t in zip(wanted, told, strict=True) if w)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100), st.floats(0.5, 3))
def test_entropy_is_the_published_procedure(seed, power):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(300 * np.exp(-(np.linspace(0, 4, 192) ** power)))
    found = Histogram(counts.astype(np.int64), 1.0, 1.0)
    losses = {edge: divergence(counts.tolist(), edge) for edge in range(128, 193)}
    assert calibration.entropy(found) == pytest.approx(min(losses, key=lambda e: losses[e]) / 192)


def test_entropy_cuts_a_lonely_tail():
    found = calibration.entropy(histogram(normal(tail=40.0)))
    assert found < 8


@pytest.mark.parametrize("method", METHODS)
def test_zeros_alone_give_a_step_that_divides(method):
    assert calibration.step(histogram(np.zeros(5, dtype=np.float32)), method) == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_step_spans_the_range_in_127(method):
    values = np.linspace(-1, 1, 5001, dtype=np.float32)
    assert calibration.step(histogram(values), method) * 127 == pytest.approx(1.0, abs=0.02)
