"""Size and order of the turns of a round."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.targets import compare, turns

typical = st.lists(st.floats(1e-5, 5.0), min_size=1, max_size=4)


@pytest.mark.parametrize("module", [turns, compare])
def test_docstrings(module):
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


@given(typical, st.floats(0.05, 2.0), st.integers(4, 100))
def test_every_model_has_its_calls_and_about_the_same_time(seconds, wanted, least):
    size = turns.sizes(seconds, wanted, least)
    assert size["cycles"] % 2 == 0
    calls = [size["cycles"] * size["calls"] * passes for passes in size["passes"]]
    assert min(calls) >= least
    slowest = max(range(len(seconds)), key=seconds.__getitem__)
    spent = calls[slowest] * seconds[slowest]
    assert spent <= max(2 * wanted, 2 * least * seconds[slowest]) + 8 * seconds[slowest]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_orders_are_balanced(models, pairs, seed):
    found = turns.orders(models, 2 * pairs, np.random.default_rng(seed))
    assert len(found) == 2 * pairs
    places = np.array([[order.index(model) for order in found] for model in range(models)])
    assert (places.mean(axis=1) == (models - 1) / 2).all()  # nobody is early or late
    assert [each[::-1] for each in found[::2]] == found[1::2]
