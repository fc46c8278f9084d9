"""Our own graphs as TensorRT takes them, with not one bit of their answers changed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from squeeze.graphs.for_tensorrt import adapt
from squeeze.graphs.half import to_half
from squeeze.graphs.readiness import inspect
from squeeze.graphs.tables import store_tables
from tests import tiny
from tests.graphs.qdq import save

KINDS = ("dense", "factorised", "product")


def answers(path):
    session = onnxruntime.InferenceSession(str(path))
    random = np.random.default_rng(0)
    ids = random.integers(0, tiny.VOCABULARY, (3, 11))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tables", [False, True])
def test_every_embedding_is_ready_and_answers_the_same(exported, tmp_path, kind, tables):
    model = ir.load(exported(kind)[1])
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
    path, half = exported("product")[1], tmp_path / "half.onnx"
    model = ir.load(path)
    adapt(model)
    to_half(model)
    assert inspect(model).precision == "fp16"
    assert inspect(model).ready
    np.testing.assert_allclose(answers(save(model, half)), answers(path), atol=5e-3)


def test_what_is_ready_is_not_touched(exported):
    model = ir.load(exported("dense")[1])
    before = ir.to_proto(model).SerializeToString()
    assert adapt(model) == 0
    assert ir.to_proto(model).SerializeToString() == before
