"""Whatever file `squeeze bench` is given: one clear line, the right exit code, bounded memory and time."""

from __future__ import annotations

import json
import os
import time

import pytest

from squeeze import artifact
from squeeze.bench import BenchOptions, bench
from squeeze.cli import main
from squeeze.errors import Corrupt, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.targets import cpu, files, memory, ort, process
from squeeze.targets.process import ask
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets import hostile
from tests.targets.test_cpu import request as asked

MEMORY = 500_000_000
QUICK = ("--min-runs", "10", "--seconds", "0", "--max-memory", "500MB")
FEW = BenchOptions(min_runs=10, min_seconds=0.0, max_seconds=1.0, starts=1, max_memory=MEMORY)


def told(capsys, path, *more) -> tuple[int, str]:
    """Exit code and the one line of an error; nothing on stdout, nothing that steers a terminal."""
    began = time.monotonic()
    code = main(["bench", str(path), *QUICK, *more])
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert printed.out == ""
    assert len(lines) == 1
    assert "Traceback" not in printed.err
    assert all(line.startswith(("error: ", "hint: ")) for line in printed.err.splitlines())
    assert "\x1b" not in printed.err
    assert time.monotonic() - began < 100
    return code, lines[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty.onnx", "empty file"),
        ("cut.onnx", "not a readable ONNX model"),
        ("noise.onnx", "not a readable ONNX model"),
        ("noise.ort", "not a readable ORT model"),
        ("broken.ort", "not a readable ORT model"),
        ("zeros.ort", "not a readable ORT model"),
        ("gzip.onnx", "a gzip file, not a model"),
        ("zip.onnx", "a zip archive, not a model"),
        ("pointer.onnx", "a Git LFS pointer, not a model"),
        ("deep.onnx", "not a readable ONNX model"),
    ],
)
def test_what_is_no_model(tmp_path, capsys, name, said):
    code, line = told(capsys, hostile.no_models(tmp_path)[name])
    assert code == 2
    assert said in line
    assert name in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "no bundle"),
        ("pipe", "a pipe, not a file"),
        ("loop", "symbolic links"),
        ("dangling", "no such file"),
        ("socket", "a socket, not a file"),
        ("absent", "no such file"),
        ("zero", "a device, not a file"),
        ("null", "a device, not a file"),
        ("long", "name too long"),
    ],
)
def test_what_is_not_even_a_file(tmp_path, monkeypatch, capsys, name, said):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    code, line = told(capsys, hostile.no_files(tmp_path)[name])
    assert code == 2
    assert said in line.lower() or said in line


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tiny.classifier(tmp_path / "m.onnx")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="may not be read by this user"):
        files.readable(path)


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("../secret.bin", {}),
        ("/etc/passwd", {}),
        ("link.bin", {}),
        ("zero.bin", {}),
        ("pipe.bin", {}),
        ("missing.bin", {}),
        ("ok.bin", {"offset": 2**60}),
        ("ok.bin", {"offset": -5}),
        ("ok.bin", {"offset": "abc"}),
        ("ok.bin", {"length": 2**62}),
        ("ok.bin", {"dims": (10**9,)}),
        ("ok.bin", {"dims": (2**40, 2**40)}),
    ],
)
def test_weights_in_other_files(tmp_path, capsys, location, where):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (folder / "ok.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to("../secret.bin")
    (folder / "zero.bin").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.bin")
    code, line = told(capsys, hostile.external(folder / "m.onnx", location, **where))
    assert code == (3 if location == "missing.bin" else 4)
    assert "cannot be opened by ONNX Runtime" in line or "its weights lie" in line


def test_weights_in_another_file_of_the_same_folder_are_read(tmp_path):
    (tmp_path / "ok.bin").write_bytes(bytes(64))
    path = hostile.external(tmp_path / "m.onnx", "ok.bin", offset=8, length=4)
    assert ask(asked(path, memory_bytes=MEMORY), 60)["first_ms"] > 0


def test_a_bundle_that_names_a_file_outside(tmp_path):
    tiny.classifier(tmp_path / "other.onnx")
    folder = tmp_path / "export.partial"
    tiny.fill_bundle(folder)
    result = {"forms": {"fp32": {"file": "../other.onnx"}}}
    artifact.commit(folder, tmp_path / "export", "bundle", {"result": result})
    with pytest.raises(Corrupt, match=r"other\.onnx is not a file of this folder"):
        find(tmp_path / "export")


@pytest.mark.parametrize("dims", [(10**9,), (2**40, 2**40), (-4,)])
def test_weights_that_claim_another_shape(tmp_path, capsys, dims):
    code, line = told(capsys, hostile.weight(tmp_path / "m.onnx", dims))
    assert code == 4
    assert "cannot be opened by ONNX Runtime" in line


@pytest.mark.parametrize("shape", [(10**9,), (2**40, 2**40)])
def test_inputs_too_large_for_any_call(tmp_path, capsys, shape):
    code, line = told(capsys, hostile.relu(tmp_path / "m.onnx", shape=shape))
    assert code == 4
    assert "input x" in line
    assert "at most 2.15 GB" in line


@pytest.mark.parametrize(
    ("operator", "sizes", "said"),
    [
        ("ConstantOfShape", (40_000, 40_000), "needs more than the 0.5 GB it may take"),
        ("Expand", (40_000, 40_000), "needs more than the 0.5 GB it may take"),
        ("Tile", (10**9,), "needs more than the 0.5 GB it may take"),
        ("ConstantOfShape", (2**40, 2**40), "by ONNX Runtime"),
    ],
)
def test_graphs_that_make_something_huge(tmp_path, capsys, operator, sizes, said):
    code, line = told(capsys, hostile.bomb(tmp_path / "m.onnx", operator, *sizes))
    assert code == 4
    assert said in line


def test_memory_that_python_asks_for_is_refused_in_the_same_words(tmp_path):
    path = hostile.relu(tmp_path / "m.onnx", shape=(400_000_000,))
    with pytest.raises(StageFailed, match=r"m\.onnx: needs more than the 0\.5 GB it may take") as caught:
        ask(asked(path, memory_bytes=MEMORY), 60)
    assert "--max-memory" in caught.value.hint


def test_the_limit_leaves_room_for_threads(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", hidden=64, layers=2)
    assert ask(asked(path, threads=8, memory_bytes=MEMORY), 60)["rss_bytes"] < MEMORY


def test_without_a_limit_asked_for_it_is_what_the_machine_can_give(monkeypatch):
    monkeypatch.setattr("squeeze.runtime.usable_memory", lambda: 10_000)
    assert memory.most_bytes() == 9_000
    assert memory.most_bytes(7) == 7


def test_on_a_gpu_nothing_is_limited(monkeypatch):
    seen = []

    def run(request, *rest):
        seen.append(request)
        return 1, True

    monkeypatch.setattr(process, "_run", run)
    for gpu in ({}, {"gpu": {"transfers": True}}):
        with pytest.raises(StageFailed):
            ask({"models": [], "memory_bytes": 7 if not gpu else None, **gpu}, 1)
    assert [request["memory_bytes"] for request in seen] == [7, None]


def test_a_loop_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "START_TIMEOUT_S", 3.0)
    began = time.monotonic()
    with pytest.raises(StageFailed, match="no answer after 3 s"):
        bench([hostile.endless(tmp_path / "m.onnx")], FEW, Silent())
    assert time.monotonic() - began < 60  # it would never end by itself


def test_a_hundred_thousand_operators(tmp_path):
    path = hostile.chain(tmp_path / "m.onnx", 100_000)
    assert ask(asked(path, memory_bytes=4 * MEMORY), 100)["first_ms"] > 0


class Meanwhile(Silent):
    """Does something to the file between loading and timing."""

    def __init__(self, act):
        self.act = act

    def log(self, message):
        if message.startswith("timing"):
            self.act()


def test_a_file_that_changes_while_it_is_measured(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    change = Meanwhile(lambda: tiny.classifier(path, hidden=16))
    with pytest.raises(StageFailed, match=r"m\.onnx: changed while it was measured"):
        bench([path], FEW, change)


def test_a_file_that_vanishes_while_it_is_measured(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    with pytest.raises((StageFailed, UsageError), match=r"m\.onnx: (vanished|no such file)"):
        bench([path], FEW, Meanwhile(path.unlink))


def test_a_name_that_is_not_utf8(tmp_path, capsys):
    code, line = told(capsys, hostile.broken_name(tmp_path / "m.onnx"))
    assert code == 4
    assert "not UTF-8" in line


def test_control_signs_do_not_reach_the_terminal(tmp_path, capsys):
    path = hostile.relu(tmp_path / "red\x1b[31m\n.onnx", "\x1b[31mx\x07\n", ("\x1b[2Jn",))
    assert main(["bench", str(path), *QUICK]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "\x07" not in printed.out + printed.err
    assert r"red\u001b[31m" in printed.out
    assert main(["bench", str(path), "--json", *QUICK]) == 0
    (found,) = json.loads(capsys.readouterr().out)["measurements"]
    assert list(found["inputs"]) == ["\x1b[31mx\x07\n"]


def test_control_signs_in_an_error_are_escapes_on_one_line(tmp_path, capsys):
    path = tiny.unknown_operator(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"NoSuchOperator", b"\x1b[31mperator\n\r"))
    code, line = told(capsys, path)
    assert code == 4
    assert r"\u001b[31mperator" in line


def test_every_beginning_of_a_model_is_refused(tmp_path):
    whole = tiny.classifier(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "part.onnx"
    for end in range(1, len(whole) - 16, 29):  # without its last field, the operator set, it may still be one
        path.write_bytes(whole[:end])
        with pytest.raises((UsageError, StageFailed)) as caught:
            ort.open_session(path, threads=1)
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["8", "GB", "8 apples", "1MB", "-8GB", "1e99GB"])
def test_an_amount_of_memory_that_is_none(tmp_path, capsys, text):
    path = tiny.classifier(tmp_path / "m.onnx")
    assert main(["bench", str(path), f"--max-memory={text}"]) == 2
    assert "not an amount of memory from 150 MB to 1000 TB" in capsys.readouterr().err


def test_the_least_amount_of_memory_is_enough_for_a_small_model(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", vocabulary=10)
    assert ask(asked(path, memory_bytes=150_000_000), 60)["bound"] == 5
