"""What ONNX Runtime says of a model, kept where it says why."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest

from squeeze.errors import StageFailed, brief, reason
from squeeze.targets.ort import _line, open_session
from tests import tiny_onnx


def refusal(path):
    with pytest.raises(StageFailed) as caught:
        open_session(path, threads=1)
    return caught.value


def changed(tmp_path, change):
    path = tiny_onnx.classifier(tmp_path / "m.onnx")
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def test_a_newer_ir_version_is_named_with_the_one_that_is_read(tmp_path):
    error = refusal(changed(tmp_path, lambda model: setattr(model, "ir_version", 99)))
    ours = f"IR version 99, this ONNX Runtime ({onnxruntime.__version__}) reads up to "
    assert error.message.partition(": ")[2].startswith(ours)
    most = int(error.message.removeprefix(f"{tmp_path}/m.onnx: {ours}"))
    assert 10 <= most < 99
    assert error.hint == f"install a newer onnxruntime, or save the model with ir_version {most}"


def test_a_newer_operator_set_is_named_with_the_one_that_is_read(tmp_path):
    error = refusal(changed(tmp_path, lambda model: setattr(model.opset_import[0], "version", 99)))
    ours = f"operator set 99 of ai.onnx, this ONNX Runtime ({onnxruntime.__version__}) reads up to "
    assert error.message.partition(": ")[2].startswith(ours)
    most = int(error.message.removeprefix(f"{tmp_path}/m.onnx: {ours}"))
    assert 20 <= most < 99
    assert error.hint.endswith(f"save the model with operator set {most}")


def test_other_messages_lose_the_source_and_keep_their_end(tmp_path):
    def unknown(model):
        model.graph.node[0].op_type = "NoSuchOperator"

    message = refusal(changed(tmp_path, unknown)).message
    assert "onnxruntime_src" not in message
    assert message.count("m.onnx") == 1
    assert "NoSuchOperator" in message


def test_a_long_message_keeps_its_end():
    begin = "[ONNXRuntimeError] : 1 : FAIL : Load model from /x failed:/onnxruntime_src/a/b.cc:256 "
    text = f"{begin}{'f(x) ' * 200}why"
    line = _line(RuntimeError(text))
    assert len(line) <= 400
    assert line.startswith("1 : FAIL :")
    assert line.endswith("f(x) why")


@pytest.mark.parametrize("length", [399, 400, 401, 5_000])
def test_brief_keeps_both_ends_and_its_limit(length):
    text = "begin" + "x" * (length - 8) + "end"
    line = brief(text)
    assert len(line) <= 400
    assert line.startswith("begin")
    assert line.endswith("end")
    assert (line == text) == (length <= 400)


def test_a_reason_is_one_visible_line():
    assert reason(RuntimeError("a\n\tb \x1b[31m")) == "a b \\u001b[31m"
    assert reason(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize("text", ["", "\n\n", "\n  one\ntwo"])
def test_a_message_is_one_line_and_never_empty(text):
    assert reason(ValueError(text)) == ("one two" if "one" in text else "ValueError")
