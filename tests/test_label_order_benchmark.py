"""A small sample of benchmarks.label_order, and its section."""

from __future__ import annotations

import numpy as np

from benchmarks.label_order import measure, teacher
from benchmarks.order_section import label_order


def test_sound_teachers_pass_and_wrong_orders_do_not():
    row = measure(6, 300, 25, seed=3)
    assert row["sound_refused"] == 0
    assert row["wrong"] >= 10
    assert row["mixed_right"] == row["mixed_refused"] == row["wrong"]
    assert row["swapped_refused"] >= row["wrong"] - 2
    assert measure(6, 300, 25, seed=3) == row
    lines = label_order({"sizes": [row], "settings": {"sure": 0.001}})
    assert f"| 6 | 300 | 0 of 25 | 100.0 % of {row['wrong']} | 100.0 % of {row['wrong']} |" in lines[4]
    assert lines[-2] == "- At most 0.1 % of sound teachers are to be refused: 0 of 25."


def test_a_sound_teacher_is_a_table_of_chances_in_its_own_best_order():
    draw = np.random.default_rng(0)
    for labels in (2, 5):
        table = teacher(labels, draw)
        assert table.shape == (labels, labels)
        np.testing.assert_allclose(table.sum(1), 1)
