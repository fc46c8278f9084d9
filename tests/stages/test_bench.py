"""The bench stage on a tiny bundle."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from squeeze.errors import StageFailed
from squeeze.graphs import lean
from squeeze.graphs import teacher as graphs
from squeeze.models import conversion
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.stages.bench import teacher as bench_teacher
from squeeze.stages.bench.run import _settings, _teacher
from squeeze.stages.bench.stage import STAGE, BenchConfig, BenchResult
from squeeze.targets.measurement import MEASUREMENTS, Report
from tests import tiny_onnx as tiny
from tests.tiny import VOCABULARY, save_classifier
from tests.tiny import artifact as artifact_of

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


def teacher(folder, members=1):
    folder.mkdir()
    for index in range(members):
        save_classifier(folder / "members" / str(index), seed=index)
    return artifact_of(folder, "teacher", {})


def timed_with_teacher(folder, members=1, **section):
    (folder / "out").mkdir()
    work = Work(out=folder / "out", scratch=folder, cache=folder, threads=1, progress=Silent())
    config = BenchConfig.parse({"seed": 3, "bench": {**SECTION, **section}})
    inputs = {"bundle": tiny.bundle(folder / "bundle"), "teacher": teacher(folder / "teacher", members)}
    return STAGE.run(config, inputs, work)


def test_the_teacher_is_timed_in_turns_with_the_files(tmp_path, monkeypatch):
    exported = []

    def export(encoder, path, opset):  # the real one takes seconds; this file is slower than the bundle's
        exported.append(encoder)
        tiny.classifier(path, vocabulary=encoder.shape.vocabulary, hidden=128, layers=12)

    monkeypatch.setattr(lean, "export", export)
    result = timed_with_teacher(tmp_path, members=2)
    first = conversion.read(graphs._load(tmp_path / "teacher" / "members" / "0"))
    assert [each.shape for each in exported] == [first.shape]
    assert torch.equal(exported[0].head.output.weight, first.head.output.weight)
    timed = result.teacher
    assert (timed.runtime, timed.members, result.warnings) == ("fp32 ONNX", 2, ())
    assert not (tmp_path / "teacher.onnx").exists()
    report = Report.read(tmp_path / "out" / "teacher.json")
    assert [each.name for each in report.measurements] == ["teacher", "model.onnx", "model.int8.onnx"]
    assert timed.calls == report.measurements[0].runs == 20
    assert timed.p50_ms == report.measurements[0].p50
    assert timed.disturbed == report.comparisons[0].baseline_disturbed
    assert report.measurements[0].size_bytes == timed.size_bytes > 20_000
    assert list(timed.speedups) == ["fp32", "int8-dynamic"]
    for form, each in zip(timed.speedups, report.comparisons, strict=True):
        assert each.baseline == "teacher"
        assert each.interleaved
        assert timed.speedups[form].value == each.speedup > 1  # the teacher is the slower one
        assert timed.speedups[form].low == each.low
    assert BenchResult.parse(result.plain()) == result
    judged = Report.read(tmp_path / "out" / MEASUREMENTS)  # what the gate reads knows nothing of it
    assert [each.name for each in judged.measurements] == ["model.onnx", "model.int8.onnx"]


def test_a_teacher_without_an_onnx_file_is_timed_in_pytorch(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "MOST_BYTES", 0)
    monkeypatch.setattr(graphs, "_call_ms", lambda model, length, batch, generator: float(length))
    monkeypatch.setattr(bench_teacher, "preemptions", itertools.count(step=6).__next__)  # of 20 calls
    result = timed_with_teacher(tmp_path, sequence=7)
    timed = result.teacher
    assert timed.disturbed
    assert (timed.runtime, timed.calls, timed.p50_ms.value, timed.p95_ms.value) == ("PyTorch", 20, 7.0, 7.0)
    weights = tmp_path / "teacher" / "members" / "0" / "model.safetensors"
    assert timed.size_bytes == weights.stat().st_size
    fast = result.measurements[1]
    assert timed.speedups["int8-dynamic"].value == pytest.approx(7.0 / fast.p50.value)
    assert timed.speedups["int8-dynamic"].low is None


def test_a_teacher_is_not_exported_without_the_memory_for_it(tmp_path, monkeypatch):
    folder = save_classifier(tmp_path / "member")
    size = graphs.weight_bytes(folder)
    monkeypatch.setattr(lean, "export", lambda *_: None)
    for free, expected in ((6 * size - 1, None), (6 * size, VOCABULARY)):
        monkeypatch.setattr(graphs, "usable_memory", lambda free=free: free)
        assert graphs.export(folder, tmp_path / "teacher.onnx") == expected


def test_calls_in_pytorch_run_the_teacher(tmp_path, monkeypatch):
    model, seen = graphs._load(save_classifier(tmp_path)), []
    model.register_forward_hook(lambda module, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    monkeypatch.setattr(graphs, "_load", lambda _: model)
    threads = torch.get_num_threads()
    found = graphs.calls_ms(tmp_path, [5, 9], batch=2, threads=1, seed=0)
    assert len(found) == 2
    assert min(found) > 0
    assert [tuple(each["input_ids"].shape) for each in seen] == [(2, 5), (2, 5), (2, 9), (2, 9)]
    assert torch.get_num_threads() == threads


def test_a_teacher_that_cannot_be_timed_ends_no_run(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise StageFailed("teacher.onnx: no answer")

    monkeypatch.setattr(graphs, "export", broken)
    result = timed_with_teacher(tmp_path)
    assert result.teacher is None
    assert result.warnings == ("the teacher was not timed: teacher.onnx: no answer",)
    assert len(result.measurements) == 2


@pytest.mark.parametrize("section", [{"teacher": False}, {"targets": ("gpu",)}, {}])
def test_a_teacher_is_timed_on_the_cpu_where_it_is_asked_for(section, tmp_path):
    folders = Work(out=tmp_path, scratch=tmp_path, cache=tmp_path)
    inputs = {"teacher": teacher(tmp_path / "teacher", members=0)} if section else {}
    plain = {key: value for key, value in SECTION.items() if key != "threads"}  # a GPU alone takes none
    config = BenchConfig.parse({"seed": 3, "bench": {**plain, **section}})
    assert _teacher([], [], config, inputs, folders) == (None, ())


def test_a_teacher_that_the_exporter_refuses_has_no_onnx_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise torch.onnx.OnnxExporterError("no such operator")

    folder = save_classifier(tmp_path / "member")
    monkeypatch.setattr(lean, "export", refuse)
    assert graphs.export(folder, tmp_path / "teacher.onnx") is None
