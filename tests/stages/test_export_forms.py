"""A bundle of all forms, and conversions that are broken on purpose."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from squeeze.errors import ParityFailed
from squeeze.graphs import lean as graph
from squeeze.graphs.difference import lost
from squeeze.models.encoder import Encoder
from squeeze.quantization.forms import convert
from squeeze.stages.export import run as stage
from squeeze.stages.export.stage import ExportResult
from squeeze.targets.subjects import FORM_FILES, find
from tests import tiny
from tests.distilled import export_config as config
from tests.labelled import predict

FORMS = ("fp32", "int8-dynamic", "int8-static", "int4-weight")


@pytest.fixture(scope="module")
def chain(distilled_chain):
    return distilled_chain


@pytest.fixture(scope="module")
def bundle(chain, tmp_path_factory):
    work = tiny.work(tmp_path_factory.mktemp("bundle"))
    result = stage.run(config(forms=list(FORMS), ort=True), chain, work)
    return tiny.artifact(work.out, "bundle", result.plain())


def test_every_form_is_made_held_and_measured(bundle):
    result = ExportResult.parse(bundle.result)
    assert tuple(result.forms) == FORMS
    for name, form in result.forms.items():
        assert form.file == FORM_FILES[name]
        assert form.parity.source == ("torch" if name == "fp32" else "model.onnx")
        assert form.size_bytes == (bundle.path / form.file).stat().st_size
        assert form.ort is not None
        assert form.ort.file == Path(form.file).with_suffix(".ort").name
        assert form.ort.size_bytes == (bundle.path / form.ort.file).stat().st_size
        assert (form.ort.parity.source, form.ort.parity.max_abs) == (form.file, 0.0)
    assert 0 < (result.forms["int8-static"].parity.spread or 0) < 0.15
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert all(f"| {FORM_FILES[name]} |" in card for name in FORMS)


def test_bench_and_predict_find_the_forms(bundle):
    assert {path.name for path in bundle.path.glob("model*")} == {
        *FORM_FILES.values(), "model.ort", "model.int8.ort", "model.int8-static.ort", "model.int4.ort",
    }  # fmt: skip
    assert tuple(each.form for each in find(bundle.path, "all")) == FORMS
    said = {form: predict(bundle.path, ["we need water"], form=form)[0] for form in FORMS}
    assert len({one.label for one in said.values()}) == 1


def test_calibration_reads_training_text_and_depends_on_its_method(chain, bundle, tmp_path, monkeypatch):
    reuse(monkeypatch, bundle)
    steps = {}
    for method in ("minmax", "mse"):
        work = tiny.work(tmp_path, method)
        settings = config(forms=["int8-static"], calibration=method, calibration_texts=9)
        stage.run(settings, chain, work)
        model = onnx.load(work.out / FORM_FILES["int8-static"])
        kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        steps[method] = {name: float(one) for name, one in kept.items() if name.endswith("input.scale")}
    assert steps["minmax"].keys() == steps["mse"].keys()
    assert len(steps["minmax"]) == 4 + 5 + 1
    assert all(steps["mse"][name] <= steps["minmax"][name] for name in steps["mse"])
    assert steps["mse"] != steps["minmax"]


@pytest.mark.parametrize(("keys", "end"), [({}, 63), ({"weight_bits": 8}, 127)])
def test_weights_have_seven_bits_or_what_the_profile_says(keys, end, chain, bundle, tmp_path, monkeypatch):
    reuse(monkeypatch, bundle)
    work = tiny.work(tmp_path)
    stage.run(config(forms=["int8-dynamic", "int8-static"], **keys), chain, work)
    for form in ("int8-dynamic", "int8-static"):
        held = onnx.load(work.out / FORM_FILES[form]).graph.initializer
        kept = {one.name: numpy_helper.to_array(one) for one in held}
        ends = {int(np.abs(one).max()) for name, one in kept.items() if f"{name}".endswith("weight.int8")}
        assert ends == {end, 127}  # products, and the table


def reuse(monkeypatch: pytest.MonkeyPatch, bundle: Any) -> None:
    """torch's exporter takes seconds; its graph is there."""

    def copied(student: Encoder, path: Path, opset: int) -> None:
        shutil.copyfile(bundle.path / "model.onnx", path)

    monkeypatch.setattr(graph, "export", copied)


def edited(model: onnx.ModelProto, name: str, change: Callable[[Any], Any]) -> None:
    """Change one constant of a graph."""
    [held] = [one for one in model.graph.initializer if one.name == name]
    values = numpy_helper.to_array(held)
    held.CopyFrom(numpy_helper.from_array(np.array(change(values), dtype=values.dtype, order="C"), name))


def wrong_scale(model: onnx.ModelProto, site: str) -> None:
    edited(model, f"{site}.weight.scale", lambda steps: 2 * steps)


def wrong_input_scale(model: onnx.ModelProto, site: str) -> None:
    edited(model, f"{site}.input.scale", lambda step: step / 8)


def swapped_axis(model: onnx.ModelProto, site: str) -> None:
    """Static: one step a row where it should be one a column; dynamic: rows stored as columns."""
    weights = f"{site}.weight.int8"
    [reader] = [node for node in model.graph.node if weights in node.input]
    axes = [attribute for attribute in reader.attribute if attribute.name == "axis"]
    if not axes:
        edited(model, weights, np.transpose)
    for axis in axes:
        axis.i = 0


def dropped_bias(model: onnx.ModelProto, site: str) -> None:
    [add] = [node for node in model.graph.node if f"{site}.bias" in node.input]
    add.op_type = "Identity"
    add.input.remove(f"{site}.bias")


def zeroed_bias(model: onnx.ModelProto, site: str) -> None:
    edited(model, f"{site}.bias", np.zeros_like)


def saturated_zero(model: onnx.ModelProto, site: str) -> None:
    """Static: the zero-point that all inputs share; int4: those of one product."""
    shared = f"{site}.weight.int4" not in {one.name for one in model.graph.initializer}
    edited(
        model,
        "zero.int8" if shared else f"{site}.weight.zero",
        lambda zeros: np.full_like(zeros, 127 if shared else 255),
    )


def transposed_block(model: onnx.ModelProto, site: str) -> None:
    """(outputs, blocks, bytes) read as (blocks, bytes, outputs)."""
    edited(model, f"{site}.weight.int4", lambda codes: codes.transpose(1, 2, 0).reshape(codes.shape))


def swapped_halves(model: onnx.ModelProto, site: str) -> None:
    """The first code of a byte in its upper half."""
    edited(model, f"{site}.weight.int4", lambda codes: codes >> 4 | codes << 4)


def wrong_table(model: onnx.ModelProto, site: str) -> None:
    edited(model, f"{site}.scale", lambda steps: steps[::-1])


BREAKS = [
    # Most of these change no label of this student, and its logits by less than their tolerance.
    ("int8-dynamic", wrong_scale, "layers.1.up"),
    ("int8-dynamic", swapped_axis, "layers.1.down"),
    ("int8-dynamic", dropped_bias, "layers.1.query"),
    ("int8-dynamic", zeroed_bias, "layers.1.pair"),
    ("int8-dynamic", wrong_table, "embedding.weight"),
    ("int8-dynamic", wrong_table, "position_embeddings"),
    ("int8-static", wrong_scale, "layers.1.query"),
    ("int8-static", wrong_input_scale, "layers.1.query"),
    ("int8-static", swapped_axis, "layers.0.up"),
    ("int8-static", dropped_bias, "layers.1.up"),
    ("int8-static", zeroed_bias, "head.dense"),
    ("int8-static", saturated_zero, "layers.1.down"),
    ("int4-weight", wrong_scale, "layers.1.out"),
    ("int4-weight", dropped_bias, "layers.1.query"),
    ("int4-weight", saturated_zero, "layers.1.down"),
    ("int4-weight", transposed_block, "layers.1.down"),
    ("int4-weight", swapped_halves, "layers.1.out"),
]


def spoiled(spoil: Callable[[onnx.ModelProto, str], None], site: str) -> Callable[..., None]:
    """A conversion that goes wrong in one place."""

    def broken(form: Any, fp32: Path, target: Path, *settings: Any) -> None:
        convert(form, fp32, target, *settings)
        model = onnx.load(target)
        spoil(model, site)
        onnx.save(model, target)

    return broken


@pytest.mark.parametrize(("form", "spoil", "site"), BREAKS)
def test_a_broken_conversion_is_caught(form, spoil, site, chain, bundle, tmp_path, monkeypatch):
    reuse(monkeypatch, bundle)
    monkeypatch.setattr(stage, "convert", spoiled(spoil, site))
    with pytest.raises(ParityFailed) as caught:
        stage.run(config(forms=["fp32", form]), chain, tiny.work(tmp_path))
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(f"{FORM_FILES[form]} against model.onnx")
    assert site in str(caught.value)


def test_logits_out_of_tolerance_are_told_with_the_products_behind_them(chain, bundle, tmp_path, monkeypatch):
    reuse(monkeypatch, bundle)
    monkeypatch.setattr(stage, "convert", spoiled(wrong_scale, "head.dense"))
    with pytest.raises(
        ParityFailed, match=r"24 validation texts: logits differ by 0\.\d+ of their spread"
    ) as caught:
        stage.run(config(forms=["int8-dynamic"]), chain, tiny.work(tmp_path))
    shares = dict(re.findall(r"(\S+) ([\d.e+-]+) % \(", caught.value.hint.partition("by product: ")[2]))
    assert len(shares) == 6
    assert max(shares, key=lambda site: float(shares[site])) == "head.dense"
    assert float(shares["head.dense"]) == pytest.approx(100, abs=5)


def test_a_good_conversion_has_all_its_vectors_and_small_differences(bundle):
    result = ExportResult.parse(bundle.result)
    assert result.forms["fp32"].product is None
    for form, most in (("int8-dynamic", 0.02), ("int8-static", 0.05), ("int4-weight", 0.2)):
        path = bundle.path / FORM_FILES[form]
        assert lost(bundle.path / "model.onnx", path) == ()
        assert 0 < (result.forms[form].product or 0) < most
