"""The quantized forms: what they store, what they compute, and what ONNX Runtime makes of them."""

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

from squeeze.core.rounding import WEIGHT_BITS, blocks_to_int4, columns_to_int8
from squeeze.errors import StageFailed
from squeeze.graphs import int4, int8, lean, ort_format, sites, static
from squeeze.graphs.calibration import calibrate
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import Feed, watch
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.targets.ort import open_session, options
from tests import tiny

NAMES = ("dense", "factorised", "product", "mpnet")
PRODUCTS = 3 * 4 + 1 + 1
"""Of the dense student that are wide enough; the head of four labels is not."""


def feed(rows: int = 1, length: int = 11, seed: int = 0) -> Feed:
    ids, mask = tiny.batch(rows, length, seed)
    return {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}


def run(path: Path, values: Feed) -> Any:
    return open_session(path, threads=1).run(["logits"], values)[0]


def stored(path: Path) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


class Forms:
    """One student in every form."""

    def __init__(self, fp32: Path, folder: Path) -> None:
        self.fp32 = fp32
        self.scales = calibrate(self.fp32, [feed(seed=s) for s in range(20)], "minmax", 1)
        made: dict[str, Callable[[Path], None]] = {
            "int8-dynamic": lambda to: int8.quantize(self.fp32, to),
            "int8-static": lambda to: static.quantize(self.fp32, to, self.scales),
            "int4-weight": lambda to: int4.quantize(self.fp32, to, block=16),
            "int4 rows": lambda to: int4.quantize(self.fp32, to, block=16, table_bits=4),
        }
        self.paths = {form: folder / f"{form}.onnx" for form in made}
        for form, write in made.items():
            write(self.paths[form])


FORMS = ("int8-dynamic", "int8-static", "int4-weight", "int4 rows")
NEAR = {"int8-dynamic": 0.06, "int8-static": 0.3, "int4-weight": 0.5, "int4 rows": 0.7}
"""Largest difference of a logit against the largest logit; these students are random and narrow."""


@pytest.fixture(scope="module")
def forms(exported, tmp_path_factory):
    made: dict[str, Forms] = {}

    def get(name: str) -> Forms:
        if name not in made:
            made[name] = Forms(exported(name)[1], tmp_path_factory.mktemp("forms"))
        return made[name]

    return get


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_sound_and_stays_near(name, form, forms):
    made = forms(name)
    path = made.paths[form]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=form.startswith("int8"), data_prop=True)
    [logits] = inferred.graph.output
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 4]
    contrib = ["com.microsoft"] if form.startswith("int4") else []
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 20), *((d, 1) for d in contrib)]
    assert model.ir_version == 10
    for rows, length in ((1, 1), (1, 27), (3, 11)):
        before, after = (run(one, feed(rows, length)) for one in (made.fp32, path))
        assert np.abs(after - before).max() < NEAR[form] * np.abs(before).max() + 0.01


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_no_float_copy_is_kept(name, form, forms):
    kept = stored(forms(name).paths[form])
    wide = [
        k for k, one in kept.items() if one.dtype == np.float32 and one.ndim == 2 and min(one.shape) >= 16
    ]
    assert wide == []


def test_static_pairs_are_what_tensorrt_and_onnxruntime_read(forms):
    path = forms("dense").paths["int8-static"]
    kept, model = stored(path), onnx.load(path)
    made = {out: node for node in model.graph.node for out in node.output}
    narrowed = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(narrowed) == len({node.input[0] for node in narrowed}) == PRODUCTS
    for node in narrowed:
        scale, zero = (kept[name] for name in node.input[1:])
        assert (scale.shape, zero.shape, zero.dtype, int(zero)) == ((), (), np.int8, 0)
    products = [node for node in model.graph.node if node.name in forms("dense").scales.inputs]
    assert len(products) == PRODUCTS + 1
    for node in (node for node in products if node.name != "head.output"):
        entering, weights = (made[name] for name in node.input)
        assert (node.op_type, entering.op_type, weights.op_type) == (
            "MatMul", "DequantizeLinear", "DequantizeLinear",
        )  # fmt: skip
        assert made[entering.input[0]].op_type == "QuantizeLinear"
        whole, steps = kept[weights.input[0]], kept[weights.input[1]]
        assert (whole.dtype, steps.shape) == (np.int8, (whole.shape[1],))
        assert [a.i for a in weights.attribute if a.name == "axis"] == [1]
    # Residuals, norms, softmax and the products within attention read floats.
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    readers = {node.name for node in model.graph.node if quantized & set(node.input)}
    assert readers == {node.name for node in products} - {"head.output"}


def test_static_computes_rounded_inputs_times_rounded_weights(forms):
    made = forms("dense")
    model = ir.load(made.fp32)
    for site in ("layers.0.qkv", "layers.0.out", "layers.2.down"):
        node = sites.products(model)[site]
        entering, leaving = str(sites.entering(node).name), sites.outputs(model)[site]
        alone = made.fp32.parent / "alone.onnx"
        others = set(sites.products(model)) - {site}
        static.quantize(made.fp32, alone, made.scales, keep=others)
        [before] = watch(made.fp32, [entering, leaving], [feed()], 1)
        [after] = watch(alone, [entering, leaving], [feed()], 1)
        step = np.float32(made.scales.inputs[site])
        rounded = np.clip(np.rint(after[entering] / step), -128, 127) * step
        values, steps = columns_to_int8(sites.matrix(node), bits=WEIGHT_BITS)
        bias = before[leaving] - before[entering] @ sites.matrix(node)
        np.testing.assert_allclose(after[leaving], rounded @ (values * steps) + bias, atol=1e-4)
        assert np.abs(after[leaving] - before[leaving]).max() > 1e-3


def fused(path: Path, folder: Path) -> Counter[str]:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.add_session_config_entry("session.x64quantprecision", "1")
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return operators(folder / "fused.onnx")


@pytest.mark.parametrize("name", ["dense", "factorised"])
def test_onnxruntime_makes_integer_kernels_of_every_static_product(name, forms, tmp_path):
    path = forms(name).paths["int8-static"]
    found = fused(path, tmp_path)
    extra = 2 if name == "factorised" else 0  # the projection of the table, and the one to the hidden width
    assert found["MatMulIntegerToFloat"] == PRODUCTS + extra
    assert found["DequantizeLinear"] == 0
    assert found["Gemm"] == 1  # the narrow head


def test_onnxruntime_adds_the_bias_within_the_int4_product(forms, tmp_path):
    found = fused(forms("dense").paths["int4-weight"], tmp_path)
    assert found["MatMulNBits"] == PRODUCTS


@pytest.mark.parametrize("form", ["int8-dynamic", "int8-static"])
@pytest.mark.parametrize("bits", [8, 7])
def test_trained_steps_and_fewer_bits_are_obeyed(form, bits, forms, tmp_path):
    made = forms("dense")
    model, site = ir.load(made.fp32), "layers.1.up"
    whole = sites.matrix(sites.products(model)[site])
    steps = np.linspace(0.5, 0.8, whole.shape[1], dtype=np.float32) * np.abs(whole).max() / 64
    scales = Scales(made.scales.inputs, {site: steps})
    write = {"int8-dynamic": int8.quantize, "int8-static": static.quantize}[form]
    write(made.fp32, tmp_path / "trained.onnx", scales, weight_bits=bits)
    kept = stored(tmp_path / "trained.onnx")
    end = {8: 127, 7: 63}[bits]
    expected = np.clip(np.rint(whole / steps), -end, end)
    np.testing.assert_array_equal(kept[f"{site}.weight.int8"], expected)
    np.testing.assert_array_equal(kept[f"{site}.weight.scale"], steps)
    others = [
        one
        for key, one in kept.items()
        if key.startswith("layers") and key.endswith("int8") and site not in key
    ]
    assert {int(np.abs(one).max()) for one in others} == {end}


@pytest.mark.parametrize("bits", [8, 7])
def test_weights_of_seven_bits_stay_signed_where_exact_products_are_asked_for(bits, forms, tmp_path):
    int8.quantize(forms("dense").fp32, tmp_path / "model.onnx", weight_bits=bits)
    fused(tmp_path / "model.onnx", tmp_path)
    products = [
        node for node in onnx.load(tmp_path / "fused.onnx").graph.node if "QuantizeMatMul" in node.op_type
    ]
    kept = stored(tmp_path / "fused.onnx")
    types = {kept[node.input[1]].dtype.name for node in products}
    exact = open_session(tmp_path / "model.onnx", threads=1)
    runtime = pytest.importorskip("onnxruntime")
    fast = runtime.InferenceSession(str(tmp_path / "model.onnx"), options(threads=1, exact=False))
    same = np.array_equal(exact.run(None, dict(feed()))[0], fast.run(None, dict(feed()))[0])
    if bits == 7:
        assert (types, same) == ({"int8"}, True)
    else:
        assert types <= {"int8", "uint8"}  # by processor


@pytest.mark.parametrize("form", FORMS[:3])
def test_what_is_kept_stays_float(form, forms, tmp_path):
    made = forms("dense")
    write: dict[str, Callable[..., None]] = {
        "int8-dynamic": lambda: int8.quantize(made.fp32, tmp_path / "kept.onnx", keep=("layers.0.up",)),
        "int8-static": lambda: static.quantize(
            made.fp32, tmp_path / "kept.onnx", made.scales, keep=("layers.0.up",)
        ),
        "int4-weight": lambda: int4.quantize(made.fp32, tmp_path / "kept.onnx", keep=("layers.0.up",)),
    }
    write[form]()
    assert list(sites.products(ir.load(tmp_path / "kept.onnx"))) == ["layers.0.up", "head.output"]


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (Scales({"layers.9.up": 0.1}), r"scales for layers\.9\.up, but the graph has no such product"),
        (Scales({}, {"layers.0.up": np.ones(3, np.float32)}), r"layers\.0\.up: .* \(3,\) for 64 output"),
        (Scales({"layers.0.up": 0.0}), r"layers\.0\.up: a step is not a positive number"),
        (Scales({}, {"layers.0.up": np.full(64, np.nan, np.float32)}), "not a positive number"),
        (Scales({"layers.0.up": 0.1}), r"no step for the input of layers\.0\.qkv, layers\.0\.out"),
    ],
)
def test_scales_of_another_graph_are_refused(scales, message, forms, tmp_path):
    with pytest.raises(StageFailed, match=message):
        static.quantize(forms("dense").fp32, tmp_path / "no.onnx", scales)
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [16, 32])
def test_int4_computes_with_the_restored_weights(symmetric, block, forms, tmp_path):
    made, site = forms("dense"), "layers.0.up"
    model = ir.load(made.fp32)
    others = set(sites.products(model)) - {site}
    int4.quantize(made.fp32, tmp_path / "alone.onnx", others, block=block, symmetric=symmetric, accuracy=1)
    node = sites.products(model)[site]
    entering, leaving = str(sites.entering(node).name), sites.outputs(model)[site]
    [exact] = watch(made.fp32, [entering, leaving], [feed()], 1)
    [found] = watch(tmp_path / "alone.onnx", [entering, leaving], [feed()], 1)
    whole = sites.matrix(node)
    bias = exact[leaving] - exact[entering] @ whole
    restored = blocks_to_int4(whole, block, symmetric=symmetric).restored(len(whole))
    np.testing.assert_allclose(found[leaving], found[entering] @ restored + bias, atol=1e-4)


def test_int4_rows_are_those_of_the_table(forms, tmp_path):
    made = forms("dense")
    path = made.paths["int4 rows"]
    assert operators(path)["GatherBlockQuantized"] == 1
    [gather] = [node for node in ir.load(path).graph if node.op_type == "GatherBlockQuantized"]
    [row] = watch(path, [str(gather.outputs[0].name)], [feed()], 1)
    table = stored(made.fp32)["embedding.weight"]
    restored = blocks_to_int4(table.T, 32, symmetric=True).restored(table.shape[1]).T
    np.testing.assert_allclose(next(iter(row.values())), restored[feed()["input_ids"]], atol=1e-6)


def test_codebooks_keep_their_bytes(forms):
    assert operators(forms("product").paths["int4 rows"])["GatherBlockQuantized"] == 0


def test_files_get_smaller(tmp_path):
    shape: dict[str, Any] = {
        "hidden": 256,
        "layers": (LayerShape(heads=32, ffn=256),),
        "embedding": EmbeddingShape(width=256),
    }
    paths = {name: tmp_path / f"{name}.onnx" for name in ("fp32", "int8", "int4")}
    lean.export(tiny.encoder(labels=4, **shape), paths["fp32"], 20)
    int8.quantize(paths["fp32"], paths["int8"])
    int4.quantize(paths["fp32"], paths["int4"], block=64, table_bits=4)
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    assert sizes["int8"] < 0.28 * sizes["fp32"]
    assert sizes["int4"] < 0.18 * sizes["fp32"]


@pytest.mark.parametrize("form", ["fp32", *FORMS])
def test_the_ort_format_gives_the_same_logits(form, forms, tmp_path):
    made = forms("product")
    path = made.fp32 if form == "fp32" else made.paths[form]
    ort_format.convert(path, tmp_path / "model.ort")
    for rows, length in ((1, 1), (3, 11)):
        np.testing.assert_array_equal(
            run(tmp_path / "model.ort", feed(rows, length)), run(path, feed(rows, length))
        )


def test_what_is_no_model_is_not_converted(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(Exception, match=r"no\.onnx"):
        ort_format.convert(tmp_path / "no.onnx", tmp_path / "no.ort")
