"""The engine of a bundle, on stand-ins of TensorRT and CUDA: what is made, and what is refused."""

from __future__ import annotations

import json
import types
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze.cli import main
from squeeze.errors import ParityFailed, StageFailed
from squeeze.graphs import lean
from squeeze.graphs.half import to_half
from squeeze.models.tokens import Encodings
from squeeze.stages.export import engine
from squeeze.stages.export.stage import TensorrtSection, needs, sources
from squeeze.targets.ort import open_session
from squeeze.targets.tensorrt import card_of
from tests import tiny
from tests.graphs.qdq import save, to_int8
from tests.labelled import truth
from tests.targets.fake_tensorrt import VERSIONS, World, install

FORMS: Any = {"fp32": types.SimpleNamespace(file="model.onnx")}
COUNT = 12


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A product-quantized student, whose codes TensorRT does not take as they are."""
    path = tmp_path_factory.mktemp("engine") / "model.onnx"
    lean.export(tiny.encoder(labels=4, **tiny.STUDENTS["product"]), path, 20)
    return path.read_bytes()


@pytest.fixture
def world(monkeypatch):
    world = World()
    install(monkeypatch, world)
    return world


def texts():
    random = np.random.default_rng(0)
    return [random.integers(0, 20, size).astype(np.int32) for size in random.integers(1, 20, COUNT)]


def make(exported, folder, **settings):
    work = tiny.work(folder)
    (work.out / "model.onnx").write_bytes(exported)
    section = TensorrtSection.parse(settings)
    labels = truth(np.arange(COUNT) % len(tiny.LABELS), len(tiny.LABELS))
    rows = encodings(texts())
    return work, engine.make(section, FORMS, rows, labels, tiny.POSITIONS, work)


def encodings(rows):
    lengths = np.array([len(row) for row in rows])
    return Encodings(np.concatenate(rows), np.concatenate([[0], lengths.cumsum()]))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_is_made_and_held_to_the_forms_answers(exported, tmp_path, monkeypatch, version, precision):
    install(monkeypatch, World(), version)
    work, result = make(exported, tmp_path, precision=precision, batch=4)
    assert result is not None
    assert (result.file, result.source, result.precision) == ("model.plan", "model.onnx", precision)
    assert result.tensorrt == version
    assert result.converted.rows == COUNT
    assert (result.converted.max_abs == 0) is (precision == "fp32")  # adapting changes no bit
    assert result.converted.max_abs < 5e-3
    assert result.parity.max_abs < 2e-3  # the stand-in runs the converted graph, with ONNX Runtime's fusions
    card = card_of(work.out / "model.plan")
    assert card is not None
    assert card.precision == precision
    lengths = sorted(map(len, texts()))
    assert card.shapes["input_ids"].usual == (4, lengths[(COUNT - 1) // 2])
    assert card.shapes["input_ids"].most == (4, tiny.POSITIONS)
    assert {path.name for path in work.out.iterdir()} == {"model.onnx", "model.plan", "model.plan.json"}


def static(model):
    """Every product with a wide constant in int8, as the form int8-static has it."""
    graph = model.graph

    def weight(name, values):
        if name not in graph.initializers:
            graph.register_initializer(ir.val(name, const_value=ir.tensor(np.asarray(values), name=name)))
        return graph.initializers[name]

    step, zero = weight("step", np.float32(0.05)), weight("zero", np.int8(0))
    for node in [node for node in graph if node.op_type in ("MatMul", "Gemm")]:
        values = node.inputs[1].const_value
        if values is None or min(values.shape) < 16 or node.attributes.get_int("transB", 0):
            continue
        stored, scales = to_int8(values.numpy())
        parts = [weight(f"{node.name}.w", stored), weight(f"{node.name}.s", scales)]
        narrow = ir.node("QuantizeLinear", [node.inputs[0], step, zero])
        wide = [ir.node("DequantizeLinear", [narrow.outputs[0], step, zero])]
        wide.append(ir.node("DequantizeLinear", parts, {"axis": 1}))
        for each in (narrow, *wide):
            each.outputs[0].type = ir.TensorType(ir.DataType.INT8 if each is narrow else ir.DataType.FLOAT)
        graph.insert_before(node, [narrow, *wide])
        for place, each in enumerate(wide):
            node.replace_input_with(place, each.outputs[0])
    return model


def test_an_int8_engine_is_made_of_the_static_form_with_fp16_around_it(
    exported, tmp_path, monkeypatch, world
):
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(exported)
    form = save(static(ir.load(plain)), tmp_path / "model.int8-static.onnx")
    model = engine.converted(form, TensorrtSection(precision="int8"))
    kinds = {value.name: value.dtype for value in model.graph.initializers.values()}
    assert list(kinds.values()).count(ir.DataType.INT8) >= 10
    assert kinds["step"] == ir.DataType.FLOAT16
    work = tiny.work(tmp_path)
    (work.out / form.name).write_bytes(form.read_bytes())
    loose = TensorrtSection.parse(
        {"precision": "int8", "tolerance": {"max_abs": 0.2, "agreement": 0.9, "metric_drop": 0.1}}
    )
    monkeypatch.setattr(engine, "open_engine", AsWritten)  # ONNX Runtime's fusions fail on this graph
    labels = truth(np.arange(COUNT) % len(tiny.LABELS), len(tiny.LABELS))
    forms: Any = {"int8-static": types.SimpleNamespace(file=form.name)}
    result = engine.make(loose, forms, encodings(texts()), labels, tiny.POSITIONS, work)
    assert result is not None
    assert (result.precision, result.source) == ("int8", "model.int8-static.onnx")
    assert 0 < result.converted.max_abs < 0.2


class AsWritten:
    """An engine that runs the converted graph node by node."""

    def __init__(self, plan):
        graph = plan.parents[0].parent / "scratch" / "int8.onnx"
        self.session = open_session(graph, threads=1, optimised=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def run(self, feed):
        return {"logits": self.session.run(["logits"], feed)[0]}


def test_what_is_built_is_half_precision_with_fp32_at_the_border(exported, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported)
    model = engine.converted(path, TensorrtSection(precision="fp16", fp32_norms=True))
    (logits,) = model.graph.outputs
    assert logits.dtype == ir.DataType.FLOAT
    norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
    assert {value.dtype for node in norms for value in node.inputs if value is not None} == {
        ir.DataType.FLOAT
    }


def test_an_engine_that_answers_otherwise_is_refused(exported, tmp_path, monkeypatch, world):
    from squeeze.targets.tensorrt.engine import Engine

    real = Engine.fetch
    monkeypatch.setattr(Engine, "fetch", lambda self: {name: -each for name, each in real(self).items()})
    with pytest.raises(ParityFailed, match=r"model\.plan against fp16 graph in ONNX Runtime"):
        make(exported, tmp_path)


def test_a_wrong_conversion_is_told_apart_from_a_wrong_engine(exported, tmp_path, monkeypatch, world):
    def wrong(model, keep):
        for value in model.graph.initializers.values():
            if value.name.endswith("head.output.weight"):
                value.const_value = ir.tensor(-value.const_value.numpy(), name=value.name)
        return to_half(model, keep=keep)

    monkeypatch.setattr(engine, "to_half", wrong)
    with pytest.raises(ParityFailed, match=r"model\.onnx in fp16 against model\.onnx"):
        make(exported, tmp_path)
    assert world.asked("Builder", "build_serialized_network") == []


def test_a_graph_that_tensorrt_refuses_is_not_built(exported, tmp_path, monkeypatch, world):
    monkeypatch.setattr(engine, "adapt", lambda model: 0)
    with pytest.raises(StageFailed, match=r"not ready for TensorRT: .*codes: UINT8"):
        make(exported, tmp_path)


def test_no_engine_where_none_is_asked_for(tmp_path):
    assert (
        engine.make(None, FORMS, encodings(texts()), truth(np.arange(COUNT)), 24, tiny.work(tmp_path)) is None
    )


def asked(precision="fp16"):
    from squeeze.stages.export.stage import ExportConfig

    task = {"labels": list(tiny.LABELS), "max_length": 32}
    return ExportConfig.parse({"seed": 0, "task": task, "export": {"tensorrt": {"precision": precision}}})


def test_the_key_depends_on_gpu_and_version_where_an_engine_is_made(world):
    assert sources(asked()) == {"tensorrt": "11.4.0.106 on NVIDIA Test (compute capability 8.7)"}
    needs(asked())
    world.name = "Other"
    assert "Other" in sources(asked())["tensorrt"]
    world.devices = 0
    assert sources(asked()) == {"tensorrt": "absent"}
    assert (
        sources(asked().model_copy(update={"export": asked().export.model_copy(update={"tensorrt": None})}))
        == {}
    )


@pytest.mark.parametrize("command", ["run", "export"])
def test_without_tensorrt_nothing_is_spent(tmp_path, capsys, command, monkeypatch):
    install(monkeypatch, World(), version=None, cuda=None)
    out = tmp_path / "runs"
    arguments = [command, "profiles/smoke.toml", "--out", str(out), "--set", "export.tensorrt.precision=fp16"]
    assert main(arguments) == 3
    said = capsys.readouterr().err
    assert "tensorrt" in said
    assert "squeeze-ondevice[gpu]" in said
    assert not out.exists()


def test_a_plan_of_the_same_profile_can_be_looked_at_anywhere(tmp_path, capsys):
    arguments = [
        "plan",
        "profiles/smoke.toml",
        "--out",
        str(tmp_path),
        "--set",
        "export.tensorrt.batch=2",
        "--json",
    ]
    assert main(arguments) == 0
    assert "export" in [step["stage"] for step in json.loads(capsys.readouterr().out)["steps"]]


def test_an_engine_of_a_form_that_is_not_made_is_refused(capsys, tmp_path):
    arguments = [
        "run",
        "profiles/smoke.toml",
        "--out",
        str(tmp_path),
        "--set",
        "export.tensorrt.precision=int8",
    ]
    assert main(arguments) == 2
    assert "int8 is made from int8-static" in capsys.readouterr().err
