"""What a device has to get right before anything is timed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from squeeze.errors import ParityFailed, StageFailed, UsageError
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.golden import EXACT, ROUNDED, compare, confirmed, goldens, limit
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny


@pytest.fixture
def subject(tmp_path):
    path = tiny.classifier(tmp_path / "model.onnx")
    return Subject(path, path.name, vocabulary=len(tiny.WORDS), lengths=(3, 4, 9))


@pytest.fixture
def golden(subject):
    [made] = goldens([subject], Settings(), 6)
    return made


def changed(golden, by):
    return [[value + np.asarray(by, dtype=value.dtype) for value in feed] for feed in golden.outputs]


def test_inputs_and_answers(golden):
    assert golden.names == ("logits",)
    assert len(golden.feeds) == len(golden.outputs) == len(golden.widths) == 6
    assert golden.has_length
    assert set(golden.widths) == {3, 4, 9}
    for feed, width in zip(golden.feeds, golden.widths, strict=True):
        assert feed["input_ids"].shape == feed["attention_mask"].shape == (1, width)
    assert golden.inputs == dict.fromkeys(("input_ids", "attention_mask"), "tensor(int64) [batch, sequence]")


def test_all_models_get_the_same_lengths(subject, tmp_path):
    other = Subject(tiny.classifier(tmp_path / "other.onnx", layers=1), "other")
    first, second = goldens([subject, other], Settings(), 4)
    assert first.widths == second.widths


def test_ids_that_nobody_knows_the_bound_of(tmp_path):
    path = tiny.classifier(tmp_path / "small.onnx", vocabulary=2)
    [made] = goldens([Subject(path, path.name)], Settings(sequence=5), 3)
    assert max(int(feed["input_ids"].max()) for feed in made.feeds) <= 1
    assert made.widths == (5, 5, 5)


def test_a_model_without_a_length(tmp_path):
    path = tiny.vision(tmp_path / "v.onnx")
    [made] = goldens([Subject(path, path.name)], Settings(batch=2), 2)
    assert not made.has_length
    assert made.feeds[0]["pixels"].shape == (2, 3, 4, 4)


def test_a_model_that_cannot_run_here(tmp_path):
    path = tiny.reshaping(tmp_path / "r.onnx")
    with pytest.raises(StageFailed, match="cannot be run by ONNX Runtime"):
        goldens([Subject(path, path.name)], Settings(), 2)
    broken = tmp_path / "b.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="not a readable ONNX model"):
        goldens([Subject(broken, broken.name)], Settings(), 2)


def test_equal_outputs(golden):
    [found] = confirmed("d", golden, golden.outputs)
    assert (found.output, found.largest, found.unequal, found.values) == ("logits", 0.0, 0, 18)
    assert found.scale == pytest.approx(max(float(np.abs(feed[0]).max()) for feed in golden.outputs))


def test_the_sign_of_zero_is_a_bit(golden):
    zeros = dataclasses.replace(golden, outputs=tuple((np.zeros((1, 3), np.float32),) for _ in range(6)))
    [found] = compare(zeros, [[-np.zeros((1, 3), np.float32)] for _ in range(6)])
    assert (found.largest, found.unequal) == (0.0, 18)


def test_outputs_that_are_too_far(golden):
    with pytest.raises(ParityFailed, match=r"ssh:x: model.onnx: output logits differs .* \(limit 1e-05\)"):
        confirmed("ssh:x", golden, changed(golden, 0.01))
    [near] = confirmed("ssh:x", golden, changed(golden, 1e-7))
    assert 0 < near.share < EXACT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_far(golden, value):
    with pytest.raises(ParityFailed):
        confirmed("d", golden, changed(golden, value))


def test_another_shape_or_type(golden):
    with pytest.raises(ParityFailed, match=r"is float32 \(1, 2\) on the device and float32 \(1, 3\) here"):
        compare(golden, [[value[:, :2] for value in feed] for feed in golden.outputs])
    with pytest.raises(ParityFailed, match="is float64"):
        compare(golden, [[value.astype(np.float64) for value in feed] for feed in golden.outputs])


def test_only_integer_products_may_be_rounded(tmp_path):
    exact, rounded = tmp_path / "a", tmp_path / "b"
    exact.write_bytes(b"..MatMul..")
    rounded.write_bytes(b"..DynamicQuantizeLinear..")
    assert (limit(exact), limit(rounded)) == (EXACT, ROUNDED)
