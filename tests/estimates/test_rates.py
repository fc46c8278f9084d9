"""Rooflines computed by hand, and fits that give back what they were made from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from squeeze.estimates.calibrate import LEAST_SPREAD, spread_of
from squeeze.estimates.rates import Rate, Rates, fit, predict
from squeeze.estimates.work import KINDS, Part

SLOW = Rate(node_us=3.0, gbytes=2.0)
BY_HAND = Rates(
    call_us=10.0,
    kinds={**dict.fromkeys(KINDS, SLOW), "product": Rate(node_us=5.0, gops=4.0, gbytes=2.0)},
)


@pytest.mark.parametrize(
    ("parts", "us"),
    [
        ([], 10.0),
        ([Part("product", work=8e6, bytes=2e6)], 10 + 5 + 2000),  # 8e6 / 4e9 s beats 2e6 / 2e9 s
        ([Part("product", work=2e6, bytes=2e6)], 10 + 5 + 1000),  # and here it does not
        ([Part("norm", work=0.0, bytes=4e3)], 10 + 3 + 2),
        ([Part("quantize", 0.0, 4e3, nodes=0)], 10 + 2),
        ([Part("product", 8e6, 2e6), Part("norm", 0.0, 4e3)], 10 + 5 + 2000 + 3 + 2),
    ],
)
def test_a_roofline_by_hand(parts, us):
    assert predict(BY_HAND, parts) == pytest.approx(us / 1e3, rel=1e-12)


def test_what_does_not_overlap_is_added():
    """2,000 us of work and 1,000 us of reading."""
    apart = BY_HAND.model_copy(update={"overlap": False})
    assert predict(apart, [Part("product", work=8e6, bytes=2e6)]) == pytest.approx(3.015)


def calls():
    """Products and norms of many sizes, alone and together."""
    found = []
    for size in (1e3, 1e4, 1e5, 1e6):
        found.append([Part("product", 2e2 * size, size)] * 2)
        found.append([Part("product", 0.1 * size, 10 * size)])
        found.append([Part("product", 6 * size, size)] * 2)
        found.append([Part("norm", 0.0, size)] * 3)
        found.append([Part("product", 2e2 * size, size), *[Part("norm", 0.0, size)] * 4])
    return found


@pytest.mark.parametrize("overlap", [True, False])
def test_a_fit_finds_the_rates_that_made_the_times(overlap):
    true = Rates(
        call_us=8.0,
        overlap=overlap,
        kinds={
            **dict.fromkeys(KINDS, Rate(node_us=2.0, gbytes=6.0)),
            "product": Rate(node_us=4.0, gops=50.0, gbytes=8.0),
        },
    )
    ms = np.array([predict(true, each) for each in calls()])
    found = fit(calls(), ms, np.ones(len(ms)))
    assert found.overlap == overlap
    assert [predict(found, each) for each in calls()] == pytest.approx(ms, rel=0.02)
    assert found.kinds["product"].gops == pytest.approx(50, rel=0.03)
    assert found.kinds["product"].gbytes == pytest.approx(8, rel=0.05)
    assert found.kinds["norm"].gbytes == pytest.approx(6, rel=0.05)
    assert found.kinds["norm"].gops is None


def test_one_disturbed_sample_does_not_decide():
    true = BY_HAND
    ms = np.array([predict(true, each) for each in calls()])
    ms[5] *= 20
    found = fit(calls(), ms, np.ones(len(ms)))
    errors = [predict(found, each) / predict(true, each) - 1 for each in calls()]
    assert np.median(np.abs(errors)) < 0.05


def test_kinds_that_no_call_has_are_as_fast_as_sums():
    found = fit([[Part("simple", 0.0, 1e5)], [Part("simple", 0.0, 1e6)]], np.array([0.1, 0.9]), np.ones(2))
    assert set(found.kinds) == set(KINDS)
    assert found.kinds["softmax"] == found.kinds["simple"]


def test_the_spread_is_two_standard_deviations_and_never_too_narrow():
    assert spread_of([0.2, -0.2, 0.2]) == pytest.approx(math.exp(0.4))
    assert spread_of([0.3]) > spread_of([0.2])
    assert spread_of([]) == spread_of([0.001]) == LEAST_SPREAD
