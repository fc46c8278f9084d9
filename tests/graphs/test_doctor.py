"""`squeeze doctor MODEL`: the findings as a table and as JSON, with an exit code."""

from __future__ import annotations

import json

import pytest

from squeeze.cli import main
from tests import tiny_onnx
from tests.graphs.qdq import Sketch, save, sound


def test_a_ready_model(tmp_path, capsys):
    path = tiny_onnx.classifier(tmp_path / "model.onnx")
    assert main(["doctor", str(path)]) == 0
    said = capsys.readouterr().out
    assert "model.onnx: ready for TensorRT (fp32, operator set 20)" in said
    assert "0 (batch), 1 (sequence)" in said


def test_a_model_that_is_not_ready(tmp_path, capsys):
    s = Sketch()
    path = save(s.leave(s.node("Det", s.node("Unique", s.enter()))), tmp_path / "model.onnx")
    assert main(["doctor", str(path)]) == 1
    said = capsys.readouterr().out
    assert "1 x Det" in said
    assert "not ready for TensorRT: 2 errors" in said


def test_one_json_document(tmp_path, capsys):
    path = save(sound(), tmp_path / "model.onnx")
    assert main(["doctor", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["ready"] is True
    assert [issue["rule"] for issue in document["issues"]] == ["dynamic"]


@pytest.mark.parametrize("content", [None, b"text"])
def test_no_model_is_wrong_usage(tmp_path, capsys, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main(["doctor", str(path)]) == 2
    assert "model.onnx" in capsys.readouterr().err


def test_without_onnx_ir(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx_ir", None)
    assert main(["doctor", str(tiny_onnx.classifier(tmp_path / "model.onnx"))]) == 3
    assert "squeeze-ondevice[train]" in capsys.readouterr().err
