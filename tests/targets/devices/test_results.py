"""The kind of a result decides what can be said about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from squeeze.bench import BenchReport
from squeeze.targets.devices.formats import functional
from squeeze.targets.devices.results import Difference, Estimated, Functional, FunctionalReport, Result
from squeeze.targets.measurement import Measurement
from tests.measured import measurement

SAME = Difference(output="logits", largest=0.0, scale=2.0, unequal=0, values=6)
RAN = Functional(
    target="qemu:cortex-a76",
    name="model.onnx",
    file="model.onnx",
    sha256="0" * 64,
    onnxruntime="1.32.0",
    feeds=2,
    limit=1e-5,
    differences=(SAME,),
)
GUESSED: dict[str, Any] = {
    "target": "estimate:pixel8",
    "name": "m",
    "sha256": "0" * 64,
    "mid_ms": 2.0,
    "source": "table, row pixel8",
}


def test_each_kind_is_read_as_itself():
    known = (measurement(), RAN, Estimated(low_ms=1.0, high_ms=3.0, **GUESSED))
    for result in known:
        read = TypeAdapter(Result).validate_json(json.dumps(result.plain()))
        assert type(read) is type(result)
        assert read == result


@pytest.mark.parametrize("kind", [Functional, Estimated])
def test_what_was_not_measured_has_no_figure_of_a_measurement(kind):
    of_time = {name for name in Measurement.model_fields if name.endswith("_ms") or name.startswith("p")}
    assert {"p50", "load_ms", "samples_ms"} <= of_time
    assert of_time & set(kind.model_fields) == set()


@pytest.mark.parametrize("result", [RAN, Estimated(low_ms=1.0, high_ms=3.0, **GUESSED)])
def test_a_report_of_measurements_takes_nothing_else(result):
    with pytest.raises(ValidationError, match="measured"):
        BenchReport.parse({"version": 1, "measurements": [result.plain()]})
    with pytest.raises(ValidationError):
        BenchReport(measurements=(result,))


def test_a_kind_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        setattr(RAN, "kind", "measured")  # noqa: B010 - mypy refuses the plain assignment
    with pytest.raises(ValidationError, match="functional"):
        Functional.parse({**RAN.plain(), "kind": "measured"})


@pytest.mark.parametrize(("low", "high"), [(2.0, 2.0), (3.0, 2.0), (0.0, 3.0), (1.0, 2.0), (2.0, 3.0)])
def test_an_estimate_is_an_interval(low, high):
    with pytest.raises(ValidationError):
        Estimated(low_ms=low, high_ms=high, **GUESSED)


def test_an_estimate_has_a_source():
    with pytest.raises(ValidationError, match="source"):
        Estimated(low_ms=1.0, high_ms=3.0, **{**GUESSED, "source": ""})


def test_a_functional_table_says_what_it_is():
    text = functional(FunctionalReport(results=(RAN,)))
    assert "| `model.onnx` | logits | 0 | 0 (limit 1e-05) | 0 of 6 |" in text
    assert "nothing about how fast" in text
    assert " ms" not in text


def test_equal_means_every_bit():
    assert RAN.equal
    assert not RAN.model_copy(update={"differences": (SAME, SAME.model_copy(update={"unequal": 1}))}).equal


def test_a_share_of_nothing():
    assert Difference(output="x", largest=0.0, scale=0.0, unequal=0, values=1).share == 0
    assert Difference(output="x", largest=1e-9, scale=0.0, unequal=1, values=1).share == 1
