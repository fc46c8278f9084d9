"""One label a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from squeeze.core import metrics
from tests.labelled import single_label

TASK = single_label()


def test_every_score_is_gathered():
    logits, labels = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]], dtype=np.float32), np.array([0, 1, 1])
    quality = TASK.scores(logits, labels, -logits)
    assert (quality.rows, quality.recall, quality.scores["agreement"]) == (3, (1.0, 0.5), 0.0)
    assert quality.scores["accuracy"] == quality.score == pytest.approx(2 / 3)
    assert quality.scores["ece"] == metrics.calibration_error(logits, labels)
    assert list(quality.scores) == list(TASK.metrics)


def test_without_a_teacher_there_is_no_agreement():
    quality = single_label("abc").scores(np.zeros((1, 3), dtype=np.float32), np.array([0]))
    assert set(quality.scores) == {"accuracy", "macro_f1", "ece"}
    assert quality.recall == (1.0, 0.0, 0.0)


def test_a_row_without_a_label_is_left_out_of_the_loss():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, -1, -1])
    expected = torch.nn.functional.cross_entropy(logits[:2], labels[:2])
    torch.testing.assert_close(TASK.loss(logits, labels, {}), expected)


def test_labels_are_numbered_in_the_order_of_the_task():
    assert single_label(("no", "yes")).encode(["yes", "no", "yes"], {}).tolist() == [1, 0, 1]
