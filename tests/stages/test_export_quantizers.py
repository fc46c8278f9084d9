"""`[export] quantizer`: who makes the int8 forms, and what is refused before anything is spent."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from squeeze.core.calibration import METHODS
from squeeze.errors import MissingBackend, ParityFailed
from squeeze.graphs import lean as graph
from squeeze.graphs.backends import by_nncf, by_onnxruntime
from squeeze.graphs.weights import bytes_by_kind
from squeeze.models.encoder import Encoder
from squeeze.stages.export import borrowed
from squeeze.stages.export import run as stage
from squeeze.stages.export.stage import QUANTIZERS, ExportConfig, ExportResult, needs, sources
from squeeze.targets.subjects import FORM_FILES
from tests import tiny
from tests.distilled import export_config as config
from tests.labelled import predict

ASKED: dict[str, dict[str, Any]] = {
    "squeeze": {"forms": ["fp32", "int8-dynamic", "int8-static"]},
    "onnxruntime": {"forms": ["fp32", "int8-dynamic", "int8-static"], "calibration": "percentile"},
    "nncf": {"forms": ["fp32", "int8-static"], "calibration": "minmax"},
}


@pytest.fixture(scope="module")
def chain(distilled_chain):
    return distilled_chain


@pytest.fixture(scope="module")
def bundles(chain, tmp_path_factory):
    """A bundle by its quantizer; made when first asked for."""
    made: dict[str, Any] = {}

    def get(quantizer: str) -> Any:
        if quantizer == "nncf":
            pytest.importorskip("nncf")
        if quantizer not in made:
            work = tiny.work(tmp_path_factory.mktemp("bundle"))
            result = stage.run(config(quantizer=quantizer, **ASKED[quantizer]), chain, work)
            made[quantizer] = tiny.artifact(work.out, "bundle", result.plain())
        return made[quantizer]

    return get


def weights(path: Path) -> int:
    """Bytes of a file without nodes and names, of which NNCF adds many and a model this small has most."""
    found = bytes_by_kind(path)
    return sum(found.values()) - found["graph"]


@pytest.mark.parametrize("quantizer", ["onnxruntime", "nncf"])
def test_a_borrowed_form_is_held_as_ours_is(quantizer, bundles):
    bundle, ours = bundles(quantizer), bundles("squeeze")
    result = ExportResult.parse(bundle.result)
    assert list(result.forms) == ASKED[quantizer]["forms"]
    for form, made in result.forms.items():
        if form == "fp32":
            continue
        assert made.parity.agreement >= 0.95
        assert 0 < (made.parity.spread or 0) < 0.15
        assert 0 < (made.product or 0) < 0.05
        same = (ours.path / made.file).read_bytes() == (bundle.path / made.file).read_bytes()
        assert not same
        assert weights(bundle.path / made.file) < 1.2 * weights(ours.path / made.file)
    assert predict(bundle.path, ["we need water"])[0].label == predict(ours.path, ["we need water"])[0].label


@pytest.mark.parametrize("quantizer", ["onnxruntime", "nncf"])
def test_the_other_forms_stay_ours(quantizer, bundles, chain, tmp_path, monkeypatch):
    reuse(monkeypatch, bundles("squeeze"))
    monkeypatch.setattr(borrowed, "write", None)
    work = tiny.work(tmp_path)
    stage.run(config(quantizer=quantizer, forms=["fp32", "int4-weight"]), chain, work)
    assert (work.out / FORM_FILES["int4-weight"]).is_file()


def reuse(monkeypatch: pytest.MonkeyPatch, bundle: Any) -> None:
    """torch's exporter takes seconds; its graph is there."""

    def copied(student: Encoder, path: Path, opset: int) -> None:
        shutil.copyfile(bundle.path / "model.onnx", path)

    monkeypatch.setattr(graph, "export", copied)


@pytest.mark.parametrize("form", ["int8-dynamic", "int8-static"])
def test_a_borrowed_form_that_is_wrong_is_caught(form, bundles, chain, tmp_path, monkeypatch):
    reuse(monkeypatch, bundles("squeeze"))
    write = borrowed.write

    def wrong(form: Any, fp32: Path, target: Path, *more: Any) -> None:
        write(form, fp32, target, *more)
        model = onnx.load(target)
        [scale] = [
            one
            for one in model.graph.initializer
            if one.name.startswith("layers.1.up.weight") and "scale" in one.name
        ]
        scale.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(scale), scale.name))
        onnx.save(model, target)

    monkeypatch.setattr(borrowed, "write", wrong)
    with pytest.raises(ParityFailed, match=r"layers\.1\.up") as caught:
        stage.run(
            config(quantizer="onnxruntime", calibration="minmax", forms=[form]), chain, tiny.work(tmp_path)
        )
    assert caught.value.exit_code == 4


def test_nncf_is_told_what_may_be_lost(bundles, chain, tmp_path, monkeypatch):
    reuse(monkeypatch, bundles("squeeze"))
    seen: list[Any] = []

    def noted(fp32: Path, target: Path, *settings: Any) -> None:
        seen.extend(settings)
        shutil.copyfile(bundles("squeeze").path / FORM_FILES["int8-static"], target)

    monkeypatch.setattr(by_nncf, "static", noted)
    tolerance = {"agreement": 0.9, "metric_drop": 0.125}
    asked = config(quantizer="nncf", forms=["int8-static"], calibration_texts=9, int8_tolerance=tolerance)
    stage.run(asked, chain, tiny.work(tmp_path))
    training, method, bits, control, threads = seen
    assert (len(training), method, bits, threads) == (9, "mse", 7, 1)
    assert (control.drop, len(control.feeds), len(control.labels)) == (0.125, 24, 24)
    assert control.score(np.eye(2, dtype=np.float32)[control.labels], control.labels) == 1.0


def test_what_a_quantizer_can_do_is_what_its_module_knows():
    assert QUANTIZERS["onnxruntime"].calibration == tuple(by_onnxruntime.METHODS)
    assert QUANTIZERS["nncf"].calibration == tuple(by_nncf.METHODS)
    assert {*by_onnxruntime.METHODS, *by_nncf.METHODS} == set(METHODS)


@pytest.mark.parametrize(
    ("quantizer", "module"), [("nncf", "nncf"), ("onnxruntime", "onnxruntime.quantization")]
)
def test_a_quantizer_that_is_not_there_is_told_before_anything_is_trained(quantizer, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingBackend, match=module) as caught:
        needs(config(quantizer=quantizer))
    assert caught.value.exit_code == 3
    assert caught.value.hint.startswith("pip install")
    needs(config())


def test_the_setting_is_in_the_key_only_where_it_is_not_our_own():
    assert "quantizer" not in config().plain()["export"]
    assert config(quantizer="nncf").plain()["export"]["quantizer"] == "nncf"
    assert ExportConfig.parse(config().plain()) == config()
    assert sources(config()) == sources(config(quantizer="onnxruntime")) == {}
    assert list(sources(config(quantizer="nncf"))) == ["nncf version"]
