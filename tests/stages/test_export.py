"""The exported graphs: the same logits as torch, nothing in them that need not be, and a whole bundle."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import load_file

from squeeze.data import dataset
from squeeze.errors import ParityFailed
from squeeze.graphs import int8
from squeeze.graphs import lean as graph
from squeeze.models.embedding import Product
from squeeze.models.encoder import Encoder, LayerShape
from squeeze.stages.export import parity
from squeeze.stages.export.card import model_card
from squeeze.stages.export.run import run
from squeeze.stages.export.stage import EngineResult, ExportResult, Tolerance
from squeeze.targets.ort import open_session
from tests import distilled, tiny
from tests.distilled import export_config as config
from tests.labelled import predict, truth

LABELS = tuple("abcd")
SIZES = [(1, 1), (3, 1), (1, 27), (4, 11), (2, tiny.POSITIONS)]


class Exported:
    """One student and its two files."""

    def __init__(self, student: Encoder, folder: Path, opset: int = 20) -> None:
        self.student, self.fp32, self.int8 = student, folder / "model.onnx", folder / "model.int8.onnx"
        graph.export(student, self.fp32, opset)
        int8.quantize(self.fp32, self.int8)

    def torch(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        with torch.no_grad():
            return self.student(ids, mask).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exporting takes seconds: each student once, when a test first asks."""
    made: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in made:
            made[name] = Exported(
                tiny.encoder(labels=4, **tiny.STUDENTS[name]), tmp_path_factory.mktemp("onnx")
            )
        return made[name]

    return get


def onnx_logits(path: Path, ids: Any, mask: Any) -> Any:
    feed = {"input_ids": np.asarray(ids), "attention_mask": np.asarray(mask)}
    return open_session(path, threads=1).run(["logits"], feed)[0]


def weights(path: Path) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", tiny.STUDENTS)
def test_the_graph_gives_the_students_logits(name, exported):
    made = exported(name)
    for rows, length in SIZES:
        ids, mask = tiny.batch(rows, length)
        np.testing.assert_allclose(
            onnx_logits(made.fp32, ids, mask), made.torch(ids, mask), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("name", tiny.STUDENTS)
def test_int8_stays_near(name, exported):
    made = exported(name)
    for rows, length in SIZES:
        ids, mask = tiny.batch(rows, length)
        before = made.torch(ids, mask)
        assert np.abs(onnx_logits(made.int8, ids, mask) - before).max() < 0.06 * np.abs(before).max() + 0.01


def test_padding_changes_nothing_and_too_long_a_text_is_refused(exported):
    made = exported("product")
    ids, mask = tiny.batch(2, 9)
    wide = np.pad(ids.numpy(), ((0, 0), (0, 5)), constant_values=7), np.pad(mask.numpy(), ((0, 0), (0, 5)))
    np.testing.assert_allclose(onnx_logits(made.fp32, *wide), made.torch(ids, mask), atol=1e-5, rtol=0)
    long = np.full((1, tiny.POSITIONS + 1), 7)
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    with pytest.raises((state.InvalidArgument, state.Fail, state.RuntimeException)):
        onnx_logits(made.fp32, long, np.ones_like(long))


@pytest.mark.parametrize("name", tiny.STUDENTS)
@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_files_are_sound_and_tell_nothing_of_this_machine(name, form, exported):
    path = getattr(exported(name), form)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 20)]
    assert model.ir_version == 10  # read by ONNX Runtime from 1.18
    read = {name for node in model.graph.node for name in node.input}
    assert {one.name for one in model.graph.initializer} <= read
    tables = [one.SerializeToString()[-64:] for one in model.graph.initializer if len(one.dims) == 2]
    assert len(tables) == len(set(tables))
    text = path.read_bytes().decode("latin-1")
    assert not re.search(r"\.py\b|/home/|/root/|site-packages|torch", text)
    ends = {
        e.name: [d.dim_param or d.dim_value for d in e.type.tensor_type.shape.dim] for e in model.graph.input
    }
    assert ends == {"input_ids": ["batch", "sequence"], "attention_mask": ["batch", "sequence"]}
    assert [one.name for one in model.graph.output] == ["logits"]


def test_the_graph_is_lean(exported):
    path = exported("product").fp32
    found, layers, before_last = operators(path), 3, 2
    # Q-K-V, out, up, down a layer; scores and context; Q apart in the last; two in the head.
    assert found["MatMul"] + found["Gemm"] == 4 * layers + 2 * layers + 1 + 2
    assert (found["Gelu"], found["Softmax"], found["LayerNormalization"]) == (layers, layers, 2 * layers + 1)
    assert (found["Split"], found["Sum"]) == (layers, 2 * layers + 1)
    assert (found["Transpose"], found["Reshape"]) == (3 * before_last + 2, 2 * before_last + 4)
    assert (found["Shape"], found["Slice"], found["Sub"], found["Mul"], found["Unsqueeze"]) == (1, 1, 1, 1, 1)
    assert not found.keys() & {
        "GatherND",
        "Expand",
        "Where",
        "Concat",
        "Squeeze",
        "Div",
        "Pow",
        "Erf",
        "Range",
    }
    assert sum(found.values()) <= 84


def test_the_last_layer_is_computed_for_the_first_token_only(exported):
    model = onnx.shape_inference.infer_shapes(onnx.load(exported("dense").fp32), data_prop=True)
    ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in model.graph.value_info}
    gelus = [node.output[0] for node in model.graph.node if node.op_type == "Gelu"]
    assert [ranks[name] for name in gelus] == [3, 3, 2]


def test_folding_changes_no_logit_and_not_the_student():
    student = tiny.encoder()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    ids, mask = tiny.batch()
    with torch.no_grad():
        torch.testing.assert_close(graph.folded(student)(ids, mask), student(ids, mask), atol=1e-6, rtol=0)
        torch.testing.assert_close(graph.Lean(student)(ids, mask), student(ids, mask), atol=1e-6, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("name", tiny.STUDENTS)
def test_int8_keeps_no_float_copy(name, exported):
    made = exported(name)
    kept, shape = weights(made.int8), made.student.shape
    matrices = [one for one in kept.values() if one.ndim == 2 and one.dtype == np.float32]
    # What stays in float: the head of four labels, and MPNet's distances.
    allowed = {(4, 32), (32, 4), *((layer.heads, 2 * shape.positions - 1) for layer in shape.layers)}
    assert {one.shape for one in matrices} <= allowed
    values = sum(p.numel() for p in made.student.parameters()) + sum(
        b.numel() for key, b in made.student.named_buffers() if key.endswith("codes")
    )
    floats = sum(one.size for one in kept.values() if one.dtype == np.float32)
    assert sum(one.nbytes for one in kept.values()) < values + 4 * floats + 1500
    assert operators(made.int8)["DynamicQuantizeLinear"] <= operators(made.int8)["MatMulInteger"]


def test_int8_products_are_quantized_a_channel_each_and_the_narrow_head_is_not(exported):
    made = exported("dense")
    kept, model = weights(made.int8), onnx.load(made.int8)
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 3 * 4 + 1 + 1
    for node in products:
        stored = kept[node.input[1]]
        scale = kept[node.input[1].removesuffix(".int8") + ".scale"]
        assert (stored.dtype, scale.shape) == (np.int8, (stored.shape[1],))
        assert np.abs(stored).max(axis=0).min() == 63  # every channel uses its whole range
    up = made.student.layers[0].up.weight.detach().numpy().T
    best = [
        kept[n.input[1]] * kept[n.input[1].removesuffix(".int8") + ".scale"]
        for n in products
        if kept[n.input[1]].shape == up.shape
    ]
    assert min(np.abs(one - up).max() for one in best) <= np.abs(up).max() / 63
    head = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert [node.output[0] for node in head] == ["logits"]


@pytest.mark.parametrize("name", ["dense", "product"])
def test_rows_are_looked_up_before_they_are_widened(name, exported):
    made = exported(name)
    kept, model = weights(made.int8), onnx.load(made.int8)
    users = {node.input[0]: node.op_type for node in model.graph.node}
    small = {key for key, one in kept.items() if one.dtype in (np.int8, np.uint8)}
    tables = {key for key in small if users.get(key)}
    assert {users[key] for key in tables} == {"Gather", "Slice"}
    casts = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    assert not casts & set(kept)


def test_a_product_quantized_row_survives_int8(exported):
    made = exported("product")
    kept = weights(made.int8)
    key = next(k for k, one in kept.items() if one.dtype == np.int8 and one.shape == (8 * 16, 4))
    table = made.student.embedding
    assert isinstance(table, Product)
    books = table.weight.detach().numpy()
    scale = kept[key.removesuffix(".int8") + ".scale"].reshape(8, 1, 4).repeat(16, axis=1).reshape(-1, 4)
    assert np.abs(kept[key] * scale - books).max() <= scale.max() / 2 + 1e-7


def test_onnxruntime_fuses_every_product(exported, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    made = exported("product")
    runtime.InferenceSession(str(made.int8), options, providers=["CPUExecutionProvider"])
    found = operators(tmp_path / "fused.onnx")
    assert found["DynamicQuantizeMatMul"] == 14
    assert found["MatMulInteger"] == found["DynamicQuantizeLinear"] == 0
    assert found["SkipLayerNormalization"] == 0  # its CPU kernel is slower than what it replaces


def test_the_oldest_operator_set(tmp_path):
    made = Exported(tiny.encoder(layers=(LayerShape(heads=2, ffn=32),)), tmp_path, opset=18)
    model = onnx.load(made.fp32)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    ids, mask = tiny.batch()
    np.testing.assert_allclose(onnx_logits(made.fp32, ids, mask), made.torch(ids, mask), atol=1e-5, rtol=0)
    assert np.isfinite(onnx_logits(made.int8, ids, mask)).all()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Dataset, teacher and a product-quantized student of a trimmed vocabulary."""
    student = {
        "vocabulary": {"trim": True, "frequent": 0, "min_count": 60},
        "embedding": {"kind": "product", "subvectors": 8, "codewords": 32},
    }
    return distilled.chain(tmp_path_factory.mktemp("chain"), student)


@pytest.fixture(scope="module")
def bundle(chain, tmp_path_factory):
    work = tiny.work(tmp_path_factory.mktemp("bundle"))
    return tiny.artifact(work.out, "bundle", run(config(), chain, work).plain())


def test_a_bundle_is_whole(bundle, chain):
    result = ExportResult.parse(bundle.result)
    assert {path.name for path in bundle.path.iterdir()} == {
        "model.onnx", "model.int8.onnx", "tokenizer.json", "labels.json", "MODEL_CARD.md",
    }  # fmt: skip
    assert list(result.forms) == ["fp32", "int8-dynamic"]
    for form in result.forms.values():
        assert form.size_bytes == (bundle.path / form.file).stat().st_size
        assert set(form.quality) == {"validation", "test", "other_events"}
        assert "agreement" in form.quality["test"].scores
    assert result.forms["fp32"].parity.max_abs < 1e-5
    assert result.forms["fp32"].parity.rows == len(result.lengths) == 24
    assert result.forms["int8-dynamic"].parity.source == "model.onnx"
    card = (bundle.path / "MODEL_CARD.md").read_text()
    figure = result.forms["int8-dynamic"].quality["other_events"].scores["macro_f1"]
    assert f"| model.int8.onnx | {result.forms['int8-dynamic'].size_bytes:,} | other_events |" in card
    assert f"{figure:.4f}" in card


def test_the_card_tells_where_an_engine_runs(bundle, chain):
    made = ExportResult.parse(bundle.result)
    report = made.forms["fp32"].parity.model_copy(update={"agreement": 0.9875, "rows": 80})
    built = EngineResult(
        file="model.plan", size_bytes=1, precision="fp16", source="model.onnx", tensorrt="10.3.0",
        device="Orin (sm_87)", converted=report, parity=report,
    )  # fmt: skip
    without = model_card(config(), chain, made, 32)
    with_engine = model_card(config(), chain, made.model_copy(update={"engine": built}), 32)
    [line] = set(with_engine.splitlines()) - set(without.splitlines())
    assert "model.onnx in fp16 for TensorRT 10.3.0 on Orin (sm_87)" in line
    assert "98.75 % of the labels of 80 validation texts" in line


def test_predict_agrees_with_torch(bundle, chain):
    texts = dataset.load(chain["dataset"].path).splits["test"].texts
    want = load_file(chain["encoder"].path / "predictions.safetensors")["test"]
    found = predict(bundle.path, texts, form="fp32")
    assert [one.label for one in found] == [tiny.LABELS[i] for i in want.argmax(1)]
    shares = np.array([list(one.probabilities.values()) for one in found])
    exact = np.exp(want) / np.exp(want).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, exact, atol=1e-5)
    quantized = np.array([list(one.probabilities.values()) for one in predict(bundle.path, texts)])
    assert 0 < np.abs(quantized - exact).max() < 0.05


def test_the_readmes_own_program_answers_as_predict_does(bundle):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    text = "we need water"
    assert names["classify"](bundle.path, text) == predict(bundle.path, [text])[0].label


def test_the_bundle_needs_no_torch(bundle):
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'onnx'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from squeeze.predict import predict\n"
        f"print(predict(Path({str(bundle.path)!r}), ['we need water'])[0].label)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in tiny.LABELS


def test_one_form_alone_and_nothing_is_printed(chain, tmp_path, capfd, caplog):
    work = tiny.work(tmp_path)
    result = run(config(forms=["int8-dynamic"]), chain, work)
    assert list(result.forms) == ["int8-dynamic"]
    assert not (work.out / "model.onnx").exists()
    assert capfd.readouterr() == ("", "")
    assert [one.getMessage() for one in caplog.records if one.levelname not in ("DEBUG", "INFO")] == []


def test_the_card_tells_the_length_that_the_student_reads(chain, tmp_path):
    work = tiny.work(tmp_path)
    run(config(max_length=500, forms=["fp32"]), chain, work)
    assert '"max_length": 32' in (work.out / "labels.json").read_text()
    assert "one text of at most 32 tokens" in (work.out / "MODEL_CARD.md").read_text()


def test_a_wrong_conversion_fails_with_its_figures(chain, bundle, tmp_path, monkeypatch):
    def broken(student: Encoder, path: Path, opset: int) -> None:
        model = onnx.load(bundle.path / "model.onnx")
        [head] = [one for one in model.graph.initializer if one.name.endswith("head.output.bias")]
        head.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(head) + np.array([0, 9], np.float32), head.name)
        )
        onnx.save(model, path)

    monkeypatch.setattr(graph, "export", broken)
    work = tiny.work(tmp_path)
    with pytest.raises(ParityFailed) as caught:
        run(config(), chain, work)
    message = caught.value.message
    assert caught.value.exit_code == 4
    assert re.search(r"model.onnx against torch on 24 validation texts", message)
    assert re.search(r"largest logit difference 9 exceeds 0.001", message)
    assert re.search(r"label agreement 0\.\d{4} is below 1\.0000", message)
    assert not {"labels.json", "tokenizer.json", "MODEL_CARD.md", "model.int8.onnx"} & {
        path.name for path in work.out.iterdir()
    }


def test_a_graph_that_forgets_its_mask_fails(chain, bundle, tmp_path, monkeypatch):
    def forgetful(student: Encoder, path: Path, opset: int) -> None:
        model = onnx.load(bundle.path / "model.onnx")
        for node in model.graph.node:
            node.input[:] = ["ones" if name == "attention_mask" else name for name in node.input]
        one = numpy_helper.from_array(np.array(1, np.int64), "one")
        model.graph.initializer.append(one)
        model.graph.node.insert(0, helper.make_node("Sub", ["one", "attention_mask"], ["rest"]))
        model.graph.node.insert(1, helper.make_node("Add", ["attention_mask", "rest"], ["ones"]))
        onnx.save(model, path)

    monkeypatch.setattr(graph, "export", forgetful)
    with pytest.raises(ParityFailed, match=r"model.onnx in padded batches against each text alone"):
        run(config(), chain, tiny.work(tmp_path))


def test_a_loose_tolerance_holds_and_each_figure_can_break():
    labels = np.array([0, 1, 1, 0])
    before = np.array([[2, 0], [0, 2], [0, 2], [2, 0]], dtype=np.float32)
    after = before.copy()
    after[3] = [0, 1]
    report = parity.compare("torch", before, after, truth(labels))
    assert (report.max_abs, report.mean_abs, report.agreement) == (2.0, 0.375, 0.75)
    assert report.metric_drop == pytest.approx(1 - (2 / 3 + 0.8) / 2)
    # Half of a difference of two labels is what lies off the mean: before 1 each, after 1.5 off in one text.
    assert report.spread == pytest.approx(1.5 / 2)
    parity.hold("x", report, Tolerance(max_abs=None, agreement=0.75, metric_drop=0.3))
    for broken, words in (
        (Tolerance(max_abs=1.9, agreement=0, metric_drop=1), "difference 2 exceeds 1.9"),
        (Tolerance(spread=0.7, agreement=0, metric_drop=1), "by 0.75 of their spread, more than 0.7"),
        (Tolerance(agreement=0.8, metric_drop=1), "agreement 0.7500 is below 0.8000"),
        (Tolerance(agreement=0, metric_drop=0.2), "the score falls by 0.2667, more than 0.2000"),
    ):
        with pytest.raises(ParityFailed, match=f"x against torch on 4 validation texts: .*{words}"):
            parity.hold("x", report, broken)


def test_logits_that_are_no_numbers_always_fail():
    before = np.zeros((2, 2), dtype=np.float32)
    after = np.array([[0, np.nan], [0, 0]], dtype=np.float32)
    with pytest.raises(ParityFailed, match="not finite on 1 of 2 validation texts"):
        parity.compare("torch", before, after, truth(np.array([0, 1])))
