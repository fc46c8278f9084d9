"""Sweeps of tiny models, in real processes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from squeeze.cli import main
from squeeze.errors import DataError, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.sweeping import cold as starting
from squeeze.sweeping import grid
from squeeze.sweeping.cold import cold
from squeeze.sweeping.formats import markdown
from squeeze.sweeping.options import SweepOptions, places
from squeeze.sweeping.records import Place, Start, SweepReport
from squeeze.sweeping.texts import builtin, checked, time_texts
from squeeze.targets import cpu, pages
from squeeze.targets.cold import STEPS
from squeeze.targets.process import ask
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.labelled import predict
from tests.measured import measurement

QUICK = SweepOptions(passes=2, min_runs=20, min_seconds=0.0, max_seconds=20.0, repeats=2)
TIMED = ["--min-runs", "80", "--seconds", "0"]
WORDS = [*TIMED, "--passes", "1", "--repeats", "1"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "b").path


def lengthy(path: Path) -> Path:
    """A model with 8 positions: longer texts have no sum."""
    import numpy as np
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", 2])]
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["count"], start=1, end=2),
        helper.make_node("Squeeze", ["count"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["positions"]),
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Add", ["words", "positions"], ["logits"]),
    ]
    weights = {
        "zero": np.array(0, dtype=np.int64),
        "one": np.array(1, dtype=np.int64),
        "table": np.ones((8, 2), dtype=np.float32),
    }
    return tiny.save(path, nodes, inputs, outputs, weights)


def test_every_point_is_measured_in_every_walk(bundle, monkeypatch):
    (subject,) = find(bundle)
    options = QUICK.model_copy(update={"batch": (1, 2), "sequence": (4,)})
    asked = []
    one = {**measurement().environment, "load_average": 0.0, "usable_cores": 1, "governor": None}

    def once(subject, place, options, walk, measure):
        asked.append(place)
        return measurement(batch=place.batch, environment=one)

    monkeypatch.setattr(grid, "_once", once)

    order = places(options, subject)
    found = grid.sweep(subject, order, options.model_copy(update={"passes": 8}), cpu.measure, Silent())
    assert Counter(asked) == dict.fromkeys(order, 8)
    walks = [tuple(asked[start : start + len(order)]) for start in range(0, len(asked), len(order))]
    assert all(set(walk) == set(order) for walk in walks)
    assert len(set(walks)) > 1  # in random order
    assert [point.place for point in found] == list(order)


def test_a_real_grid(bundle):
    (subject,) = find(bundle)
    options = QUICK.model_copy(update={"batch": (1, 3), "sequence": (4,)})
    found = grid.sweep(subject, places(options, subject), options, cpu.measure, Silent())
    assert [(each.place.batch, each.place.sequence) for each in found] == [
        (1, 4),
        (1, None),
        (3, 4),
        (3, None),
    ]
    for point in found:
        assert point.error is None
        assert point.measurement is not None
        assert point.measurement.batch == point.place.batch
        assert len(point.measurement.blocks()) == 2
        assert point.measurement.runs >= 20
    fixed, own = (point.measurement.sequence for point in found[:2] if point.measurement)
    assert fixed is not None
    assert own is not None
    assert 3 <= own.minimum < own.maximum <= 9
    assert (fixed.minimum, fixed.maximum) == (4, 4)


def test_an_impossible_length_is_a_row_with_its_error(tmp_path):
    (subject,) = find(lengthy(tmp_path / "m.onnx"))
    options = QUICK.model_copy(update={"batch": (1,), "sequence": (8, 9)})
    possible, not_so = grid.sweep(subject, places(options, subject), options, cpu.measure, Silent())
    assert possible.measurement is not None
    assert not_so.measurement is None
    assert not_so.error is not None
    assert "cannot be run by ONNX Runtime" in not_so.error
    assert "\n" not in not_so.error
    with pytest.raises(StageFailed, match="cannot be run"):
        grid.sweep(subject, [not_so.place], options, cpu.measure, Silent())


def test_a_model_of_one_length_takes_no_other(tmp_path):
    (subject,) = find(tiny.classifier(tmp_path / "m.onnx", shape=(1, 6)))
    own, other = Place(threads=1, batch=1), Place(threads=1, batch=1, sequence=4)
    found = grid.sweep(subject, [own, other], QUICK, cpu.measure, Silent())
    assert found[0].measurement is not None
    assert found[1].error is not None
    assert found[1].error == "seq 4 does not fit input_ids, whose length is fixed: [1, 6]"


def test_two_threads_have_an_efficiency(bundle):
    if usable_cores() < 2:
        pytest.skip("one core only")
    (subject,) = find(bundle)
    options = QUICK.model_copy(update={"threads": (1, 2), "batch": (1,), "sequence": (4,)})
    found = grid.sweep(
        subject, [Place(threads=n, batch=1, sequence=4) for n in (1, 2)], options, cpu.measure, Silent()
    )
    assert found[0].efficiency is None
    assert found[1].efficiency is not None
    assert found[1].efficiency.value > 0


@pytest.mark.parametrize("whole", [True, False])
def test_starts_add_up(whole, bundle):
    (subject,) = find(bundle if whole else bundle / "model.onnx")
    found = cold(subject, "the river rises", QUICK, Silent())
    states = Counter(each.state for each in found.starts)
    assert states == ({"cold": 2, "warm": 2} if pages.can_drop() else {"warm": 2})
    assert found.files == (("model.int8.onnx", "tokenizer.json") if whole else ("model.onnx",))
    for each in found.starts:
        assert tuple(each.steps_ms) == STEPS
        assert all(ms >= 0 for ms in each.steps_ms.values())
        assert each.total_ms == pytest.approx(sum(each.steps_ms.values()))
        assert each.steps_ms["process"] > 1
        assert (each.steps_ms["tokenizer"] > 0.1) == whole
    warm = next(each for each in found.starts if each.state == "warm")
    if pages.can_drop():
        assert warm.resident_bytes == found.file_bytes


def test_pages_that_stayed_are_told(tmp_path):
    (tmp_path / "m").write_bytes(b"1" * 1000)
    steps = dict.fromkeys(STEPS, 1.0)

    def start(state, ms, held):
        return Start(state=state, steps_ms={**steps, "load": ms}, resident_bytes=held)

    pairs = [
        start("cold", 5.0, 900),
        start("warm", 1.0, 1000),
        start("warm", 1.0, 1000),
        start("cold", 7.0, 0),
    ]
    found = starting.summary([tmp_path / "m"], pairs, 0.95)
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx((10 / 6 + 12 / 6) / 2)
    assert found.figures["cold"]["total"].value == 11.0
    (note,) = found.notes
    assert "stayed in the page cache before 1 of 2 cold starts" in note
    alone = starting.summary([tmp_path / "m"], pairs[1:3], 0.95)
    assert alone.ratio is None
    assert "warm starts only" in alone.notes[0]


def test_texts_to_labels(bundle):
    (subject,) = find(bundle)
    texts = ["the river rises now", "Smoke burns", "quiet street", "river " * 9]
    found = time_texts(subject, texts, "mine", QUICK, Silent())
    assert (found.texts, found.cut, sum(found.labels.values())) == (4, 1, 4)
    assert set(found.labels) <= set(tiny.LABELS)
    assert found.runs >= 20
    assert (found.sequence.minimum, found.sequence.maximum) == (2, 8)
    parts = [found.samples_ms[step] for step in ("tokenize", "run", "label")]
    assert all(len(part) == found.runs and min(part) > 0 for part in parts)
    assert found.tokenizer_share == pytest.approx(sum(parts[0]) / sum(map(sum, parts)))
    assert found.figures["total"]["p50"].value > found.figures["run"]["p50"].value


def test_texts_get_the_labels_that_predict_gives(bundle):

    texts = ["the river rises now", "Smoke burns", "quiet street", "burns now"]
    (subject,) = find(bundle)
    found = time_texts(subject, texts, "mine", QUICK, Silent())
    assert found.labels == Counter(answer.label for answer in predict(bundle, texts))


def test_texts_need_a_bundle(bundle):
    (subject,) = find(bundle / "model.onnx")
    with pytest.raises(UsageError, match="--texts needs a bundle"):
        time_texts(subject, ["a"], "mine", QUICK, Silent())


def test_a_bundle_whose_parts_do_not_fit(tmp_path):
    folder = tiny.fill_bundle(tmp_path / "b", labels=4)
    (folder / "labels.json").write_text('{"labels": ["a", "b"], "max_length": 8}')
    (subject,) = find(folder)
    with pytest.raises(StageFailed, match=r"gives 4 outputs, labels\.json has 2 labels"):
        time_texts(subject, ["river", "smoke", "now", "burns", "quiet"], "mine", QUICK, Silent())


@pytest.mark.parametrize(
    ("texts", "told"),
    [([], "no texts"), (["a", " "], "line 2 is empty"), (["a\udcff"], "line 1 is not UTF-8")],
)
def test_texts_that_cannot_be_answered(texts, told):
    with pytest.raises(DataError, match=f"mine: {told}"):
        checked(texts, "mine")


def test_builtin_texts_are_of_several_lengths():
    texts = checked(builtin(), "builtin")
    assert len(set(texts)) == len(texts) >= 20
    assert min(map(len, texts)) < 10 < 190 < max(map(len, texts))


def test_a_missing_model_is_told(tmp_path):
    (subject,) = find(tiny.classifier(tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").unlink()
    request = {"role": "cold", "models": [{"path": str(subject.path), "bound": 5}], "cores": []}
    more = {
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "spinning": True,
        "spawned_ns": 0,
        "bundle": None,
    }
    with pytest.raises(UsageError, match="no such file"):
        ask({**request, **more}, 60)


def test_the_command_writes_one_document(bundle, tmp_path, capsys):
    target = tmp_path / "sweep.md"
    words = [
        "sweep",
        str(bundle),
        "--batch",
        "1,2",
        "--seq",
        "4",
        *WORDS,
        "--markdown",
        str(target),
        "--json",
    ]
    assert main([*words, "--cold", "--texts", "builtin", "--limit", "p95=1s"]) == 0
    (tmp_path / "sweep.json").write_text(capsys.readouterr().out)
    report = SweepReport.read(tmp_path / "sweep.json")
    assert len(report.points) == 4
    assert report.choice is not None
    assert report.choice.best in [point.place for point in report.points]
    assert report.cold is not None
    assert report.texts is not None
    assert target.read_text() == markdown(report)
    for heading in ("| threads |", "| start, ms |", "| text to label, ms |", "p95 at most 1000 ms"):
        assert heading in target.read_text()
    (tmp_path / "sweep.json").write_text(json.dumps({"kind": "bench-report"}))
    with pytest.raises(UsageError, match="not a sweep report of version 1"):
        SweepReport.read(tmp_path / "sweep.json")
    with pytest.raises(UsageError, match="cannot be read"):
        SweepReport.read(tmp_path / "none.json")


def test_cold_and_texts_leave_the_grid_out(bundle, tmp_path, capsys):
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbfthe river\r\nsmoke now\r\n")
    assert main(["sweep", str(bundle), "--texts", str(tmp_path / "texts.txt"), *TIMED]) == 0
    out = capsys.readouterr().out
    assert "2 texts (texts.txt), 2 to 2 tokens" in out
    assert "| threads |" not in out


def test_no_point_keeps_an_impossible_limit(bundle, capsys):
    words = ["sweep", str(bundle), "--batch", "1", "--seq", "own", "--min-runs", "80", "--seconds", "0"]
    code = main([*words, "--passes", "1", "--limit", "p50=0.00001ms"])
    out = capsys.readouterr().out
    assert "**none** of 1 points" in out
    assert (code, "all are too slow" in out) in ((1, True), (5, False))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.onnx"], "none.onnx: no such file or folder"),
        (["none.onnx", "--threads", "512"], "--threads: 512: this process may use"),
        (["none.onnx", "--batch", "0"], "--batch '0': not numbers"),
        (["none.onnx", "--limit", "size=1MB"], "no figure is called size"),
        (["none.onnx", "--form", "all"], "a sweep is of one model"),
        (["none.onnx", "--passes", "0"], "--passes: "),
        (["none.onnx", "--texts", "none.txt"], "none.txt: No such file"),
        (["none.onnx", "--markdown", "."], ".: is a folder"),
    ],
)
def test_wrong_usage_is_one_line(words, told, capsys):
    assert main(["sweep", *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
