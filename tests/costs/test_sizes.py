"""Sizes counted from a shape are those of the encoder that is built and of the files that are exported."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from squeeze.costs import sizes
from squeeze.graphs import int8, lean
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, LayerShape, embedding_parameters, parameters
from tests import tiny

PRODUCT = EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)
SHAPES = {
    "dense": tiny.shape(labels=4),
    "one layer": tiny.shape(layers=(LayerShape(heads=2, ffn=48),)),
    "uneven": tiny.shape(
        layers=(LayerShape(heads=3, ffn=20), LayerShape(heads=1, ffn=70)), embedding=PRODUCT
    ),
    "factorised": tiny.shape(embedding=EmbeddingShape(kind="factorised", width=32, rank=16)),
    "widened": tiny.shape(embedding=EmbeddingShape(width=24)),
    "product": tiny.shape(labels=4, **tiny.STUDENTS["product"]),
    "relative": tiny.shape(labels=4, **tiny.STUDENTS["mpnet"]),
}
EXPORTED = (
    "product",
    "relative",
)  # each takes seconds; the others were compared when the constants were made


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_encoder(name):
    shape = SHAPES[name]
    built = Encoder(shape)
    assert sizes.parameters(shape) == parameters(built)
    assert sizes.embedding_parameters(shape) == embedding_parameters(built)


@pytest.mark.parametrize("length", [1, 11])
@pytest.mark.parametrize("name", SHAPES)
def test_macs_are_those_of_the_exported_computation(name, length):
    shape = SHAPES[name]
    ids = torch.ones(1, length, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        lean.Lean(Encoder(shape).eval())(ids, ids)
    assert 2 * sizes.macs(shape, length) == counter.get_total_flops()


@pytest.mark.parametrize("name", EXPORTED)
def test_file_sizes_are_those_of_the_files(name, tmp_path):
    shape = SHAPES[name]
    names = (
        "vocabulary",
        "embedding",
        "hidden",
        "head_size",
        "layers",
        "positions",
        "labels",
        "relative_bias",
    )
    student = tiny.encoder(**{field: getattr(shape, field) for field in names})
    fp32, small = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    lean.export(student, fp32, 20)
    int8.quantize(fp32, small)
    assert sizes.file_bytes(shape, "fp32") == pytest.approx(fp32.stat().st_size, rel=0.01)
    assert sizes.file_bytes(shape, "int8-dynamic") == pytest.approx(small.stat().st_size, rel=0.01)


def test_a_table_in_bytes_is_most_of_what_int8_saves():
    shape = SHAPES["dense"].model_copy(update={"vocabulary": 30_522})
    saved = sizes.file_bytes(shape, "fp32") - sizes.file_bytes(shape, "int8-dynamic")
    assert saved == pytest.approx(3 * 30_522 * 32, rel=0.05)


def test_another_form_is_refused():
    with pytest.raises(ValueError, match="form fp16: one of fp32, int8-dynamic"):
        sizes.file_bytes(SHAPES["dense"], "fp16")
