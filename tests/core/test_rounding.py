"""Integers with steps stand for the matrix they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.rounding import blocks_to_int4, columns_to_int8, largest, pack


def matrix(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 7])
def test_columns_use_their_whole_range_and_err_by_half_a_step(bits):
    whole = matrix(50, 9)
    values, steps = columns_to_int8(whole, bits=bits)
    assert np.abs(values).max(axis=0).tolist() == [largest(bits)] * 9
    assert (np.abs(values * steps - whole) <= steps / 2 * (1 + 1e-5)).all()


def test_columns_of_zeros_do_not_divide_by_zero():
    values, steps = columns_to_int8(np.array([[0.0, 3.0], [0.0, -1.0]], dtype=np.float32))
    assert values.tolist() == [[0, 127], [0, -42]]
    assert np.isfinite(steps).all()


def test_given_steps_are_kept_and_what_they_do_not_reach_is_clipped():
    values, steps = columns_to_int8(np.array([[1.0], [-3.0]], np.float32), np.array([0.01], np.float32))
    assert (values.tolist(), steps.tolist()) == ([[100], [-127]], [np.float32(0.01)])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("rows", "block"), [(64, 32), (50, 16), (7, 32)])
def test_blocks_err_by_half_a_step(rows, block, symmetric):
    whole = matrix(rows, 5)
    found = blocks_to_int4(whole, block, symmetric=symmetric)
    count = -(-rows // block)
    assert (found.values.shape, found.steps.shape) == ((5, count, block), (5, count))
    assert found.values.max() <= 15
    steps = np.abs(found.steps).repeat(block, axis=1)[:, :rows].T
    # The end of a symmetric range on the other side than its largest value has one code less.
    room = 1.0 if symmetric else 0.5 + 0.5
    assert (np.abs(found.restored(rows) - whole) <= steps * room * (1 + 1e-4)).all()
    inner = np.abs(found.restored(rows) - whole) <= steps * 0.5 * (1 + 1e-4)
    assert inner.mean() > 0.9


def test_a_block_holds_zero_exactly_and_both_its_ends():
    whole = np.array([[0.0], [-1.0], [2.0], [0.5]], dtype=np.float32)
    spanned = blocks_to_int4(whole, 16, symmetric=False)
    assert spanned.zeros.tolist() == [[5]]
    np.testing.assert_allclose(spanned.restored(4)[:3], whole[:3], atol=1e-6)
    even = blocks_to_int4(whole, 16, symmetric=True)
    assert even.zeros.tolist() == [[8]]
    assert even.steps.tolist() == [[-0.25]]  # the largest value is positive and has code 0
    np.testing.assert_allclose(even.restored(4), whole, atol=1e-6)


def test_blocks_of_zeros_do_not_divide_by_zero():
    for symmetric in (True, False):
        assert not blocks_to_int4(np.zeros((20, 3), np.float32), 16, symmetric=symmetric).restored(20).any()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_packing_loses_nothing(rows, columns, seed):
    codes = np.random.default_rng(seed).integers(0, 16, (rows, columns)).astype(np.uint8)
    packed = pack(codes)
    assert packed.shape == (rows, -(-columns // 2))
    back = np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1)[:, :columns]
    np.testing.assert_array_equal(back, codes)
