"""What is checked of a Core ML package where nothing runs it; skipped where coremltools is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from squeeze.errors import MissingBackend, ParityFailed, StageFailed
from squeeze.graphs.mobile import by_coreml
from squeeze.graphs.mobile.fixed import Fixed
from squeeze.runtime import need
from tests import tiny

LENGTH = 24


@pytest.fixture(scope="module")
def core():
    try:
        return need("coremltools", by_coreml.EXTRA)
    except MissingBackend as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def packages(core, tmp_path_factory):
    """The package of one student, in fp32 and with int8 weights."""
    made = {}
    for name, convert in (("fp32", by_coreml.convert), ("int8", by_coreml.convert_int8)):
        folder = tmp_path_factory.mktemp(name)
        convert(Fixed(tiny.encoder(), LENGTH), folder)
        made[name] = folder / by_coreml.FOLDER
    return made


def program(length=LENGTH, **changes):
    return by_coreml._program(Fixed(tiny.encoder(**changes), length))


@pytest.mark.parametrize("rounded", [False, True])
def test_weights_of_another_student_are_found(packages, rounded):
    package = packages["int8" if rounded else "fp32"]
    by_coreml._hold(package, program(), rounded=rounded)
    with pytest.raises(ParityFailed, match=r"does not hold .*weight"):
        by_coreml._hold(package, program(seed=1), rounded=rounded)


def test_rounded_weights_are_no_fp32_weights(packages):
    with pytest.raises(ParityFailed, match="does not hold"):
        by_coreml._hold(packages["int8"], program(), rounded=False)


def test_another_length_is_found(packages):
    with pytest.raises(ParityFailed, match="takes"):
        by_coreml._hold(packages["fp32"], program(LENGTH - 1), rounded=False)


def test_int8_weights_are_smaller_and_nothing_is_left_beside_the_manifest(packages):
    sizes = {
        name: sum(path.stat().st_size for path in package.rglob("weight.bin"))
        for name, package in packages.items()
    }
    assert sizes["int8"] < 0.5 * sizes["fp32"]
    for package in packages.values():
        assert {path.name for path in package.iterdir()} == {"Manifest.json", "Data"}


def test_one_weight_that_is_off_is_found():
    weight = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    off = weight.copy()
    off[3, 4] += 0.1
    assert by_coreml._among(weight, [off, weight.T.copy()], rounded=False)
    assert not by_coreml._among(weight, [off], rounded=False)
    step = np.abs(weight).max(axis=1, keepdims=True) / 127
    assert by_coreml._among(weight, [np.round(weight / step) * step], rounded=True)
    assert not by_coreml._among(weight, [off], rounded=True)


def test_a_model_that_it_does_not_take_is_one_line(core, tmp_path):
    student = tiny.encoder()

    class Odd(Fixed):
        def forward(self, input_ids, mask):
            return super().forward(input_ids, mask).to(torch.float64).logit().erfinv()

    with pytest.raises(StageFailed, match="coremltools: the model cannot be converted") as found:
        by_coreml.convert(Odd(student, LENGTH), tmp_path)
    assert "\n" not in found.value.message
    assert list(tmp_path.iterdir()) == []


def test_where_it_runs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert by_coreml.unable() == "Core ML runs on macOS only"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert by_coreml.unable() == ""
