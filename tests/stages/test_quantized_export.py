"""A model that the quantize stage rounded becomes the ONNX file that computes what was trained, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from squeeze.artifact import Artifact
from squeeze.errors import ParityFailed, StageFailed
from squeeze.quantization import storage
from squeeze.stages.export.run import run as export
from squeeze.stages.export.stage import ExportConfig, ExportResult
from squeeze.stages.quantize.run import run as quantize
from squeeze.stages.quantize.stage import QuantizeConfig
from tests import distilled, tiny

Steps = dict[str, Any]
TASK: dict[str, Any] = {"labels": list(tiny.LABELS), "max_length": 32}
QAT: dict[str, Any] = {
    "name": "qat", "epochs": 1, "batch": 16, "learning_rate": 1e-3, "losses": [{"name": "logit_mse"}],
}  # fmt: skip
ROUNDED: dict[str, dict[str, Any]] = {
    "dynamic": {"scheme": "int8-dynamic", "method": "qat", "phases": [QAT]},
    "dynamic-8": {"scheme": "int8-dynamic", "method": "qat", "phases": [QAT], "weight_bits": 8},
    "static": {"scheme": "int8-static", "method": "qat", "phases": [QAT]},
    "static-kept": {"scheme": "int8-static", "method": "ptq", "keep": ["layers.0.*"]},
    "int4": {"scheme": "int4-weight", "method": "qat", "phases": [QAT]},
}


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> dict[str, Artifact]:
    """Dataset, teacher and a float student of 2 layers."""
    folder = tmp_path_factory.mktemp("float")
    found = distilled.inputs(folder)
    settings = distilled.config({"heads": 3, "ffn": 48}, [{**distilled.KD, "epochs": 1}])
    return {**found, "encoder": distilled.distil(settings, found, folder)}


@pytest.fixture(scope="module")
def rounded(where, tmp_path_factory) -> Any:
    """Each of ROUNDED once, when a test first asks."""
    made: dict[str, dict[str, Artifact]] = {}

    def get(name: str) -> dict[str, Artifact]:
        if name not in made:
            config = QuantizeConfig.parse({"seed": 3, "task": TASK, "quantize": ROUNDED[name]})
            work = tiny.work(tmp_path_factory.mktemp("rounded"), name)
            result = quantize(config, where, work)
            made[name] = {**where, "encoder": tiny.artifact(work.out, "encoder", result.plain())}
        return made[name]

    return get


def exported(inputs: dict[str, Artifact], folder: Path, form: str, **section: Any) -> ExportResult:
    given = {"forms": ["fp32", form], **section}
    config = ExportConfig.parse({"seed": 3, "task": TASK, "export": given})
    return export(config, inputs, tiny.work(folder, "export"))


@pytest.mark.parametrize("name", list(ROUNDED))
def test_the_file_computes_what_was_computed_in_torch(name, rounded, tmp_path):
    form = ROUNDED[name]["scheme"]
    found = exported(rounded(name), tmp_path, form)
    report = found.forms[form].parity
    assert report.source == "torch, rounded"
    assert report.agreement >= 0.99
    assert report.spread is not None
    assert report.spread < 0.03
    assert found.forms["fp32"].parity.max_abs < 1e-4  # the rounded weights, activations in float


def test_other_forms_of_a_rounded_model_are_held_against_its_fp32_file(rounded, tmp_path):
    found = exported(
        rounded("static"), tmp_path, "int4-weight", int4_tolerance={"agreement": 0, "metric_drop": 1}
    )
    assert found.forms["int4-weight"].parity.source == "model.onnx"


def altered(
    inputs: dict[str, Artifact], change: Callable[[Steps], Steps], where: Path
) -> dict[str, Artifact]:
    """The inputs with other steps beside the encoder."""
    folder = where / "altered"
    folder.mkdir()
    for path in inputs["encoder"].path.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    save_file(change(load_file(folder / storage.STEPS)), folder / storage.STEPS)
    return {**inputs, "encoder": tiny.artifact(folder, "encoder", {})}


@pytest.mark.parametrize(("factor", "what"), [(0.5, "weight."), (8.0, "input.")])
def test_steps_that_are_not_those_that_were_trained_are_caught(factor, what, rounded, tmp_path):
    def change(steps: Steps) -> Steps:
        return {n: v * np.float32(factor if n.startswith(what) else 1) for n, v in steps.items()}

    with pytest.raises(ParityFailed, match="torch, rounded"):
        exported(altered(rounded("static"), change, tmp_path), tmp_path, "int8-static")


def test_a_step_that_is_missing_is_named(rounded, tmp_path):
    def change(steps: Steps) -> Steps:
        return {name: value for name, value in steps.items() if name != "input.layers.0.up"}

    with pytest.raises(StageFailed, match=r"layers\.0\.up"):
        exported(altered(rounded("static"), change, tmp_path), tmp_path, "int8-static")
