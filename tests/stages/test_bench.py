"""The bench stage on a tiny bundle."""

from __future__ import annotations

import json

import pytest

from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.stages.bench.run import _settings
from squeeze.stages.bench.stage import STAGE, BenchConfig, BenchResult
from squeeze.targets.measurement import MEASUREMENTS, Report
from tests import tiny_onnx as tiny

SECTION = {"min_runs": 20, "min_seconds": 0.0, "max_seconds": 10.0, "starts": 1, "threads": 64}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "out"
    out.mkdir()
    work = Work(out=out, scratch=folder, cache=folder, threads=1, progress=Silent())
    config = BenchConfig.parse({"seed": 3, "bench": SECTION})
    return STAGE.run(config, {"bundle": tiny.bundle(folder / "bundle")}, work), out


def test_every_form_is_measured_on_the_lengths_of_the_bundle(done):
    result, _ = done
    assert [(each.name, each.form) for each in result.measurements] == [
        ("model.onnx", "fp32"),
        ("model.int8.onnx", "int8-dynamic"),
    ]
    for each in result.measurements:
        assert 3 <= each.sequence.minimum <= each.sequence.maximum <= 9
        assert each.tokenizer_bytes > 0
        assert each.environment["seed"] == 3


def test_samples_stand_in_the_file_and_not_in_the_manifest(done):
    result, out = done
    report = Report.read(out / MEASUREMENTS)
    assert all(len(each.samples_ms) == each.runs >= 20 for each in report.measurements)
    assert all(each.samples_ms == () for each in result.measurements)
    assert report.comparisons[0].interleaved
    assert json.loads((out / MEASUREMENTS).read_text())["version"] == 1


def test_the_result_survives_json(done):
    result, _ = done
    assert BenchResult.parse(result.plain()) == result


def test_a_long_run_does_not_end_for_want_of_cores(done):
    result, _ = done
    assert {each.threads for each in result.measurements} == {usable_cores()}
    assert all(
        any("64 threads were asked for" in note for note in each.notes) for each in result.measurements
    )


def test_settings_follow_the_profile():
    config = BenchConfig.parse({"seed": 7, "bench": {**SECTION, "threads": 1, "batch": 4, "sequence": 32}})
    settings = _settings(config)
    assert (settings.seed, settings.threads, settings.batch, settings.sequence) == (7, 1, 4, 32)
    assert (settings.min_runs, settings.min_seconds, settings.max_seconds, settings.starts) == (
        20,
        0.0,
        10.0,
        1,
    )
