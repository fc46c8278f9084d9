"""Numbers: cells, scale, scores against scipy, answers in the units of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from squeeze.data.table import LabelCells, Table
from squeeze.tasks.regression.heads import loss
from tests.labelled import task

TASK = task("regression", ("valence", "arousal"))
ONE = task("regression", ("score",))
CELLS = [(str(i), str(100 - i * i)) for i in range(12)]


def drawn(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.normal(size=(rows, 2)).astype(np.float32)
    return (labels + generator.normal(size=(rows, 2))).astype(np.float32), labels


def test_values_are_standardised_and_answers_are_in_the_units_of_the_data():
    state = TASK.state(CELLS)
    encoded = TASK.encode(CELLS, state)
    np.testing.assert_allclose(encoded.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(0), 1, atol=1e-6)
    answer = TASK.decode(encoded[3], state, tokens=4, cut=True)
    assert answer.plain()["values"] == pytest.approx({"valence": 3.0, "arousal": 91.0}, rel=1e-5)
    assert answer.cells() == ("valence 3, arousal 91",)
    assert answer.cut


def test_columns_are_called_as_the_targets():
    assert TASK.cells() == LabelCells(("valence", "arousal"), "numbers")


def test_cells_that_are_no_number_are_named_by_row():
    labels = (("1", "2"), ("1,5", "2"), ("", "inf"), ("nan", "1e3"))
    table = Table(("a",) * 4, labels, (2, 3, 4, 5), "x.csv")
    assert TASK.label_problems("train (x.csv)", table) == [
        "train (x.csv): valence is no finite number, such as '1,5', in rows 3, 4, 5",
        "train (x.csv): arousal is no finite number, such as 'inf', in row 4",
    ]


def test_what_cannot_be_learned_is_refused():
    assert ONE.train_problems("train", [("1",)] * 3) == ["train: 3 rows, at least 10 are needed"]
    assert ONE.train_problems("train", [("1",)] * 10) == ["train: all rows have the same score"]
    assert ONE.train_problems("train", [("1",)] * 9 + [("2",)]) == []
    assert ONE.looks([("1",)] * 9 + [("2",)], partial=False) == [
        "score has two values: looks like single_label_classification"
    ]
    assert ONE.looks([(str(i),) for i in range(10)], partial=False) == []


def test_scores_are_those_of_scipy():
    outputs, labels = drawn()
    quality = TASK.scores(outputs, labels, outputs + np.float32(0.1), {"scale": (2.0, 4.0)})
    columns = list(zip(outputs.T, labels.T, strict=True))
    assert quality.primary == "pearson"
    assert quality.score == pytest.approx(np.mean([pearsonr(*pair)[0] for pair in columns]))
    assert quality.scores["spearman"] == pytest.approx(np.mean([spearmanr(*pair)[0] for pair in columns]))
    errors = np.sqrt(np.square(outputs - labels).mean(0)) * (2, 4)
    assert quality.scores["rmse"] == pytest.approx(errors.mean(), rel=1e-6)
    assert quality.scores["agreement"] == 1
    assert TASK.agreement(outputs, outputs + np.float32(0.3), {}) == 0
    assert quality.recall == ()


def test_values_that_do_not_vary_have_no_correlation():
    _, labels = drawn()
    assert TASK.scores(np.zeros_like(labels), labels).score == 0


def test_the_loss_leaves_out_what_has_no_values():
    outputs, labels = (torch.from_numpy(array) for array in drawn(6))
    expected = (outputs[:4] - labels[:4]).square().mean()
    labels[4:] = torch.nan
    torch.testing.assert_close(loss(outputs, labels), expected)
    torch.testing.assert_close(TASK.loss(outputs, labels, {}), expected)
    assert loss(outputs[4:], labels[4:]).item() == 0


def test_how_right_a_row_is():
    outputs = np.array([[0.0, 0.0], [1.0, 2.0]], dtype=np.float32)
    assert TASK.row_scores(outputs, np.zeros((2, 2))).tolist() == [0, -2.5]
