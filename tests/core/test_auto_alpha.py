"""The closed-form weight of the labels, on the example of its paper and on random problems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze.core.auto_alpha import auto_alpha

MOBAHI_Y = np.array(
    # The 11 noisy values of sin(2 pi x), x = 0, 0.1 .. 1, of Mobahi et al. 2020 (arXiv:2002.05715).
    [
        0.38476636465198066,
        1.2333967683416893,
        1.33232242218057,
        0.6920159488889518,
        -0.29756145531871736,
        -0.24189291901377769,
        -0.7964485769175675,
        -0.9616480167034174,
        -0.49672509509916934,
        -0.3469066003991437,
        0.5589512650600734,
    ]
)


def rbf(a, b, gamma):
    return np.exp(-gamma * (a[:, None] - b[None, :]) ** 2)


class Ridge:
    """Kernel ridge regression on fixed points; predictions on a grid are linear in the targets."""

    def __init__(self, x, grid, gamma, ridge):
        inverse = np.linalg.inv(rbf(x, x, gamma) + ridge * np.eye(len(x)))
        self.on_points, self.on_grid = rbf(x, x, gamma) @ inverse, rbf(grid, x, gamma) @ inverse


def mobahi():
    x, grid = np.arange(11) / 10, np.arange(101) / 100
    return Ridge(x, grid, gamma=80, ridge=0.2), np.sin(2 * np.pi * grid)


@pytest.mark.parametrize(
    ("alpha", "published"),
    [
        (0.0, [0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251]),
        (0.35, [0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948]),
    ],
)
def test_the_example_of_the_paper(alpha, published):
    model, truth = mobahi()
    teacher, found = MOBAHI_Y, []
    for _ in published:
        target = alpha * MOBAHI_Y + (1 - alpha) * teacher
        found.append(np.square(model.on_grid @ target - truth).mean())
        teacher = model.on_points @ target
    assert found == pytest.approx(published, abs=6e-6)


def test_auto_alpha_on_the_example_of_the_paper():
    model, truth = mobahi()
    u, teacher, found = model.on_grid @ MOBAHI_Y, model.on_points @ MOBAHI_Y, []
    for _ in range(5):
        v = model.on_grid @ teacher
        alpha = auto_alpha(u, v, truth, clip=False)
        found.append(alpha)
        teacher = model.on_points @ (alpha * MOBAHI_Y + (1 - alpha) * teacher)
    assert found == pytest.approx([-0.622, 0.330, 0.335, 0.336, 0.336], abs=6e-4)
    assert auto_alpha(u, model.on_grid @ model.on_points @ MOBAHI_Y, truth) == 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 9999))
def test_auto_alpha_beats_every_alpha_of_a_grid(seed):
    rng = np.random.default_rng(seed)
    x, grid = rng.uniform(size=12), rng.uniform(size=30)
    model = Ridge(x, grid, gamma=rng.uniform(5, 100), ridge=rng.uniform(0.05, 1))
    y, truth = np.sin(6 * x) + rng.normal(0, 0.4, size=12), np.sin(6 * grid)
    teacher = model.on_points @ y
    best = auto_alpha(model.on_grid @ y, model.on_grid @ teacher, truth, clip=False)

    def loss(a):
        return np.square(model.on_grid @ (a * y + (1 - a) * teacher) - truth).mean()

    assert loss(best) <= min(loss(a) for a in np.linspace(best - 2, best + 2, 401)) + 1e-12


def test_auto_alpha_of_equal_students_trusts_the_labels():
    same = np.array([[0.2, 0.8]])
    assert auto_alpha(same, same, np.array([[0.0, 1.0]])) == 1
    assert auto_alpha(np.zeros(2), np.ones(2), -np.ones(2)) == 1
    assert auto_alpha(np.zeros(2), np.ones(2), -np.ones(2), clip=False) == 2
