"""`--provider`: which there are, for which target, and that a silent fallback is told."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.targets import sessions
from squeeze.targets.noise import remarks
from squeeze.targets.ort import CPU
from squeeze.targets.providers import chosen, processor
from tests import tiny_onnx as tiny

XNNPACK = sessions.ON_CPU["xnnpack"]


@pytest.mark.parametrize(
    ("target", "asked", "found"),
    [
        ("cpu", None, "cpu"),
        ("gpu", None, "cuda"),
        ("cpu", "openvino", "openvino"),
        ("gpu", "tensorrt", "tensorrt"),
    ],
)
def test_the_default_follows_the_target(target, asked, found):
    assert chosen(target, asked) == found


@pytest.mark.parametrize(
    ("target", "asked", "home"),
    [("cpu", "cuda", "gpu"), ("gpu", "xnnpack", "cpu"), ("adb", "openvino", "cpu")],
)
def test_a_provider_of_another_target_is_wrong_usage(target, asked, home):
    with pytest.raises(UsageError, match=f"--provider {asked}: not for --target {target}") as caught:
        chosen(target, asked)
    assert caught.value.hint == f"it goes with --target {home}"


def test_the_report_names_the_provider():
    where = processor("openvino", 7)
    assert where.facts["provider"] == where.request["provider"] == "OpenVINOExecutionProvider"
    assert where.request["memory_bytes"] == 7


@pytest.mark.parametrize(
    ("name", "said"), [("xnnpack", "--use_xnnpack"), ("openvino", "pip install onnxruntime-openvino")]
)
def test_one_that_is_not_built_in(tmp_path, capsys, name, said):
    path = tiny.classifier(tmp_path / "m.onnx")
    code = main(["bench", str(path), "--provider", name, "--min-runs", "10", "--seconds", "0"])
    printed = capsys.readouterr().err
    if code == 0:
        pytest.skip(f"this onnxruntime has {name}")
    assert code == 3
    assert "is not part of the installed onnxruntime" in printed
    assert CPU in printed
    assert said in printed


def test_one_that_does_not_exist(tmp_path, capsys):
    path = tiny.classifier(tmp_path / "m.onnx")
    assert main(["bench", str(path), "--provider", "npu"]) == 2
    assert "provider" in capsys.readouterr().err


def asked(**more):
    return {"provider": XNNPACK, "threads": 2, "spinning": True, **more}


def stand_in(monkeypatch, used, strict):
    """Sessions that use a provider, and open where fallback is forbidden or not; returns what was asked."""
    seen = []

    def opened(path, **more):
        seen.append(more)
        if more["entries"] and not strict:
            raise StageFailed("some nodes are not taken")
        return types.SimpleNamespace(get_providers=lambda: [used, CPU])

    monkeypatch.setattr(sessions, "open_session", opened)
    return seen


def test_a_session_that_fell_back_whole_is_refused(monkeypatch):
    stand_in(monkeypatch, CPU, strict=True)
    with pytest.raises(MissingBackend, match="could not be loaded, CPUExecutionProvider was used instead"):
        sessions.open_model(Path("m.onnx"), asked())


@pytest.mark.parametrize("strict", [True, False])
def test_nodes_that_are_left_are_noticed(monkeypatch, strict):
    seen = stand_in(monkeypatch, XNNPACK, strict)
    assert sessions.left_to_cpu(Path("m.onnx"), asked()) is not strict
    assert seen[0]["entries"] == {"session.disable_cpu_ep_fallback": "1"}
    assert seen[0]["provider_options"] == {"intra_op_num_threads": "2"}


@pytest.mark.parametrize("more", [{"provider": CPU}, {"gpu": {}}])
def test_the_default_and_a_gpu_are_not_asked_again(monkeypatch, more):
    seen = stand_in(monkeypatch, XNNPACK, strict=False)
    assert not sessions.left_to_cpu(Path("m.onnx"), asked(**more))
    assert not seen


def test_a_reader_is_told_of_nodes_that_were_left():
    answer = {
        "samples_ms": [1.0],
        "preemptions": 0,
        "warm": True,
        "stopped": False,
        "left": True,
        "widths": [[1]],
    }
    around = {"provider": XNNPACK, "load_average": 0.0, "usable_cores": 2, "governor": None}
    (note,) = remarks(answer, 0.0, around)
    assert note.startswith(f"{XNNPACK} does not take every node")
