"""The benchmark against other tools: environments, processes that are asked, measuring, the report."""

from __future__ import annotations

import re
import sys

import pytest

from benchmarks.environments import Worker, environment, run, versions
from benchmarks.peer_files import OLIVE, OURS, SCRIPTS, WAYS, Contestant, Subject
from benchmarks.peers import PINNED, measured
from benchmarks.peers_section import peers as section
from squeeze.errors import MissingBackend, StageFailed

WORKER = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import numpy as np
import serving
from serving import Model, serve

clock = [0.0]
serving.time.perf_counter = lambda: clock[0]

def open_model(path, length):
    print("a library that talks on stdout")
    pause, flips, inputs = path.rsplit("/", 1)[1].removesuffix(".onnx").split("-")

    def run(feed):
        assert length in (None, feed["input_ids"].shape[1])
        assert list(feed) == inputs.split("+")
        clock[0] += float(pause) / 1e3
        first = int(feed["input_ids"][0, 0])
        return np.eye(2, dtype=np.float32)[[first % 2 ^ (first < int(flips))]]

    return Model(inputs.split("+"), run)

serve(open_model)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "worker.py"
    script.write_text(WORKER)
    return [sys.executable, script]


def model(folder, pause_ms, flips=0, inputs="input_ids+attention_mask"):
    path = folder / f"{pause_ms}-{flips}-{inputs}.onnx"
    path.write_bytes(b"12345")
    return path


def test_a_worker_holds_models_and_runs_them_when_asked(command, tmp_path):
    path = model(tmp_path, 2, inputs="input_ids+token_type_ids")
    with Worker(command, {}) as worker:
        assert worker.ask("open", "m", path=str(path), length=None) == {}
        assert worker.ask("label", "m", texts=[[3], [4, 4], [5]]) == {"labels": [1, 0, 1]}
        assert worker.ask("time", "m", texts=[[3], [4]], lead=5)["ms"] == pytest.approx([2.0, 2.0])


def test_a_worker_that_dies_is_one_line(command):
    with (
        Worker(command, {}) as worker,
        pytest.raises(StageFailed, match=r"m: the process ended with status 1 \(KeyError: 'm'\)"),
    ):
        worker.ask("label", "m", texts=[])
    with Worker([sys.executable, "-c", "raise SystemExit(3)"], {}) as worker:
        worker._process.wait()
        with pytest.raises(StageFailed, match=r"status 3 \(it said nothing\)"):
            worker.ask("label", "m", texts=[])


def test_a_script_that_fails_says_its_last_line_and_leaves_nothing_here(tmp_path):
    run([sys.executable, "-c", "import os; open(os.environ['HF_HUB_OFFLINE'], 'w').close()"], tmp_path)
    assert (tmp_path / "1").is_file()
    with pytest.raises(StageFailed, match=r"status 1 \(ValueError: no such operator\)"):
        run([sys.executable, "-c", "raise ValueError('no such operator')"], tmp_path)


def pip(folder, code, told=""):
    """Stands in for `venv.create`: a Python that is asked to install and ends with a code."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\necho \"$@\" >> {folder}/calls\necho '{told}' >&2\nexit {code}\n")
    python.chmod(0o755)


def test_an_environment_is_made_once_and_again_when_its_pins_change(tmp_path, monkeypatch):
    made = []

    def create(folder, **_):
        made.append(folder)
        pip(folder, 0)

    monkeypatch.setattr("venv.create", create)
    pins, folder = tmp_path / "tool.txt", tmp_path / "environments" / "tool"
    pins.write_text("tool==1\n")
    assert environment(folder, pins) == environment(folder, pins) == folder / "bin" / "python"
    assert made == [folder]
    assert f"--no-deps --requirement {pins}" in (folder / "calls").read_text()
    pins.write_text("tool==2\n")
    environment(folder, pins)
    assert made == [folder, folder]


def test_an_environment_that_cannot_be_made_is_one_line_and_not_kept(tmp_path, monkeypatch):
    told = "ERROR: No matching distribution found for tool==1"
    monkeypatch.setattr("venv.create", lambda folder, **_: pip(folder, 1, told))
    pins, folder = tmp_path / "tool.txt", tmp_path / "tool"
    pins.write_text("tool==1\n")
    with pytest.raises(MissingBackend, match=re.escape(f"pip cannot install tool.txt ({told})")) as caught:
        environment(folder, pins)
    assert "package index" in caught.value.hint
    assert not (folder / pins.name).exists()


@pytest.mark.parametrize("place", PINNED)
def test_every_package_is_pinned_and_none_sends_usage_data(place):
    pins = SCRIPTS / f"{place}.txt"
    lines = [line for line in pins.read_text().splitlines() if line and line[0] not in "#-"]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.+]*", line) for line in lines)
    assert versions(pins, PINNED[place]).keys() == set(PINNED[place])
    # Olive cannot be imported without its sender, which a variable keeps from sending.
    assert place == OLIVE or not any("telemetry" in line for line in lines)


def test_tools_that_send_usage_data_are_told_not_to(tmp_path):
    told = "import os; open(os.environ['OLIVE_DISABLE_TELEMETRY'], 'w').close()"
    run([sys.executable, "-c", told], tmp_path)
    assert (tmp_path / "1").is_file()


def test_every_way_is_one_that_its_script_knows():
    for way in WAYS.values():
        assert (SCRIPTS / f"run_{way.opened}.py").is_file()
        assert f'"{way.making}"' in (SCRIPTS / f"make_{way.place}.py").read_text()


@pytest.fixture(scope="module")
def record(command, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("models")
    texts = [[number] for number in range(10)]
    subject = Subject("tiny", tmp_path / "model.onnx", None, 100, [[1]], texts)
    ours = [Contestant(name, "a", model(tmp_path, 2)) for name in OURS]
    others = [
        Contestant("slow", "b", model(tmp_path, 6)),
        Contestant("fast and wrong", "b", model(tmp_path, 0.5, flips=5)),
        Contestant("fixed", "b", model(tmp_path, 2), length=4),
    ]
    with Worker(command, {}) as first, Worker(command, {}) as second:
        return measured([*ours, *others], {"a": first, "b": second}, subject, blocks=6, length=4, seed=0)


def test_files_of_two_runtimes_are_measured_in_turns(record):
    assert list(record) == [*OURS, "slow", "fast and wrong", "fixed"]
    assert record["slow"]["bytes"] == 5
    assert record["slow"]["runtime"] == "b"
    assert record["slow"]["against"].keys() == set(OURS)
    assert record["slow"]["against"]["fp32"]["value"] == pytest.approx(3)
    assert record["fast and wrong"]["p50_ms"] == pytest.approx(0.5)
    kept = {name: each["kept_labels"] for name, each in record.items() if name not in OURS}
    assert kept == {"slow": 1.0, "fast and wrong": 0.5, "fixed": None}


def test_a_report_judges_our_default_against_every_file(record):
    found = {**record, "unreadable": {"runtime": "b", "failed": "status 1 (a | b)"}}
    lines = section(
        {
            "set": "sst2",
            "seed": 0,
            "tokens": 4,
            "default": OURS[1],
            "peers": {"b": {"tool": "1.0"}},
            "models": {"tiny": found},
        }
    )
    assert "tool 1.0" in lines[0]
    cells = {
        line.split(" | ")[1]: line.removesuffix(" |").split(" | ") for line in lines if line[:6] == "| tiny"
    }
    assert cells["slow"][-1] == "pass"
    assert cells["fast and wrong"][-1] == "fail"
    assert cells["fast and wrong"][4] == "50.0"
    assert cells["unreadable"][-1] == "not made: status 1 (a / b)"
    assert cells[OURS[1]][-1].strip() == ""
    assert lines[-1].startswith("- tiny: the fastest file in b, fast and wrong, takes 0.250 ")
    assert lines[-1].endswith(f" of the time of {OURS[1]}, at least 1: fail")
