from __future__ import annotations

import numpy as np
import pytest

from squeeze.models.label_order import judge_order


def answers(labels, accuracy, count, rng):
    """Right with a probability, else any other label."""
    wrong = (labels + rng.integers(1, count, len(labels))) % count
    return np.where(rng.random(len(labels)) < accuracy, labels, wrong)


def logits(said, count):
    return np.eye(count, dtype=np.float32)[said]


def judge(labels, said, count):
    return judge_order(logits(said, count), labels, [f"label {i}" for i in range(count)])


@pytest.mark.parametrize(("count", "rows"), [(2, 24), (2, 200), (3, 60), (12, 48), (77, 462)])
def test_a_perfect_teacher_in_any_other_order_is_refused_with_the_right_one(count, rows):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(rows) % count)
        order = rng.permutation(count)
        if (order == np.arange(count)).all():
            order = order[::-1]
        said = np.argsort(order)[labels]  # output j answers for label order[j]
        fit = judge(labels, said, count)
        assert fit.order == tuple(order), seed
        assert fit.problem.endswith("with its outputs in another order 100.0 % are")
        right = judge(labels, labels, count)
        assert (right.order, right.problem, right.warning) == (tuple(range(count)), "", "")


def test_two_of_many_labels_that_are_exchanged():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 60)
    said = answers(labels, 0.8, 20, rng)
    swap = np.arange(20)
    swap[[3, 7]] = [7, 3]
    fit = judge(labels, swap[said], 20)
    assert fit.problem
    assert fit.order == tuple(swap)


def test_text_in_the_order_of_its_labels_is_halved_all_the_same():
    labels = np.repeat(np.arange(4), 25)
    fit = judge(labels, (labels + 1) % 4, 4)
    assert fit.order == (3, 0, 1, 2)
    assert fit.problem.startswith("its answers are right in 0.0 % of 100 labelled rows")


@pytest.mark.parametrize(
    ("count", "rows", "accuracy"),
    [
        (2, 20, 0.5),
        (2, 300, 0.52),
        (3, 30, 0.4),
        (12, 48, 0.15),
        (12, 300, 0.1),
        (77, 300, 0.05),
        (77, 300, 0.3),
    ],
)
def test_a_weak_but_sound_teacher_is_not_refused(count, rows, accuracy):
    refused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, count, rows)
        refused += bool(judge(labels, answers(labels, accuracy, count, rng), count).problem)
    assert refused <= 1


def test_a_teacher_that_knows_one_label_only_is_warned_of():
    labels = np.arange(300) % 3
    fit = judge(labels, np.zeros(300, dtype=np.int64), 3)
    assert (fit.problem, fit.order) == ("", (0, 1, 2))
    assert (
        fit.warning == "its answers are right in 33.3 % of 300 labelled rows, no better than chance (33.3 %)"
    )


def test_few_rows_are_warned_of():
    labels = np.arange(20) % 10
    fit = judge(labels, 9 - labels, 10)
    assert fit.problem == ""
    assert fit.order == tuple(range(9, -1, -1))
    assert fit.warning.endswith("in another order 100.0 % are, which may be chance")
    assert judge(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 2).warning == ""


def test_below_chance_where_no_order_fits():
    rng = np.random.default_rng(1)
    labels = np.arange(900) % 10
    said = (labels + rng.integers(1, 10, 900)) % 10  # always wrong, in all ways alike
    fit = judge(labels, said, 10)
    assert fit.problem == (
        "its answers are right in 0.0 % of 900 labelled rows, fewer than by chance (10.0 %)"
    )


def test_labels_that_nobody_has_or_answers_stay_where_they_are():
    labels = np.arange(60) % 3
    fit = judge(labels, np.array([1, 0, 2])[labels], 6)
    assert fit.order == (1, 0, 2, 3, 4, 5)
