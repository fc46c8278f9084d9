"""Quality against size and latency: artefacts that are asked, fronts, the bar, the report and the drawing."""

from __future__ import annotations

import importlib
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from benchmarks import front, front_files
from benchmarks.environments import Worker, environments
from benchmarks.front import BESIDE, PINS, Work, f1_difference, measured, opened
from benchmarks.front_figures import figure
from benchmarks.front_files import TEXT_WAYS, Entry, also, of_peers, of_text_models, of_trained
from benchmarks.front_section import artefacts, fronts
from benchmarks.pareto import Point, bar, dominates, winners
from benchmarks.pareto import front as front_of
from benchmarks.peer_files import OLIVE, OPTIMUM, SCRIPTS, SQUEEZE, WAYS, Contestant, Subject
from squeeze.data.dataset import Split
from squeeze.errors import MissingBackend, StageFailed, UsageError

WORKER = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import numpy as np
import serving
from serving import Model, serve

clock = [0.0]
serving.time.perf_counter = lambda: clock[0]

def open_model(path, length):
    pause, flips = path.rsplit("/", 1)[1].removesuffix(".onnx").split("-")

    def cut(text):
        clock[0] += 1e-3
        return {{"input_ids": np.array([[int(text)]])}}

    def run(feed):
        clock[0] += float(pause) / 1e3
        first = int(feed["input_ids"][0, 0])
        return np.eye(2, dtype=np.float32)[[first % 2 ^ (first < int(flips))]]

    return Model(["input_ids"], run, None if pause == "9" else cut)

serve(open_model)
"""
TEXTS = tuple(map(str, range(10)))
WORK = Work(
    {"test": Split(TEXTS, np.arange(10) % 2), "out_of_event": Split(TEXTS[:4], np.zeros(4, dtype=np.int64))},
    TEXTS,
    labels=2,
    longest=8,
)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "worker.py"
    script.write_text(WORKER)
    return [sys.executable, script]


def entry(folder, name, pause, flips=0, place="b", size=5, training="none"):
    path = folder / name / f"{pause}-{flips}.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1" * size)
    return Entry(Contestant(name, place, path), training)


@pytest.fixture(scope="module")
def record(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts")
    entries = [
        entry(folder, "teacher fp32", 8, place=SQUEEZE, size=900),
        entry(folder, BESIDE, 2, flips=1, place=SQUEEZE, size=100, training="distilled"),
        entry(folder, "theirs", 7, size=400),
        entry(folder, "cheap", 0.5, flips=5, size=10, training="labels"),
    ]
    with Worker(command, {}) as first, Worker(command, {}) as second:
        found = measured(entries, {SQUEEZE: first, "b": second}, WORK, blocks=6, seed=0)
    failed = {"broken": {"runtime": "b", "failed": "status 1 (a | b)"}}
    head = {"set": "s", "seed": 0, "rows": {"test": 10, "out_of_event": 4}, "blocks": 6, "texts": 10}
    return {**head, "beside": BESIDE, "peers": {"b": {"tool": "1.0"}}, "artefacts": {**found, **failed}}


def test_artefacts_answer_the_tests_and_are_timed_in_turns(record):
    found = record["artefacts"]
    assert found["teacher fp32"]["macro_f1"] == {"test": 1.0, "out_of_event": pytest.approx(1 / 3)}
    assert found["teacher fp32"]["loyalty"] == 1.0
    assert found["cheap"]["loyalty"] == 0.5
    assert (found["theirs"]["ms"], found["theirs"]["text_ms"]) == (pytest.approx(7), pytest.approx(8))
    assert found["theirs"]["against"]["value"] == pytest.approx(3.5)
    assert found["theirs"]["text_against"]["value"] == pytest.approx(8 / 3)
    assert found["theirs"]["bytes"] == 400
    assert found[BESIDE]["f1_above"] == {"value": 0, "low": 0, "high": 0}
    above = found["theirs"]["f1_above"]
    assert above["low"] <= above["value"] <= above["high"]
    assert above["value"] == pytest.approx(1 - found[BESIDE]["macro_f1"]["test"])


def test_the_same_draws_of_rows_make_an_interval():
    right, wrong = np.arange(10) % 2, 1 - np.arange(10) % 2
    found = f1_difference(right, wrong, WORK, seed=0)
    assert found["value"] == 1.0
    assert found["low"] > 0
    assert found == f1_difference(right, wrong, WORK, seed=0)


def test_a_text_is_cut_by_the_tokenizer_that_a_model_is_given(tmp_path):
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(SCRIPTS)!r})\nimport numpy as np\n"
        "from serving import Model, serve\n"
        "run = lambda feed: np.eye(9)[[feed['input_ids'].sum()]]\n"
        "serve(lambda path, length: Model(['input_ids'], run))\n"
    )
    with Worker([sys.executable, script], {}) as worker:
        worker.ask("open", "m", path="", length=None)
        worker.ask("read", "m", tokenizer=str(tmp_path / "tokenizer.json"), longest=3)
        assert worker.ask("label_text", "m", texts=["a", "a b", "b b b b b", "c"])["labels"] == [1, 3, 6, 0]
        timed = worker.ask("time_text", "m", texts=["a", "b"], lead=1)
        assert [len(timed[key]) for key in ("ms", "text_ms")] == [2, 2]


def test_what_cannot_answer_is_a_row_with_its_error(command, tmp_path, monkeypatch):
    def worker(place, pythons):
        if place not in pythons:
            raise StageFailed(f"no {place}")
        return Worker(command, {})

    monkeypatch.setattr(front, "worker", worker)
    good, mute = entry(tmp_path, "good", 2), entry(tmp_path, "mute", 9)
    usable, failed = opened([good, mute], WORK, {"b": Path(sys.executable)})
    assert usable == [good]
    assert re.fullmatch(r"mute: the process ended with status 1 \(AssertionError\)", failed["mute"]["failed"])


FAILS = """
import sys
if sys.argv[1] not in ("export", "fp32"):
    raise ValueError("no such operator")
open(sys.argv[3] + "/model.onnx", "w").close()
"""


def test_a_peer_whose_script_raises_or_that_has_no_environment_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peer_files.SCRIPTS", tmp_path)
    (tmp_path / f"make_{OPTIMUM}.py").write_text(FAILS)
    source = tmp_path / "source"
    source.mkdir()
    graph = tmp_path / "teacher" / "model.onnx"
    graph.parent.mkdir()
    teacher = Subject("teacher", graph, source, 10, [[1]], [[1]])
    found, failed = of_peers(teacher, {OPTIMUM: Path(sys.executable)})
    assert [each.file.name for each in found] == ["ONNX Runtime fp32"]
    assert failed["quantize_dynamic"]["failed"].endswith("(ValueError: no such operator)")
    assert failed["Olive dynamic"] == {
        "runtime": OLIVE,
        "failed": "its environment could not be made: olive",
    }
    assert {*failed, found[0].file.name} == {name for name, way in WAYS.items() if not way.fixed}


def test_a_text_model_whose_script_raises_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(front_files, "SCRIPTS", tmp_path)
    (tmp_path / "make_sklearn.py").write_text(
        "import json, sys\nfrom pathlib import Path\n"
        "known = json.loads(Path(sys.argv[4]).read_text())\n"
        "Path(sys.argv[3], 'model').write_text(known['train']['texts'][0])\n"
        "Path(sys.argv[3], 'tokenizer.json').write_text('12')\n"
    )
    (tmp_path / "make_model2vec.py").write_text("raise ValueError('too small')\n")
    split = Split(("five!",), np.array([0]))
    pythons = {place: Path(sys.executable) for place in ("sklearn", "model2vec")}
    found, failed = of_text_models(split, split, {"teacher": tmp_path}, tmp_path / "cheap", pythons)
    assert [(each.bytes, each.tokenizer_bytes, each.training) for each in found] == [(5, 2, "labels")]
    assert {each["failed"] for each in failed.values()} == {
        "the process ended with status 1 (ValueError: too small)"
    }
    assert {*failed, found[0].file.name} == set(TEXT_WAYS)
    _, failed = of_text_models(split, split, {}, tmp_path / "none", {})
    assert failed["TF-IDF + logistic regression"]["failed"] == "its environment could not be made: sklearn"


def test_environments_that_cannot_be_made_are_named(tmp_path, monkeypatch):
    def environment(folder, pins):
        if pins.stem == "bad":
            raise MissingBackend("no index")
        return folder / "bin" / "python"

    monkeypatch.setattr("benchmarks.environments.environment", environment)
    made, failed = environments(tmp_path, [Path("good.txt"), Path("bad.txt")])
    assert (made, failed) == ({"good": tmp_path / "good" / "bin" / "python"}, {"bad": "no index"})


@pytest.mark.parametrize(
    ("given", "said"),
    [(["T"], "no folder"), (["T="], "no folder"), (["=f"], "no name"), (["T=f", "T=g"], "T is given twice")],
)
def test_students_of_other_tools_have_a_name_each(given, said):
    assert also(["T=f", "U=a=b"]) == {"T": Path("f"), "U": Path("a=b")}
    with pytest.raises(UsageError, match=said):
        also(given)


def test_students_of_other_tools_are_exported_and_rounded_as_their_users_would(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peer_files.SCRIPTS", tmp_path)
    (tmp_path / f"make_{OPTIMUM}.py").write_text(
        FAILS.replace('("export", "fp32")', '("export", "fp32", "dynamic")')
    )
    source = tmp_path / "student"
    source.mkdir()
    (source / "tokenizer.json").write_text("12")
    (source / "config.json").write_text("{}")
    teacher = Subject("teacher", tmp_path / "model.onnx", tmp_path, 10, [[1]], [[1]])
    pythons = {OPTIMUM: Path(sys.executable)}
    found, failed = of_trained({"T": source, "U": source, "V": tmp_path}, teacher, tmp_path / "work", pythons)
    names = [f"{name}, {tool}" for name in "TU" for tool in ("ONNX Runtime fp32", "quantize_dynamic")]
    assert [each.file.name for each in found] == names
    assert {(each.training, each.tokenizer_bytes, each.ours) for each in found} == {("theirs", 2, False)}
    assert set(failed) == {*(f"{name}, quantize_dynamic, reduced range" for name in "TU"), "V"}
    assert failed["V"]["failed"] == f"no config.json and no tokenizer.json in {tmp_path.name}"


def test_forms_of_a_bundle_are_counted_one_by_one(tmp_path):
    for name in ("model.onnx", "model.int8.onnx"):
        (tmp_path / name).write_text("1" * len(name))
    found = Entry(Contestant("m", SQUEEZE, tmp_path / "model.onnx"), "none", tmp_path / "tokenizer.json")
    assert (found.bytes, found.tokenizer_bytes) == (10, 0)


SMALL = Point("small", True, 0.80, 10, 2.0)
GOOD = Point("good", True, 0.90, 40, 8.0)


def test_fronts_hold_what_nothing_dominates():
    worse, cheap = Point("worse", False, 0.79, 11, 2.0), Point("cheap", False, 0.5, 1, 0.1)
    assert dominates(SMALL, worse)
    assert front_of([GOOD, worse, SMALL, cheap]) == [cheap, SMALL, GOOD]
    assert front_of([GOOD, replace(GOOD, name="twin", ms=9.0)], ["bytes"])[1:] != []
    assert winners([SMALL, GOOD, worse, cheap]) == []
    better = Point("better", False, 0.80, 9, 2.0)
    assert winners([SMALL, GOOD, better]) == [(SMALL, better)]


def test_the_bar_is_on_size_and_on_both_times():
    def theirs(name, alone, whole, size=40, f1=0.8):
        return Point(name, False, f1, size, whole, alone, whole)

    found = bar(
        SMALL,
        [
            GOOD,
            theirs("slow", 5, 4),
            theirs("fast", 4, 2.9),
            theirs("small", 9, 9, size=20),
            theirs("low", 1, 1, f1=0.7),
        ],
        faster=3,
        share=1 / 3,
    )
    assert [(each.point.name, each.fast, each.small) for each in found] == [
        ("fast", False, True),
        ("slow", True, True),
        ("small", True, False),
    ]


def test_the_report_says_in_words_what_is_on_the_front_and_what_is_beaten(record):
    lines = fronts(record)
    cells = {line.split(" | ")[0].strip("|* "): line for line in lines if line.startswith("| ")}
    assert cells["broken"].count("|") == cells["theirs"].count("|")
    assert "not made: status 1 (a / b)" in cells["broken"]
    assert cells["cheap"].endswith("| size, latency |")
    text = "\n".join(lines)
    assert f"- front by macro-F1 and size: cheap, **{BESIDE}**, theirs" in text
    assert "of those without training, front by macro-F1 and size: theirs" in text
    assert "theirs dominates **teacher fp32** (macro-F1, size, text to label): fail" in text
    assert (
        "theirs, 100.0: 3.50 times faster alone, 2.67 from text to label, 0.250 of its size: fail, not fast"
        in text
    )
    assert "of 1 artefacts of others of at least its macro-F1, 0 are beaten by that much" in text
    assert "results/front-s-size.svg" in text


def test_a_report_without_a_rival_or_with_a_beaten_one_says_so(record):
    found = {name: each for name, each in record["artefacts"].items() if name not in ("theirs", "broken")}
    assert "no artefact of others has the macro-F1 of" in "\n".join(fronts({**record, "artefacts": found}))
    slower = {key: {"value": 4.0, "low": 3.9, "high": 4.1} for key in ("against", "text_against")}
    theirs = {**record["artefacts"]["theirs"], **slower, "text_ms": 99.0, "bytes": 4000}
    lines = fronts({**record, "artefacts": {**found, "theirs": theirs}})
    assert any(line.endswith("4.00 from text to label, 0.0250 of its size: pass") for line in lines)
    assert any("no artefact of others dominates one of squeeze's front" in line for line in lines)


def test_a_drawing_marks_the_front(record, tmp_path):
    made = figure(record, "size")
    assert [each["name"] for each in made["points"]] == ["cheap", BESIDE, "theirs", "teacher fp32"]
    assert [each["front"] for each in made["points"]] == [True, True, True, False]
    assert made["points"][0]["cost"] == 10 / 1e6
    assert figure(record, "latency")["points"][0]["cost"] == pytest.approx(1.5)
    assert len(artefacts(record)) == 4


def test_a_drawing_is_the_same_file_again_and_holds_no_fonts(record, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="drawings have an environment of their own")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    draw_front = importlib.import_module("draw_front")  # it lies beside what other environments run
    for name in ("a.svg", "b.svg"):
        draw_front.draw(figure(record, "size"), tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "font-face" not in text
    assert {BESIDE, "theirs", "cheap"} <= set(ET.fromstring(text).itertext())


@pytest.mark.parametrize("place", [*PINS, "matplotlib"])
def test_every_package_is_pinned(place):
    lines = (SCRIPTS / f"{place}.txt").read_text().splitlines()
    pins = [line for line in lines if line and line[0] not in "#-"]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.+]*", line) for line in pins)
    names = [line.partition("==")[0] for line in pins]
    assert len(set(names)) == len(names)
    assert set(PINS.get(place, ())) <= set(names)


def test_every_way_of_a_text_model_is_one_that_its_script_knows():
    for way in TEXT_WAYS.values():
        assert f'"{way.making}"' in (SCRIPTS / f"make_{way.place}.py").read_text()
