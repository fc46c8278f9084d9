"""Quality and loyalty figures against scikit-learn, scipy and their definitions."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax as scipy_log_softmax
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from squeeze.core import metrics


@st.composite
def rows(draw):
    """Logits and labels of 1 to 40 rows and 2 to 5 labels, often with labels that never occur."""
    shape = draw(st.tuples(st.integers(1, 40), st.integers(2, 5)))
    logits = draw(arrays(np.float64, shape, elements=st.floats(-30, 30)))
    labels = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    return logits, labels


@st.composite
def two_models(draw):
    shape = draw(st.tuples(st.integers(1, 20), st.integers(2, 5)))
    logits = arrays(np.float64, shape, elements=st.floats(-30, 30))
    return draw(logits), draw(logits)


@given(rows())
def test_counts_and_f1_are_those_of_sklearn(sample):
    logits, labels = sample
    classes = range(logits.shape[1])
    answers = logits.argmax(axis=1)
    counts = metrics.confusion(answers, labels, len(classes))
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, answers, labels=classes, zero_division=0
    )
    found = metrics.per_class(counts)
    assert counts.tolist() == confusion_matrix(labels, answers, labels=classes).tolist()
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.f1, f1)
    assert metrics.macro_f1(counts) == pytest.approx(
        f1_score(labels, answers, labels=classes, average="macro", zero_division=0)
    )
    assert metrics.accuracy(logits, labels) == pytest.approx(accuracy_score(labels, answers))


def test_a_label_without_truths_and_answers_counts_as_zero():
    counts = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert metrics.macro_f1(counts) == pytest.approx(2 / 3)


@given(rows())
def test_log_softmax_is_a_distribution(sample):
    logits, _ = sample
    log_p = metrics.log_softmax(logits)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    np.testing.assert_allclose(metrics.softmax(logits), np.exp(log_p), atol=1e-15)
    np.testing.assert_allclose(log_p, scipy_log_softmax(logits, axis=1), atol=1e-12)


def test_softmax_survives_huge_and_float32_logits():
    logits = np.array([[1e30, 0.0], [-1e30, 0.0]], dtype=np.float32)
    assert metrics.softmax(logits).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert metrics.log_softmax(np.array([[1e4, 0.0]], dtype=np.float32)).tolist() == [[0.0, -1e4]]


def slow_calibration_error(confidence, right, bins=15):
    """The definition, bin by bin: lower edge out, upper edge in."""
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@given(rows())
def test_calibration_error_is_its_definition(sample):
    logits, labels = sample
    confidence = metrics.softmax(logits).max(axis=1)
    right = (logits.argmax(axis=1) == labels).astype(float)
    wanted = slow_calibration_error(confidence, right)
    assert metrics.calibration_error(logits, labels) == pytest.approx(wanted, abs=1e-12)


def test_calibration_error_golden():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 3)) * 2, rng.integers(3, size=500)
    assert metrics.calibration_error(logits, labels) == pytest.approx(0.38524, abs=1e-5)


def test_a_sure_and_right_model_is_calibrated():
    assert metrics.calibration_error(np.array([[99.0, 0.0], [0.0, 99.0]]), np.array([0, 1])) == 0


@given(two_models())
def test_loyalty_is_symmetric_and_a_share(models):
    ours, theirs = models
    for loyalty in (metrics.agreement, metrics.probability_agreement):
        assert 0 <= loyalty(ours, theirs) <= 1
        assert loyalty(ours, theirs) == loyalty(theirs, ours)


@given(two_models())
def test_loyalty_to_oneself_is_exactly_one(models):
    ours, _ = models
    assert metrics.agreement(ours, ours) == 1
    assert metrics.probability_agreement(ours, ours) == 1


@given(two_models())
def test_js_distance_is_that_of_scipy_in_base_two(models):
    p, q = (metrics.softmax(logits) for logits in models)
    found = metrics.js_distance(p, q)
    with np.errstate(invalid="ignore"):  # rounding gives scipy the root of a negative for nearly equal rows
        wanted = np.nan_to_num(jensenshannon(p, q, base=2, axis=1))
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_loyalty_golden():
    ours, theirs = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.5, 0.0]])
    assert metrics.agreement(ours, theirs) == 0.5
    assert metrics.probability_agreement(ours, theirs) == pytest.approx(0.765969, abs=1e-6)
    assert metrics.probability_agreement(np.array([[99.0, 0.0]]), np.array([[0.0, 99.0]])) == pytest.approx(0)


def test_an_ensemble_of_two_copies_is_the_teacher():
    teacher = np.array([[2.0, 0.3], [0.1, 1.0]])
    twice = np.log((metrics.softmax(teacher) + metrics.softmax(teacher)) / 2)
    assert metrics.probability_agreement(twice, teacher) == pytest.approx(1, abs=1e-7)


def test_quality_of_older_results_is_read():
    old = {"rows": 3, "accuracy": 0.5, "macro_f1": 0.4, "recall": [0.5, 0.5], "ece": 0.1}
    old |= {"label_loyalty": 0.9, "probability_loyalty": None}
    quality = metrics.Quality.parse(old)
    assert quality.scores == {"accuracy": 0.5, "macro_f1": 0.4, "ece": 0.1, "agreement": 0.9}
    assert (quality.score, quality.recall) == (0.4, (0.5, 0.5))
    assert metrics.Quality.parse(json.loads(json.dumps(quality.plain()))) == quality


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "need"),
        (np.zeros((2, 2)), np.array([0]), "need"),
        (np.zeros((2, 2)), np.array([0, -1]), r"0\.\.1, got -1"),
        (np.zeros((2, 2)), np.array([0, 2]), r"0\.\.1, got 0\.\.2"),
    ],
)
def test_what_cannot_be_measured_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.check(logits, labels)


def test_models_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="alike"):
        metrics.agreement(np.zeros((2, 2)), np.zeros((3, 2)))


@pytest.mark.parametrize(("predicted", "labels", "name"), [([2], [0], "predicted"), ([0], [-1], "labels")])
def test_confusion_refuses_unknown_labels(predicted, labels, name):
    with pytest.raises(ValueError, match=name):
        metrics.confusion(np.array(predicted), np.array(labels), classes=2)


def test_confusion_of_nothing_is_zero():
    empty = np.zeros(0, dtype=int)
    assert metrics.confusion(empty, empty, classes=2).tolist() == [[0, 0], [0, 0]]
