"""Our own graphs as TensorRT takes them, with not one bit of their answers changed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from squeeze.graphs import lean
from squeeze.graphs.for_tensorrt import adapt
from squeeze.graphs.half import to_half
from squeeze.graphs.readiness import inspect
from squeeze.graphs.tables import store_tables
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from tests.graphs.qdq import save

KINDS = {
    "dense": EmbeddingShape(kind="dense", width=32),
    "factorised": EmbeddingShape(kind="factorised", width=32, rank=8),
    "product": EmbeddingShape(kind="product", width=32, subvectors=8),
}


def student(embedding):
    import torch

    torch.manual_seed(0)
    layers = (LayerShape(heads=2, ffn=48), LayerShape(heads=2, ffn=48))
    shape = EncoderShape(
        vocabulary=300, embedding=embedding, hidden=32, head_size=16, layers=layers, positions=24, labels=3
    )
    return Encoder(shape).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One exported student a kind of embedding."""
    folder = tmp_path_factory.mktemp("exported")
    for kind, embedding in KINDS.items():
        lean.export(student(embedding), folder / f"{kind}.onnx", opset=20)
    return folder


def answers(path):
    session = onnxruntime.InferenceSession(str(path))
    random = np.random.default_rng(0)
    ids = random.integers(0, 300, (3, 11))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tables", [False, True])
def test_every_embedding_is_ready_and_answers_the_same(exported, tmp_path, kind, tables):
    model = ir.load(exported / f"{kind}.onnx")
    if tables:
        store_tables(model)
    path = save(model, tmp_path / "model.onnx")
    ready_before = inspect(model).ready
    count = adapt(model)
    adapted = save(model, tmp_path / "adapted.onnx")
    onnx.checker.check_model(str(adapted), full_check=True)
    np.testing.assert_array_equal(answers(adapted), answers(path))
    found = inspect(model)
    assert [issue for issue in found.issues if issue.severity != "note"] == []
    assert ready_before is (count == 0)
    assert (count > 0) is (tables or kind == "product")


def test_and_in_half_precision(exported, tmp_path):
    path, half = exported / "product.onnx", tmp_path / "half.onnx"
    model = ir.load(path)
    adapt(model)
    to_half(model)
    assert inspect(model).precision == "fp16"
    assert inspect(model).ready
    np.testing.assert_allclose(answers(save(model, half)), answers(path), atol=5e-3)


def test_what_is_ready_is_not_touched(exported):
    model = ir.load(exported / "dense.onnx")
    before = ir.to_proto(model).SerializeToString()
    assert adapt(model) == 0
    assert ir.to_proto(model).SerializeToString() == before
