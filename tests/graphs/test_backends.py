"""int8 forms by ONNX Runtime's quantizer and by NNCF: the shape of ours, every product held to its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from squeeze.errors import StageFailed
from squeeze.graphs import lean, sites
from squeeze.graphs.backends import by_nncf, by_onnxruntime
from squeeze.graphs.backends.by_nncf import Control
from squeeze.graphs.difference import by_site, lost
from squeeze.graphs.for_tensorrt import adapt
from squeeze.graphs.readiness import inspect
from squeeze.graphs.watching import Feed
from squeeze.targets.ort import open_session
from tests import tiny

NAMES = ("dense", "factorised", "product", "mpnet")
MADE = ("onnxruntime dynamic", "onnxruntime static", "nncf static")
NEAR = {"onnxruntime dynamic": 0.06, "onnxruntime static": 0.3, "nncf static": 0.3}
"""Largest difference of a logit against the largest logit, as of our own forms in test_forms.py."""


def feeds(count: int = 20) -> list[Feed]:
    """Texts of different lengths, one a call."""
    made = [tiny.batch(1, 5 + seed % 9, seed) for seed in range(count)]
    return [{"input_ids": ids.numpy(), "attention_mask": mask.numpy()} for ids, mask in made]


def agreement(logits: Any, labels: Any) -> float:
    return float((logits.argmax(1) == labels).mean())


def rows_right(logits: Any, labels: Any) -> Any:
    return (logits.argmax(1) == labels).astype(float)


def lenient() -> Control:
    return Control(feeds(4), np.zeros(4, dtype=np.int64), agreement, rows_right, 1.0)


def write(made: str, fp32: Path, target: Path, bits: int = 7, **changes: Any) -> None:
    """One form; those of NNCF are skipped where it is not installed."""
    if made == "onnxruntime dynamic":
        by_onnxruntime.dynamic(fp32, target, bits)
    elif made == "onnxruntime static":
        by_onnxruntime.static(fp32, target, feeds(), changes.get("method", "minmax"), bits)
    else:
        pytest.importorskip("nncf")
        control = changes.get("control") or lenient()
        by_nncf.static(fp32, target, feeds(), changes.get("method", "minmax"), bits, control, threads=1)


@pytest.fixture(scope="module")
def forms(exported, tmp_path_factory):
    """A form by who made it and of which student, with the fp32 file; made when first asked for."""
    kept: dict[tuple[str, str], Path] = {}

    def get(name: str, made: str) -> tuple[Path, Path]:
        if (name, made) not in kept:
            kept[name, made] = tmp_path_factory.mktemp("borrowed") / "form.onnx"
            write(made, exported(name)[1], kept[name, made])
        return exported(name)[1], kept[name, made]

    return get


def run(path: Path, feed: Feed) -> Any:
    return open_session(path, threads=1).run(["logits"], dict(feed))[0]


def stored(path: Path) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_sound_smaller_and_stays_near(name, made, forms):
    fp32, path = forms(name, made)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 20)]
    assert (model.ir_version, len(model.metadata_props)) == (10, 0)
    assert (
        path.stat().st_size < 0.75 * fp32.stat().st_size
    )  # these students are tiny: the graph itself counts
    for feed in feeds(3):
        before, after = run(fp32, feed), run(path, feed)
        assert np.abs(after - before).max() < NEAR[made] * np.abs(before).max() + 0.01


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("name", NAMES)
def test_every_product_is_found_and_gives_what_it_should(name, made, forms):
    fp32, path = forms(name, made)
    found = by_site(fp32, path, feeds(8), threads=1)
    products, wide = sites.products(ir.load(fp32)), sites.wide(ir.load(fp32))
    assert set(products) <= {each.site for each in found}
    assert max(each.output for each in found) < 0.05
    assert max(each.input for each in found) < 0.1
    assert all(each.output > 0 for each in found if each.site in wide)  # it was quantized
    assert lost(fp32, path) == ()


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("name", NAMES)
def test_no_float_copy_is_kept_and_tables_are_looked_up_before_they_are_widened(name, made, forms):
    _, path = forms(name, made)
    kept = stored(path)
    wide = [
        k for k, one in kept.items() if one.dtype == np.float32 and one.ndim == 2 and min(one.shape) >= 16
    ]
    assert wide == []
    looked_up = [node.input[0] for node in onnx.load(path).graph.node if node.op_type == "Gather"]
    tables = [table for table in looked_up if table in kept and kept[table].ndim == 2]
    assert tables
    assert {kept[table].dtype for table in tables} <= {np.dtype(np.int8), np.dtype(np.uint8)}


@pytest.mark.parametrize("made", MADE[1:])
@pytest.mark.parametrize("name", NAMES)
def test_only_products_read_what_is_rounded_and_tensorrt_would_take_it(name, made, forms):
    fp32, path = forms(name, made)
    model = ir.load(path)
    wide = set(sites.wide(ir.load(fp32)))
    pairs = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    readers = {
        use.node.name
        for pair in pairs
        for dequantizer in pair.outputs[0].uses()
        for use in dequantizer.node.outputs[0].uses()
    }
    assert readers == wide
    adapt(model)
    assert [issue for issue in inspect(model).issues if issue.severity == "error"] == []


@pytest.mark.parametrize("made", MADE)
def test_weights_have_as_many_bits_as_asked_for(made, forms, tmp_path):
    fp32, seven = forms("dense", made)
    write(made, fp32, tmp_path / "eight.onnx", bits=8)
    for path, most in ((seven, 64), (tmp_path / "eight.onnx", 128)):
        products = [
            one for k, one in stored(path).items()
            if one.dtype == np.int8 and one.ndim == 2 and not k.startswith(("embedding.", "position_"))
        ]  # fmt: skip
        ends = {int(np.abs(one.astype(int)).max()) for one in products}
        assert len(products) == 3 * 4 + 1 + 1
        assert most - 2 <= min(ends) <= max(ends) <= most


@pytest.mark.parametrize(
    ("made", "method"),
    [("onnxruntime static", each) for each in by_onnxruntime.METHODS]
    + [("nncf static", each) for each in by_nncf.METHODS],
)
def test_ranges_are_cut_as_asked_for(made, method, forms, tmp_path):
    fp32, whole = forms("dense", made)
    write(made, fp32, tmp_path / "cut.onnx", method=method)
    cut = [each.input for each in by_site(fp32, tmp_path / "cut.onnx", feeds(8), threads=1)]
    full = [each.input for each in by_site(fp32, whole, feeds(8), threads=1)]
    assert (cut == full) is (method == "minmax")
    assert max(cut) < 0.3


@pytest.mark.parametrize("divided", [True, False])
def test_factors_before_a_product_must_be_taken_out_of_its_weights(divided, exported, tmp_path):
    fp32, site = exported("dense")[1], "layers.0.up"
    model = onnx.load(fp32)
    place, node = next((i, one) for i, one in enumerate(model.graph.node) if one.name == site)
    factors = np.geomspace(0.1, 10, 32).astype(np.float32)
    if divided:
        [weights] = [one for one in model.graph.initializer if one.name == node.input[1]]
        smooth = numpy_helper.to_array(weights) / factors[:, None]
        weights.CopyFrom(numpy_helper.from_array(smooth, weights.name))
    model.graph.initializer.append(numpy_helper.from_array(factors, "factors"))
    model.graph.node.insert(place, onnx.helper.make_node("Mul", [node.input[0], "factors"], ["smoothed"]))
    node.input[0] = "smoothed"
    onnx.save(model, tmp_path / "smooth.onnx")
    found = {each.site: each for each in by_site(fp32, tmp_path / "smooth.onnx", feeds(4), threads=1)}
    assert found[site].input < 1e-6
    assert (found[site].output < 1e-6) is divided


def test_nncf_gives_products_back_until_the_score_holds(forms, exported, tmp_path):
    fp32, whole = forms("dense", "nncf static")
    texts = feeds(12)
    exact = np.concatenate([run(fp32, feed) for feed in texts])

    def closeness(logits: Any, labels: Any) -> float:
        return -float(np.abs(logits - exact[labels]).max())

    rounded = np.concatenate([run(whole, feed) for feed in texts])
    rows = np.arange(12)
    allowed = -closeness(rounded, rows) / 2
    control = Control(texts, rows, closeness, rows_right, allowed)
    write("nncf static", fp32, tmp_path / "held.onnx", control=control)
    pairs = operators(tmp_path / "held.onnx")["QuantizeLinear"]
    assert pairs < operators(whole)["QuantizeLinear"]
    found = by_site(fp32, tmp_path / "held.onnx", texts, threads=1)
    assert max(each.output for each in found) < 0.05  # what was given back computes what it did
    assert lost(fp32, tmp_path / "held.onnx") == ()


@pytest.mark.parametrize("made", MADE[1:])
def test_what_is_never_below_zero_is_rounded_to_int8_too(made, tmp_path):
    fp32, path = tmp_path / "model.onnx", tmp_path / "form.onnx"
    lean.export(tiny.encoder(labels=4, activation="relu"), fp32, 20)
    write(made, fp32, path)
    assert {one.dtype for k, one in stored(path).items() if "zero" in k} == {np.dtype(np.int8)}
    found = by_site(fp32, path, feeds(8), threads=1)
    assert max(each.output for each in found) < 0.05
    assert max(each.input for each in found) < 0.1
    onnx.checker.check_model(onnx.load(path), full_check=True)


@pytest.mark.parametrize("made", MADE)
def test_nothing_is_printed(made, exported, tmp_path, capfd):
    write(made, exported("dense")[1], tmp_path / "form.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "quantize",
    [
        lambda fp32, target: by_onnxruntime.static(fp32, target, [], "minmax", 7),
        lambda fp32, target: by_nncf.static(fp32, target, [], "minmax", 7, lenient(), 1),
    ],
)
def test_without_text_nothing_is_written(quantize: Callable[[Path, Path], None], exported, tmp_path):
    with pytest.raises(StageFailed, match="no text to calibrate on"):
        quantize(exported("dense")[1], tmp_path / "form.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_quantizer_that_gives_up_is_one_line(exported, tmp_path, monkeypatch):
    from onnxruntime import quantization

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("Unable to find data type\nfor weight_name='w'")

    monkeypatch.setattr(quantization, "quantize_dynamic", fails)
    with pytest.raises(
        StageFailed, match=r"gave up: Unable to find data type for weight_name='w'$"
    ) as caught:
        by_onnxruntime.dynamic(exported("dense")[1], tmp_path / "form.onnx", 7)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_nncf_is_one_line(exported, tmp_path, monkeypatch):
    nncf = pytest.importorskip("nncf")

    def fails(*_: Any, **__: Any) -> None:
        raise nncf.ValidationError("no such scope\nsee the manual")

    monkeypatch.setattr(nncf, "quantize", fails)
    with pytest.raises(StageFailed, match=r"NNCF gave up: no such scope see the manual$"):
        write("nncf static", exported("dense")[1], tmp_path / "form.onnx")
    assert list(tmp_path.iterdir()) == []


def test_text_that_the_graph_cannot_run_is_told(exported, tmp_path):
    wrong = [{"input_ids": np.ones((1, 3), dtype=np.int64)}]
    with pytest.raises(StageFailed, match="attention_mask"):
        by_onnxruntime.static(exported("dense")[1], tmp_path / "form.onnx", wrong, "minmax", 7)
    assert list(tmp_path.iterdir()) == []
