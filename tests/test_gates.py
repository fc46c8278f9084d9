"""The gates before a run: `run` refuses what `plan` does, by the same line and code, and leaves no file."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.profile_mutations import document
from squeeze.cli import main
from tests import tiny

PHASE = {"name": "one", "epochs": 1, "losses": [{"name": "logit_mse"}]}
INSIDE = {"name": "one", "epochs": 1, "losses": [{"name": "hidden_mse"}]}
ROOT = Path(__file__).resolve().parent.parent


def rows(split: str, count: int = 24, label: str = "") -> str:
    lines = (f"{split} text {n},{label or tiny.LABELS[n % 2]}" for n in range(count))
    return "\n".join(["text,label", *lines]) + "\n"


def base() -> dict[str, Any]:
    """A profile that plans: text of its own for each split, a tiny classifier of the labels."""
    return {
        "name": "x",
        "task": {"labels": list(tiny.LABELS), "max_length": 32},
        "data": {split: f"{split}.csv" for split in ("train", "validation", "test")},
        "teacher": {"model": "./teacher"},
        "student": {"layers": 2},
        "distil": {"phases": [PHASE]},
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("models")
    tiny.save_classifier(home / "teacher")
    tiny.save_classifier(home / "named", labels=("a", "b"))
    tiny.save_classifier(home / "three", labels=("offer", "request", "other"))
    (home / "onnx").mkdir()
    (home / "onnx" / "model.onnx").touch()
    for name, change in (("gpt", {"model_type": "gpt2"}), ("number", {"problem_type": "regression"})):
        (home / name).mkdir()
        config = json.loads((home / "teacher" / "config.json").read_text())
        (home / name / "config.json").write_text(json.dumps({**config, **change}))
        (home / name / "model.safetensors").symlink_to(home / "teacher" / "model.safetensors")
    (home / "short").mkdir()
    (home / "short" / "config.json").symlink_to(home / "teacher" / "config.json")
    weights = (home / "teacher" / "model.safetensors").read_bytes()
    (home / "short" / "model.safetensors").write_bytes(weights[:-100])
    (home / "shards").mkdir()
    (home / "shards" / "config.json").symlink_to(home / "teacher" / "config.json")
    (home / "shards" / "model.safetensors.index.json").write_text('{"weight_map": {"w": "gone.safetensors"}}')
    tiny.save_classifier(home / "wordlevel")
    spec = tiny.spec()
    spec["model"] = {"type": "WordLevel", "vocab": spec["model"]["vocab"], "unk_token": "[UNK]"}
    (home / "wordlevel" / "tokenizer.json").write_text(json.dumps(spec))
    return home


@pytest.fixture
def home(models, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for path in models.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text(rows(split))
    (tmp_path / "one.csv").write_text(rows("one", label="offer"))
    (tmp_path / "link.csv").symlink_to("train.csv")
    (tmp_path / "strange.csv").write_text(rows("strange", label="ofer"))
    (tmp_path / "blank.csv").write_text("text,label\n,offer\n" + rows("x")[11:])
    (tmp_path / "columns.csv").write_text("txt,label\na,offer\n")
    return tmp_path


def put(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """One value put in; None takes it out."""

    def change(data: dict[str, Any]) -> None:
        *above, key = place.split(".")
        here: Any = data
        for step in above:
            here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
        here[int(key) if isinstance(here, list) else key] = value
        if value is None:
            del here[key]

    return change


def write(home: Path, *changes: Callable[[dict[str, Any]], None]) -> str:
    data = copy.deepcopy(base())
    for change in changes:
        change(data)
    (home / "x.toml").write_text(document(data))
    return "x.toml"


LOAD = [
    ([put("student.layers", 10**30)], "[student] layers: must be at most 1000"),
    ([put("data.test", "./train.csv")], "is the training text"),
    ([put("data.more_tests", {"Far": "a.csv"})], "[data.more_tests] Far: a test's name has"),
    ([put("teacher.model", "~nosuchuser/x")], "names no user of this machine"),
    ([put("distil.phases.0", {**INSIDE, "patience": 1})], "no loss of it trains the head"),
    ([put("distil.phases.0.losses.0", {"name": "topk_kd", "k": 3})], "topk_kd takes 3 labels, there are 2"),
    ([put("distil.phases.0.data", "unlabelled")], '"unlabelled" needs [data] unlabelled'),
    ([put("search", {"embedding": ["sparse"]})], "'sparse' is unknown"),
]
PLAN = [
    ([put("teacher.model", "./none")], "model {home}/none: no such folder", 2),
    ([put("teacher.model", "onnx/model.onnx")], "an ONNX file, not a folder", 2),
    ([put("teacher.model", "gone.onnx")], "model gone.onnx: an ONNX file, and there is no such file", 2),
    ([put("teacher.model", "train.csv")], "train.csv: a file, not a folder", 2),
    ([put("teacher.model", "openai:gpt")], "no source of models is called openai:", 2),
    ([put("teacher.model", "hf:org/model")], "no source of models is called hf:", 2),
    ([put("teacher.model", "builtin:none")], "no built-in model 'builtin:none'", 2),
    ([put("teacher.model", "onnx")], "no readable config.json", 2),
    ([put("teacher.model", "gpt")], "teacher family 'gpt2' is not supported", 2),
    (
        [put("teacher.model", "number")],
        "its head is made for regression, [task] problem_type is single_label_classification",
        2,
    ),
    ([put("teacher.model", "short")], "it ends early", 2),
    ([put("teacher.model", "shards")], "gone.safetensors: missing", 3),
    ([put("teacher.model", "named")], "its labels are 'a', 'b', the task's are 'offer', 'request'", 2),
    ([put("teacher.model", "three")], "its labels are 'offer', 'request', 'other'", 2),
    (
        [put("teacher.models", [{"model": "teacher"}, {"model": "gpt"}]), put("teacher.model", None)],
        "'gpt2'",
        2,
    ),
    ([put("student.layers", 4)], "[student] layers: 4, the teacher has 3", 2),
    ([put("student.layers", [0, 3])], "[student] layers: no layer 3, the teacher's go from 0 to 2", 2),
    ([put("student.heads", 5)], "[student] heads: 5 in layer 0, the teacher has 4", 2),
    ([put("student.ffn", 65)], "[student] ffn: 65 in layer 0, the teacher has 64", 2),
    ([put("student.head_size", 4)], "[student] head_size: 4, carved heads keep the teacher's 8", 2),
    ([put("student.hidden", 33)], "[student] hidden: 33, the teacher has 32", 2),
    ([put("student.embedding", {"kind": "product", "subvectors": 5})], "subvectors: 5 does not divide", 2),
    ([put("student.embedding", {"kind": "factorised", "rank": 33})], "rank: 33, the table is 32 wide", 2),
    ([put("student", {"init": "path", "path": "none"})], "none: not a student", 2),
    ([put("student.vocabulary.trim", True), put("teacher.model", "wordlevel")], "cannot be trimmed", 2),
    (
        [put("distil.phases.0.losses", [{"name": "relation_kl", "heads": 3}])],
        "relation_kl heads: 3 does not divide an attention width",
        2,
    ),
    (
        [put("student", {"init": "random", "layers": 4}), put("distil.phases.0", INSIDE)],
        "phase one, [student] layers: 4, the teacher has 3",
        2,
    ),
    ([put("prune", {"layers": 3})], "[prune] layers: 3, the model has 2", 2),
    ([put("prune", {"hidden": 32})], "[prune] hidden: 32, the model has 32", 2),
    ([put("prune", {"rank": 32})], "[prune] rank: 32, the table has 32", 2),
    ([put("prune", {"pieces": 10**6})], "[prune] pieces: 1000000, the model has", 2),
    ([put("quantize", {"keep": ["layers.7.*"]})], '[quantize] keep: "layers.7.*" is no product', 2),
    (
        [put("search", {"heads": [5, 9], "embedding": ["dense"]})],
        "[search] heads: 5, 9; the teacher has 4",
        2,
    ),
    (
        [put("search", {"layers": [2], "heads": [2], "ffn": [16], "embedding": ["product-5"]})],
        "subvectors: 5 does not divide the table's width 32",
        2,
    ),
    ([put("data.test", "none.csv")], "none.csv: no such file", 2),
    ([put("data.test", "test.xlsx")], "unknown ending '.xlsx'", 2),
    ([put("data.test", "link.csv")], "test: {home}/link.csv is the training file {home}/train.csv", 2),
    ([put("data.test", "strange.csv")], "unknown label 'ofer'", 2),
    ([put("data.train", "one.csv")], "all 24 rows with a known label have 'offer'", 2),
    ([put("data.validation", "blank.csv")], "empty text in row 2", 2),
    ([put("data.test", "columns.csv")], "no text column 'text'", 2),
]


def refused(command: str, path: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main([command, path])
    shown = capsys.readouterr()
    assert shown.out == ""
    return code, "\n".join(line for line in shown.err.splitlines() if line.startswith(("error:", "hint:")))


@pytest.mark.parametrize(("changes", "said"), LOAD, ids=[said for _, said in LOAD])
def test_what_the_profile_alone_shows_is_refused_by_every_command(changes, said, home, capsys):
    path = write(home, *changes)
    explained, planned, run = (refused(command, path, capsys) for command in ("explain", "plan", "run"))
    assert explained == planned == run
    assert (run[0], said in run[1]) == (2, True), run
    assert not (home / "runs").exists()


@pytest.mark.parametrize(("changes", "said", "code"), PLAN, ids=[said for _, said, _ in PLAN])
def test_what_plan_refuses_run_refuses_alike_and_leaves_no_file(changes, said, code, home, capsys):
    path = write(home, *changes)
    planned, run = (refused(command, path, capsys) for command in ("plan", "run"))
    assert planned == run
    assert (run[0], said.format(home=home) in run[1]) == (code, True), run
    assert not (home / "runs").exists()
    assert main(["explain", path]) == 0  # the profile alone is fine


def test_the_profile_that_all_of_them_change_plans(home, capsys):
    assert main(["plan", write(home)]) == 0
    assert "teacher  needs earlier" in capsys.readouterr().out


def test_plan_says_what_a_sample_shows(home, capsys):
    (home / "train.csv").write_text(rows("train", 1200))
    assert main(["plan", write(home), "--json"]) == 0
    (data, *_) = json.loads(capsys.readouterr().out)["steps"]
    few = "only 24 rows, one row moves accuracy by 4.2 points"
    assert data["warnings"] == [f"{s} ({home}/{s}.csv): {few}" for s in ("validation", "test")]
    bad = rows("train", 1200).replace("train text 7,request", "train text 7,reqest")
    (home / "train.csv").write_text(bad)
    assert main(["plan", "x.toml"]) == 2
    assert f"train ({home}/train.csv, first 1,000 rows): unknown label 'reqest'" in capsys.readouterr().err


def test_of_many_sources_few_rows_are_looked_at(home, capsys):
    more = {f"t{number}": f"t{number}.csv" for number in range(60)}
    for name in more:
        (home / f"{name}.csv").write_text(rows(name, 300))
    assert main(["plan", write(home, put("data.more_tests", more))]) == 0
    (home / "t9.csv").write_text(rows("t9", 100, "offer") + rows("t9", 300, "other")[11:])
    assert main(["plan", "x.toml"]) == 2
    assert "t9.csv, first 126 rows): unknown label 'other'" in capsys.readouterr().err


def test_what_only_the_hub_knows_is_left_to_the_run(home, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    hub = write(home, put("teacher.model", "org/model"), put("data.unlabelled", ["hf:org/set"]))
    assert main(["plan", hub, "--json"]) == 0
    steps = {step["stage"]: step for step in json.loads(capsys.readouterr().out)["steps"]}
    assert steps["data"]["why"] == "hf:org/set: not downloaded yet, it is checked when it is"
    assert steps["data"]["warnings"][0] == "unlabelled (hf:org/set): looked at in the run only"
    assert steps["teacher"]["warnings"] == ["model org/model: not downloaded yet, it is checked when it is"]
    assert not (home / "hub").exists()


def test_a_table_of_codes_that_saves_nothing_is_warned_of(home, capsys):
    path = write(home, put("student.embedding", {"kind": "product", "subvectors": 32}))
    assert main(["plan", path]) == 0
    sizes = "0.01 MB in int8, a dense one 0.00 MB"
    said = f"warning: distil: [student.embedding] subvectors: with 32 codes a piece the table has {sizes}"
    assert said in capsys.readouterr().err


def test_an_earlier_student_has_the_pieces_of_this_profile(home, capsys):
    from squeeze.models.storage import save_student

    layers = tiny.shape().layers[:2]
    save_student(home / "student", tiny.encoder(layers=layers, positions=32, vocabulary=50))
    path = write(home, put("student", {"init": "path", "path": "student"}))
    assert main(["plan", path]) == 2
    assert "student has 50 pieces, this profile's vocabulary has" in capsys.readouterr().err
    data = {"init": "path", "path": "student", "vocabulary": {"trim": True}}
    assert main(["plan", write(home, put("student", data))]) == 0
    (home / "student" / "student.safetensors").write_bytes(b"")
    assert main(["plan", path]) == 2
    assert "student.safetensors: not a readable safetensors file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["init = path", "prune", "quantize", "search"])
def test_stages_that_change_a_student_plan(kind, home):
    from squeeze.models.storage import save_student

    save_student(home / "student", tiny.encoder(layers=tiny.shape().layers[:2], positions=32))
    changes = {
        "init = path": [put("student", {"init": "path", "path": "student"})],
        "prune": [put("prune", {"share": 0.5, "pieces": 60}), put("distil", None)],
        "quantize": [put("quantize", {"against": "student", "keep": ["*.up"]})],
        "search": [
            put("search", {"layers": [2], "heads": [2], "ffn": [16], "pieces": [60], "embedding": ["dense"]})
        ],
    }[kind]
    assert main(["plan", write(home, *changes)]) == 0


@pytest.mark.parametrize("profile", [ROOT / "profiles" / "smoke.toml", "x.toml"], ids=["smoke", "local"])
def test_plan_loads_no_torch_and_holds_to_its_limits(profile, home, monkeypatch):
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # measuring coverage takes time of its own
    write(home)
    code = (
        "import re, sys, time\n"
        "from squeeze.cli import main\n"
        f"assert main(['plan', {str(profile)!r}]) == 0\n"
        "heavy = {'torch', 'transformers', 'datasets', 'optimum', 'pyarrow', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert time.process_time() < 2, time.process_time()\n"
        # Not ru_maxrss: it begins with what the process held that started this one.
        "peak = int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "assert peak < 1_000_000, peak\n"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
