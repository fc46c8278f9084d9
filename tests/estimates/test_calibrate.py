"""Calibrating: on a stand-in for a device whose rates are known, and on a stand-in for the runner."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.estimates import calibrate as module
from squeeze.estimates import calibration, micro
from squeeze.estimates.calibration import Calibration
from squeeze.estimates.rates import Rate, Rates, predict
from squeeze.estimates.trace import trace
from squeeze.estimates.work import KINDS, parts
from squeeze.progress import Silent
from squeeze.targets import reach
from squeeze.targets.devices.local import LocalTransport
from squeeze.targets.devices.session import Session
from tests.measured import measurement
from tests.targets.devices import stands

TRUE = Rates(
    call_us=20.0,
    kinds={
        **{kind: Rate(node_us=2.0 + place / 4, gbytes=3.0) for place, kind in enumerate(KINDS)},
        "product": Rate(node_us=3.0, gops=10.0, gbytes=2.0),
        "attention": Rate(node_us=4.0, gops=8.0, gbytes=3.0),
        "int8-dynamic": Rate(node_us=6.0, gops=30.0, gbytes=2.0),
        "int8-static": Rate(node_us=5.0, gops=28.0, gbytes=2.0),
    },
)
ENVIRONMENT = {"cpu": "Test Core", "onnxruntime": "1.32.0"}


class Device:
    """Takes as long as `TRUE` says, with some noise."""

    def __init__(self, noise=0.0):
        self.noise = noise

    def __call__(self, subjects, settings, progress):
        generator = np.random.default_rng(0)
        found = []
        for each in subjects:
            nodes = trace(each, each.lengths, 1, {})
            ms = [predict(TRUE, [part for node in nodes[at] for part in parts(node)]) for at in each.lengths]
            blocks = [
                [took * float(np.exp(self.noise * generator.standard_normal())) for took in ms]
                for _ in range(6)
            ]
            widths = (tuple(each.lengths),) * 6
            found.append(measurement(each.name, blocks=blocks, block_widths=widths, environment=ENVIRONMENT))
        return tuple(found)


@pytest.fixture(scope="module")
def found():
    """A calibration of the stand-in."""
    return module.calibrate("ssh:board", Device(noise=0.02), Silent())


def test_the_graphs_are_some_thirty_of_every_kind(tmp_path):
    subjects = micro.written(tmp_path)
    seen = {part.kind for each in subjects for node in trace(each, (8,), 1, {})[8] for part in parts(node)}
    assert seen == set(KINDS) - {"other"}
    assert 30 <= len(subjects) <= 45
    assert len({each.name for each in subjects}) == len(subjects)
    assert {each.form for each in subjects} == {"fp32", "int8-dynamic", "int8-static"}


def test_rates_that_are_known_are_found_again(found):
    errors = [each.fitted_ms / each.ms - 1 for each in found.samples]
    assert np.median(np.abs(errors)) < 0.03
    assert found.rates.kinds["product"].gops == pytest.approx(10, rel=0.1)
    assert found.rates.kinds["int8-dynamic"].gops == pytest.approx(30, rel=0.15)


def test_whole_encoders_are_predicted_unseen_and_give_the_spread(found):
    whole = [each for each in found.samples if each.unseen_ms is not None]
    assert {each.graph.split()[0] for each in whole} == {micro.LAYERS}
    assert len(whole) == len(micro.ENCODERS) * 3 * len(micro.LENGTHS)
    assert 1.1 <= found.spread < 1.3
    assert found.threads == 1
    assert "Test Core" in found.source
    assert "ssh:board" in found.source


def test_a_noisy_device_has_wider_estimates(found):
    noisy = module.calibrate("ssh:board", Device(noise=1.0), Silent())
    assert noisy.spread > 1.5 > found.spread
    assert any("was the device busy?" in note for note in noisy.notes)


def test_a_length_that_was_not_timed(tmp_path):
    subjects = micro.written(tmp_path)[:1]
    short = (measurement(block_widths=((8,) * 20,) * 20),)
    with pytest.raises(StageFailed, match="no call of 32 tokens"):
        module.calibrated("cpu", subjects, short, (8, 32), "encoder")


def test_a_document_is_read_as_it_was_written(found, tmp_path):
    path = tmp_path / "deep" / "board.json"
    calibration.write(found, path)
    assert Calibration.read(path) == found
    assert calibration.stored(path.parent) == {"board": path}
    document = json.loads(path.read_text())
    assert (document["kind"], document["version"]) == ("device-calibration", 1)


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "cost-table"}', "[1]"])
def test_what_is_no_calibration(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="not a calibration of version 1"):
        Calibration.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Calibration.read(tmp_path / "none.json")


def test_the_runner_measures_what_a_device_is_calibrated_by(tmp_path, monkeypatch):
    """The same runner and transport as `squeeze bench --target ssh:...`; the stand-in's times say nothing."""
    monkeypatch.setattr(micro, "PRODUCTS", micro.PRODUCTS[:1])
    monkeypatch.setattr(micro, "ENCODERS", micro.ENCODERS[:1])
    way = LocalTransport("board", stands.ABI, tmp_path / "device")
    with Session(way, stands.stand_in(tmp_path / "bundle"), Silent()) as session:

        def measure(subjects, settings, progress):
            assert settings.threads == 1
            return reach._there(session, subjects, settings, progress)

        result = module.calibrate("board", measure, Silent())
    assert result.environment["cpu"].startswith("Test Board")
    assert {each.length for each in result.samples} == set(micro.LENGTHS)
    assert all(each.ms == pytest.approx(1.01, abs=0.02) for each in result.samples)


@pytest.mark.parametrize("target", ["gpu", "qemu:cortex-a76", "estimate:pi4"])
def test_where_nothing_can_be_timed(target, capsys):
    assert main(["device", "calibrate", target]) == 2
    assert "not a target for this" in capsys.readouterr().err


def test_without_onnx_ir_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(MissingBackend, match="onnx_ir") as caught:
        module.calibrate("cpu", Device(), Silent())
    assert "squeeze-ondevice[train]" in caught.value.hint
