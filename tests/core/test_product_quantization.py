"""Product quantization: exact where it can be, better step by step, fair to weights, repeatable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze.core.product_quantization import decode, explained, fit, foretold


def table(rows=600, width=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) @ rng.normal(size=(width, width))


def test_shapes_and_types():
    pq = fit(table(), subvectors=4, codewords=16)
    assert [x.shape for x in (*pq, decode(*pq))] == [(600, 4), (4, 16, 2), (600, 8)]
    assert [x.dtype for x in (*pq, decode(*pq))] == [np.uint8, np.float32, np.float32]
    assert pq.codes.max() < 16


def test_decode_looks_up_each_piece():
    codebooks = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert decode(np.array([[2, 0], [0, 1]], dtype=np.uint8), codebooks).tolist() == [
        [4, 5, 6, 7],
        [0, 1, 8, 9],
    ]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_a_table_of_few_distinct_rows_is_exact(distinct, subvectors, seed):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(distinct, 4)).astype(np.float32)
    full = base[rng.integers(distinct, size=100)]
    pq = fit(full, subvectors, codewords=64, seed=seed)
    # Pieces nearer to each other than float32 distances can tell may share a codeword.
    np.testing.assert_allclose(decode(*pq), full, atol=2e-3)


def test_a_common_offset_costs_nothing():
    data = table()
    near, far = (explained(x, decode(*fit(x, 2, codewords=32))) for x in (data, data + 1000))
    assert far == pytest.approx(near, abs=0.01)


def test_the_nearest_codeword_is_chosen():
    data = table()
    pq = fit(data, subvectors=2, codewords=8)
    pieces = data.astype(np.float32).reshape(600, 2, 4)
    for m in range(2):
        distance = np.square(pieces[:, m, None] - pq.codebooks[m]).sum(axis=2)
        chosen = distance[np.arange(600), pq.codes[:, m]]
        np.testing.assert_allclose(chosen, distance.min(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_each_step_keeps_more(weighted):
    data = table()
    weights = np.random.default_rng(1).exponential(size=600) if weighted else None
    kept = [
        explained(data, decode(*fit(data, 2, codewords=32, weights=weights, iterations=steps)), weights)
        for steps in range(8)
    ]
    assert all(after >= before - 1e-6 for before, after in itertools.pairwise(kept))
    assert kept[-1] > kept[0]


def test_the_same_seed_gives_the_same_table():
    one, two, other = (fit(table(), 4, codewords=32, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.codes, two.codes)
    assert np.array_equal(one.codebooks, two.codebooks)
    assert not np.array_equal(one.codes, other.codes)


def test_heavy_rows_are_kept_better():
    data = table(rows=2000)
    weights = np.where(np.arange(2000) < 100, 100.0, 1.0)
    plain, heavy = fit(data, 2, codewords=32), fit(data, 2, codewords=32, weights=weights)
    assert explained(data[:100], decode(*heavy)[:100]) > explained(data[:100], decode(*plain)[:100]) + 0.01
    assert explained(data, decode(*heavy), weights) > explained(data, decode(*plain), weights)


def test_rows_of_weight_zero_have_no_say():
    data = table()
    weights = np.where(np.arange(600) < 300, 1.0, 0.0)
    changed = data.copy()
    changed[300:] += 50
    one, two = (fit(x, 2, codewords=16, weights=weights) for x in (data, changed))
    assert np.array_equal(one.codebooks, two.codebooks)
    assert np.array_equal(one.codes[:300], two.codes[:300])


def test_only_the_ratio_of_weights_counts():
    data, weights = table(), np.random.default_rng(2).integers(1, 9, size=600)
    one, two = (fit(data, 2, codewords=16, weights=w) for w in (weights, weights * 4.0))
    assert np.array_equal(one.codes, two.codes)


def test_empty_codewords_find_work_again():
    # One far point and a dense crowd: with the far point weighing nothing at the start of k-means++,
    # codewords pile up on equal points and must be moved to where the error is.
    data = np.concatenate([np.zeros((500, 2)), table(rows=100, width=2)])
    weights = np.concatenate([np.ones(500), np.full(100, 1e-6)])
    pq = fit(data, 1, codewords=100, weights=weights, iterations=12)
    assert len(np.unique(pq.codes)) >= 90


@pytest.mark.parametrize(("subvectors", "kept"), [(1, 0.778), (2, 0.892), (4, 0.978), (8, 0.9994)])
def test_it_keeps_what_k_means_of_sklearn_keeps(subvectors, kept):
    data = table(rows=3000)
    assert explained(data, decode(*fit(data, subvectors, codewords=64))) == pytest.approx(kept, abs=0.01)


@pytest.mark.parametrize("subvectors", [3, 8, 24, 48])
def test_what_a_part_foretells_is_what_the_whole_keeps(subvectors):
    rows = table(3000, 96) + 5.0
    kept = explained(rows, decode(*fit(rows, subvectors, codewords=32)))
    part = foretold(rows, subvectors, codewords=32, rows=1500, positions=8)
    assert part == pytest.approx(kept, abs=0.03)


def test_it_foretells_exactly_with_all_rows_and_positions():
    rows, weights = table(), np.random.default_rng(0).random(600)
    kept = explained(rows, decode(*fit(rows, 4, 16, weights)))
    assert foretold(rows, 4, 16, weights) == pytest.approx(kept, abs=1e-3)
    assert foretold(np.ones((9, 4)), 2) == 1.0
    rare = np.eye(1, 600)[0]  # one row counts, and it is not among those that are drawn
    assert foretold(rows, 4, 16, rare, rows=2) == pytest.approx(
        explained(rows, decode(*fit(rows, 4, 16, rare))), abs=0.05
    )


def test_explained_by_hand():
    data = np.array([[0.0], [2.0], [4.0]])
    assert explained(data, data) == 1
    assert explained(data, np.full((3, 1), 2.0)) == 0
    assert explained(data, data, weights=[1, 0, 1]) == 1
    assert explained(data, np.array([[0.0], [9.0], [3.0]]), weights=[1, 0, 1]) == pytest.approx(1 - 1 / 8)


def test_explained_of_a_constant_table():
    assert explained(np.ones((3, 2)), np.ones((3, 2))) == 1
    assert explained(np.ones((3, 2)), np.zeros((3, 2))) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subvectors": 3}, "divide the width 8"),
        ({"subvectors": 0}, "divide the width 8"),
        ({"subvectors": 2, "codewords": 257}, r"1\.\.256"),
        ({"subvectors": 2, "codewords": 0}, r"1\.\.256"),
        ({"subvectors": 2, "weights": [1.0]}, "600 finite weights"),
        ({"subvectors": 2, "weights": np.zeros(600)}, "600 finite weights"),
        ({"subvectors": 2, "weights": -np.ones(600)}, "600 finite weights"),
        ({"subvectors": 2, "weights": np.full(600, np.nan)}, "600 finite weights"),
    ],
)
def test_impossible_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(table(), **options)
