"""What the page shows of emulated cores, other formats and several targets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from squeeze import pipeline
from squeeze.progress import Silent
from squeeze.report.evidence import gather
from squeeze.report.page import to_html
from squeeze.stages.export.stage import FormatResult
from squeeze.targets.devices.results import Difference, Functional
from tests import finished_run
from tests.report import page_checks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run = finished_run.make(tmp_path_factory.mktemp("runs") / "demo")
    return gather("demo", pipeline.open_stages(run), Silent())


def drawn(found):
    page = page_checks.read(to_html([found]))
    assert page.problems == []
    return page.text


def test_without_them_the_page_is_silent(found):
    text = drawn(found)
    assert "emulated core" not in text
    assert "openvino" not in text


def test_emulated_cores_and_other_formats(found):
    difference = Difference(output="logits", largest=1.5e-7, scale=2.0, unequal=3, values=24)
    check = Functional(
        target="qemu:cortex-a53",
        name="model.onnx",
        file="model.onnx",
        sha256="0" * 64,
        onnxruntime="1",
        feeds=8,
        limit=1e-5,
        differences=(difference,),
    )
    parity = found.export.forms["fp32"].parity.model_copy(update={"agreement": 0.5})
    other = FormatResult(
        files=("openvino/model.xml", "openvino/model.bin"),
        size_bytes=4_560_000,
        length=64,
        libraries={"openvino": "1"},
        parity=parity,
    )
    elsewhere = FormatResult(
        files=("coreml/a",), size_bytes=1, length=64, libraries={}, unchecked="runs on macOS only"
    )
    formats = {"openvino": other, "coreml": elsewhere}
    export = found.export.model_copy(update={"checks": (check,), "formats": formats})
    text = drawn(replace(found, export=export))
    assert "cortex-a53" in text
    assert "1.5e-07" in text
    assert "7.5e-08 of 1e-05" in text
    assert "3 of 24" in text
    assert "openvino/model.xml, openvino/model.bin" in text
    assert "4.56" in text
    assert "50.00" in text
    assert "not checked: runs on macOS only" in text


def test_targets_are_drawn_one_by_one(found):
    here = found.bench.measurements
    there = tuple(
        each.model_copy(
            update={
                "target": "ssh:pi@board",
                "name": f"{each.name} on ssh:pi@board",
                "environment": {**each.environment, "cpu": "Test Board"},
            }
        )
        for each in here
    )
    bench = found.bench.model_copy(update={"measurements": (*here, *there)})
    text = drawn(replace(found, bench=bench))
    assert "Test CPU (cpu)" in text
    assert "Test Board (ssh:pi@board)" in text
    assert text.count("All files ran in turns.") == 2
    assert text.count("is 1.60 times as fast as") == 1
