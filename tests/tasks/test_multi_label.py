"""Any number of labels a text: labels, scores against scikit-learn, threshold, answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from squeeze.core.metrics import sigmoid
from squeeze.data.table import LabelCells, Table
from squeeze.tasks.multi_label.heads import loss
from squeeze.tasks.multi_label.metrics import best_threshold
from tests.labelled import task

NAMES = ("joy", "fear", "anger")
TASK = task("multi_label_classification", NAMES)


def table(*labels: tuple[str, ...]) -> Table:
    count = len(labels)
    return Table(tuple(f"text {i}" for i in range(count)), labels, tuple(range(2, count + 2)), "x.csv")


def drawn(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random((rows, 3)) < (0.6, 0.3, 0.1)).astype(np.float32)
    outputs = generator.normal(size=(rows, 3)) + 2 * labels - 1.5
    return outputs.astype(np.float32), labels


def test_labels_are_lists_or_joined_text():
    encoded = TASK.encode([("joy", "anger"), ("fear", "joy", "joy"), ()], {})
    assert encoded.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert encoded.dtype == np.float32
    other = task("multi_label_classification", NAMES, separator=";")
    assert other.cells() == LabelCells("labels", "list", ";")


def test_unknown_labels_name_the_nearest_and_their_rows():
    problems = TASK.label_problems("train (x.csv)", table(("joy",), ("jyo", "fear"), ("jyo",)))
    assert problems == ["train (x.csv): unknown label 'jyo' (nearest: 'joy') in rows 3, 4"]
    many = TASK.label_problems("train", table(*((f"x{i}",) for i in range(8))))
    assert len(many) == 6
    assert "is '|' between labels?" in many[-1]


def test_rows_without_labels_and_rare_labels_are_reported():
    labels = [("joy",)] * 12 + [("fear", "joy")] * 11 + [("anger",)] + [()] * 3
    lines = TASK.looks(labels, partial=False)
    assert lines == [
        "3 of 27 rows have no label and teach that none applies",
        "labels with fewer than 10 rows are hardly learned: 'anger' 1",
    ]
    assert TASK.counts(labels) == {"joy": 23, "fear": 11, "anger": 1}
    assert TASK.strata(labels)[12] == "fear"
    (single,) = TASK.looks([("joy",)] * 12, partial=True)
    assert "looks like single_label_classification" in single


def test_a_label_without_training_rows_is_refused():
    rows = [("joy",)] * 5 + [("fear",)] * 5
    assert TASK.train_problems("train", rows) == ["train: no row has label 'anger'"]
    assert TASK.train_problems("train", [("joy",)]) == ["train: 1 rows, at least 6 are needed (2 a label)"]
    assert TASK.train_problems("train", [*rows, ("anger",)]) == []
    assert TASK.test_warnings("test", table(("joy",))) == [
        "test: no row has label 'fear', 'anger', its F1 counts as 0"
    ]


def test_scores_are_those_of_scikit_learn():
    outputs, labels = drawn()
    state = TASK.fit(outputs, labels, {})
    given_labels = sigmoid(outputs) >= state["threshold"]
    quality = TASK.scores(outputs, labels, outputs + np.float32(0.5), state)
    assert quality.primary == "micro_f1"
    assert quality.scores["micro_f1"] == pytest.approx(f1_score(labels, given_labels, average="micro"))
    assert quality.scores["macro_f1"] == pytest.approx(f1_score(labels, given_labels, average="macro"))
    assert quality.scores["map"] == pytest.approx(average_precision_score(labels, outputs, average="macro"))
    assert quality.scores["exact_match"] == pytest.approx((given_labels == labels).all(1).mean())
    both = (given_labels == (sigmoid(outputs + 0.5) >= state["threshold"])).mean()
    assert quality.scores["agreement"] == pytest.approx(both)
    assert quality.recall[0] == pytest.approx(given_labels[labels[:, 0] > 0, 0].mean())


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(deadline=None)
def test_no_threshold_is_better_than_the_fitted_one(seed, rows):
    outputs, labels = drawn(rows, seed)
    outputs = outputs.round(1)  # equal outputs stand on one side
    threshold = best_threshold(outputs, labels)

    def f1(limit: float) -> float:
        chosen = sigmoid(outputs) >= limit
        return float(2 * (chosen * labels).sum() / max(1, chosen.sum() + labels.sum()))

    best = max(f1(float(limit)) for limit in sigmoid(np.unique(outputs)))
    assert f1(threshold) == pytest.approx(best)


def test_a_threshold_of_the_profile_is_kept():
    outputs, labels = drawn()
    fixed = task("multi_label_classification", NAMES, threshold=0.9)
    assert fixed.fit(outputs, labels, {"other": 1.0}) == {"other": 1.0, "threshold": 0.9}


def test_an_answer_has_the_labels_from_the_surest_on():
    row = np.array([1.0, -3.0, 2.0], dtype=np.float32)
    answer = TASK.decode(row, {"threshold": 0.5}, tokens=4, cut=False)
    assert answer.plain()["labels"] == ["anger", "joy"]
    assert answer.plain()["probabilities"] == pytest.approx(dict(zip(NAMES, sigmoid(row), strict=True)))
    assert answer.cells() == ("anger 0.881, joy 0.731",)
    assert TASK.decode(row, {"threshold": 0.99}, tokens=4, cut=False).cells() == ("-",)


def test_the_loss_leaves_out_what_has_no_labels_and_weighs_rare_ones():
    outputs, labels = (torch.from_numpy(array) for array in drawn(6))
    whole = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:4], labels[:4])
    labels[4:] = torch.nan
    torch.testing.assert_close(loss(outputs, labels), whole)
    assert loss(outputs[4:], labels[4:]).item() == 0
    balanced = task("multi_label_classification", NAMES, class_weights="balanced")
    state = balanced.state([("joy",)] * 3 + [("fear",)])
    assert state["label_weights"] == pytest.approx((1 / 3, 3, 4))
    doubled = TASK.loss(outputs[:4], labels[:4], {"label_weights": (2.0, 2.0, 2.0)})
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs[:4], labels[:4], pos_weight=torch.full((3,), 2.0)
    )
    torch.testing.assert_close(doubled, expected)


def test_how_right_a_row_is():
    outputs = np.array([[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0]], dtype=np.float32)
    right, wrong = TASK.row_scores(outputs, np.array([[1, 0, 0], [1, 0, 0]]))
    assert right == pytest.approx(0, abs=1e-3)
    assert wrong == pytest.approx(-6, abs=1e-3)
