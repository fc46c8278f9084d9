"""A probe that is stamped from a template is the graph that a real export of the same shape writes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from squeeze.costs.probes import Template
from squeeze.costs.request import CostRequest, Stem
from squeeze.graphs import int8, lean
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.targets.ort import open_session
from tests import tiny

STEMS = {
    "product": Stem(
        hidden=32, embedding=EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)
    ),
    "widened": Stem(hidden=32, embedding=EmbeddingShape(width=24)),
}
LAYERS = {
    "all": (LayerShape(heads=2, ffn=16), LayerShape(heads=4, ffn=48), LayerShape(heads=3, ffn=64)),
    "one": (LayerShape(heads=4, ffn=20),),
}

DEPTHS = {"product": 3, "widened": 2}


def request():
    return CostRequest(
        stems=tuple(STEMS.values()),
        heads=(1, 4),
        neurons=(16, 64),
        lengths=(4, tiny.POSITIONS),
        depth=3,
        head_size=8,
        vocabulary=60,
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Templates, each exported once; exporting takes seconds a layer."""
    made = {}

    def get(name):
        if name not in made:
            path = tmp_path_factory.mktemp("template") / "template.onnx"
            made[name] = Template.export(request(), STEMS[name], DEPTHS[name], path)
        return made[name]

    return get


def contents(path):
    """Operators, and kind and dimensions of every tensor; whole numbers by value."""
    model = onnx.load(path)
    tensors: Counter[object] = Counter()
    for one in model.graph.initializer:
        array = numpy_helper.to_array(one)
        exact = tuple(array.ravel().tolist()) if array.dtype == np.int64 else ()
        tensors[(str(array.dtype), array.shape, exact)] += 1
    return [node.op_type for node in model.graph.node], tensors


@pytest.mark.parametrize(("stem", "kept"), [("product", "all"), ("widened", "one")])
def test_a_probe_is_a_real_export(stem, kept, template, tmp_path):
    real, probe = tmp_path / "real.onnx", tmp_path / "probe.onnx"
    table = STEMS[stem].embedding
    student = tiny.encoder(vocabulary=60, embedding=table, layers=LAYERS[kept])
    lean.export(student, real, 20)
    template(stem).write(LAYERS[kept], probe, seed=0)
    assert contents(probe) == contents(real)
    assert probe.stat().st_size == pytest.approx(real.stat().st_size, rel=0.005)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_probes_run_in_both_forms_at_every_length(count, template, tmp_path):
    fp32, small = tmp_path / "probe.onnx", tmp_path / "probe.int8.onnx"
    template("product").write(LAYERS["all"][:count], fp32, seed=0)
    int8.quantize(fp32, small)
    onnx.checker.check_model(onnx.load(fp32), full_check=True)
    for length in (1, 9, tiny.POSITIONS):
        ids = np.random.default_rng(0).integers(0, 60, (1, length))
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        answers = [open_session(path, threads=1).run(["logits"], feed)[0] for path in (fp32, small)]
        assert np.isfinite(answers).all()
        assert answers[0] == pytest.approx(answers[1], abs=0.05)


def test_a_template_is_not_changed_by_what_is_stamped_from_it(template, tmp_path):
    made = template("product")
    before = made.path.read_bytes()
    made.write(LAYERS["one"], tmp_path / "probe.onnx", seed=0)
    assert made.path.read_bytes() == before
    layers = made.shape.layers
    assert len({layer.heads for layer in layers} | {layer.ffn for layer in layers}) == 6
