"""The reference workload: the committed file, and that nothing meant for a model reaches it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest

from squeeze.errors import Corrupt
from squeeze.progress import Silent
from squeeze.targets import reference
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.ort import CPU, open_session, options, specs
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny
from tools import reference_model

LARGEST_FILE = 300_000


def test_the_committed_file_is_what_the_script_makes():
    assert reference.MODEL.read_bytes() == reference_model.build()
    assert reference.subject().path == reference.MODEL
    assert reference.MODEL.stat().st_size < LARGEST_FILE
    assert onnx.load(reference.MODEL).producer_version == str(reference.VERSION)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_another_file_is_refused(tmp_path, damage):
    path = tmp_path / "reference-1.onnx"
    path.write_bytes(damage(reference.MODEL.read_bytes()))
    with pytest.raises(Corrupt, match="not the reference workload of version 1") as caught:
        reference.subject(path)
    assert "force-reinstall" in caught.value.hint


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(Corrupt, match="No such file"):
        reference.subject(tmp_path / "gone.onnx")


def test_weights_are_made_once_when_the_file_is_opened(tmp_path):
    """Else their making would be timed; and the float and the int8 products are those of real exports."""
    settings = options(threads=1)
    settings.optimized_model_filepath = str(tmp_path / "opened.onnx")
    onnxruntime.InferenceSession(str(reference.MODEL), settings, providers=[CPU])
    opened = onnx.load(tmp_path / "opened.onnx").graph
    kinds = Counter(node.op_type for node in opened.node)
    assert "Tile" not in kinds
    products = kinds["DynamicQuantizeMatMul"] + kinds["MatMulIntegerToFloat"]
    assert products == 4
    constants = {each.name: each for each in opened.initializer}
    real = [each for each in opened.node if each.op_type in ("MatMul", "Gemm") and each.input[1] in constants]
    assert len(real) == 4
    largest = max(len(each.raw_data) for each in constants.values())
    assert largest >= 4 * reference_model.HIDDEN * reference_model.FFN


def test_its_input_is_one_shape_whatever_others_get(tmp_path):
    (spec,) = specs(open_session(reference.MODEL, threads=1))
    assert (spec.name, spec.shape) == (reference.INPUT, (reference.TOKENS,))
    path = tiny.classifier(tmp_path / "m.onnx")
    asked = Settings(
        batch=3,
        sequence=9,
        shapes={"input_ids": (3, 9)},
        min_runs=20,
        min_seconds=0.0,
        max_seconds=20.0,
        starts=1,
    )
    model, unit = measure([Subject(path, "m", vocabulary=10), reference.subject()], asked, Silent())
    assert model.sequence is not None or model.runs
    assert unit.sequence is None
    assert len(unit.blocks()) == len(model.blocks())


def test_it_is_light():
    code = (
        "import sys, squeeze.targets.reference as r; r.subject(); "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_script_writes_where_it_is_told(tmp_path: Path, capsys):
    reference_model.main(tmp_path / "made.onnx")
    assert (tmp_path / "made.onnx").read_bytes() == reference.MODEL.read_bytes()
    assert reference.SHA256 in capsys.readouterr().out
