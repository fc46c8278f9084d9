"""The rounded encoder computes what its quantized graph computes; what it saves gives that graph again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor

from squeeze.core import calibration
from squeeze.errors import Corrupt, ProfileError
from squeeze.graphs import int4, int8, lean, static
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import watch
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder
from squeeze.quantization import storage
from squeeze.quantization.calibrating import calibrate, observe
from squeeze.quantization.encoder import FakeQuantized
from squeeze.quantization.linear import FakeLinear
from squeeze.quantization.plan import Plan, Scheme, kept_sites, sites
from squeeze.quantization.sensitivity import divergence, float_sites, ranked
from squeeze.quantization.tables import fake_table, in_blocks
from squeeze.targets.ort import open_session
from tests import tiny

DYNAMIC = Plan("int8-dynamic")
SHAPES: dict[str, dict[str, Any]] = {
    **{name: {"labels": 4, **changes} for name, changes in tiny.STUDENTS.items()},
    "widened": {"embedding": EmbeddingShape(width=16), "layers": ({"heads": 2, "ffn": 32},) * 2},
    "many labels": {"labels": 20, "layers": ({"heads": 2, "ffn": 32},)},
}


def answers(model: Encoder, ids: Tensor, mask: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(ids, mask).numpy()


def steps_of(product: FakeLinear) -> Tensor:
    found = product.steps()
    assert found is not None
    return found


def in_runtime(
    model: Encoder,
    folder: Path,
    ids: Tensor,
    mask: Tensor,
    scheme: Scheme,
    scales: Scales,
) -> np.ndarray:
    """Logits of a quantized graph, one text a call, in ONNX Runtime."""
    whole, small = folder / "model.onnx", folder / "model.quantized.onnx"
    lean.export(model, whole, 20)
    if scheme == "int8-dynamic":
        int8.quantize(whole, small, scales)
    elif scheme == "int8-static":
        static.quantize(whole, small, scales)
    else:
        int4.quantize(whole, small)
    session = open_session(small, threads=1)
    rows = []
    for row, length in enumerate(mask.sum(1).tolist()):
        feed = {"input_ids": ids[row : row + 1, :length], "attention_mask": mask[row : row + 1, :length]}
        rows.append(session.run(["logits"], {name: value.numpy() for name, value in feed.items()})[0])
    return np.concatenate(rows)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_int8_graph_with_and_without_its_steps(name, tmp_path):
    float_model = tiny.encoder(**SHAPES[name])
    model = FakeQuantized(float_model, DYNAMIC)
    ids, mask = tiny.batch(rows=4)
    ours = answers(model, ids, mask)
    assert np.abs(ours - answers(float_model, ids, mask)).max() > 1e-3  # rounding is felt
    for source, scales in ((float_model, Scales()), (model.snapped(), model.scales())):
        theirs = in_runtime(source, tmp_path, ids, mask, "int8-dynamic", scales)
        assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static", "int4-weight"])
def test_trained_steps_reach_the_graph(scheme: Scheme, tmp_path):
    model = FakeQuantized(tiny.encoder(labels=4), Plan(scheme, learn_steps=True))
    ids, mask = tiny.batch(rows=4)
    if scheme == "int8-static":
        calibrate(model, [(ids, mask)], "mse")
    with torch.no_grad():
        for index, (name, value) in enumerate(model.named_parameters()):
            if name.endswith("growth"):
                value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(index)))
    ours = answers(model, ids, mask)
    theirs = in_runtime(model.snapped(), tmp_path, ids, mask, scheme, model.scales())
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(
    "table", [EmbeddingShape(width=64), EmbeddingShape(kind="factorised", width=64, rank=34)]
)
def test_rows_of_four_bits_are_those_of_the_graph(table, tmp_path):
    """Rows, not logits: the last bit of a row can move the runtime's rounding of an activation by a step."""
    model = tiny.encoder(hidden=64, embedding=table, layers=({"heads": 2, "ffn": 32},))
    whole, small = tmp_path / "model.onnx", tmp_path / "model.int4.onnx"
    lean.export(model, whole, 20)
    int4.quantize(whole, small, table_bits=4)
    [lookup] = [node for node in ir.load(small).graph if node.op_type == "GatherBlockQuantized"]
    ids, mask = tiny.batch(rows=4)
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    name = str(lookup.outputs[0].name)
    [theirs] = [found[name] for found in watch(small, [name], [feed], threads=1)]
    rows = in_blocks(torch.nn.functional.embedding(ids, model.embedding.weight)).detach().numpy()
    assert np.abs(rows - theirs).max() < 1e-5
    assert np.abs(model.embedding.weight[ids].detach().numpy() - theirs).max() > 1e-3


@pytest.mark.parametrize("name", SHAPES)
def test_sites_are_the_products_of_the_graph(name, tmp_path):
    model = tiny.encoder(**SHAPES[name])
    path = tmp_path / "model.onnx"
    lean.export(model, path, 20)
    int8.quantize(path, path)
    found = sum(node.op_type == "MatMulInteger" for node in ir.load(path).graph)
    listed = sites(model.shape)
    assert len(listed) == found
    assert list(FakeQuantized(model, DYNAMIC).products) == list(listed)
    shapes = {site: part.weight.shape for site, part in FakeQuantized(model, DYNAMIC).products.items()}
    assert shapes == {site: torch.Size((outputs, inputs)) for site, (inputs, outputs) in listed.items()}


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static", "int4-weight"])
@pytest.mark.parametrize("bits", [8, 4])
def test_neighbours_and_padding_change_no_answer(scheme: Scheme, bits):
    model = FakeQuantized(tiny.encoder(), Plan(scheme, table_bits=bits))
    ids, mask = tiny.batch(rows=4)
    if scheme == "int8-static":
        calibrate(model, [(ids, mask)], "minmax")
    together = answers(model, ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = answers(model, ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert np.abs(alone[0] - together[row]).max() < 1e-5


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static", "int4-weight"])
@pytest.mark.parametrize("name", tiny.STUDENTS)
def test_rounding_what_is_saved_again_changes_nothing(scheme: Scheme, name):
    ids, mask = tiny.batch(rows=4)
    model = FakeQuantized(tiny.encoder(**SHAPES[name]), Plan(scheme))
    again = FakeQuantized(model.snapped(), Plan(scheme))
    if scheme == "int8-static":
        for site, step in calibrate(model, [(ids, mask)], "minmax").items():
            again.products[site].set_input(step)
    assert np.abs(answers(model, ids, mask) - answers(again, ids, mask)).max() < 1e-5


def test_the_float_model_is_not_touched_and_without_rounding_little_differs():
    float_model = tiny.encoder()
    before = {name: value.clone() for name, value in float_model.state_dict().items()}
    model = FakeQuantized(float_model, DYNAMIC)
    ids, mask = tiny.batch()
    with model.quantizing(()):
        in_float = answers(model, ids, mask)
    assert (
        np.abs(in_float - answers(float_model, ids, mask)).max()
        < np.abs(answers(model, ids, mask) - answers(float_model, ids, mask)).max()
    )
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter.data)
    assert all(torch.equal(value, before[name]) for name, value in float_model.state_dict().items())


def test_products_that_are_kept_are_plain_linear_maps():
    keep = kept_sites(["layers.2.*", "head.dense"], sites(tiny.shape()))
    model = FakeQuantized(tiny.encoder(), Plan("int8-dynamic", keep=keep))
    assert set(model.products) == set(sites(tiny.shape())) - keep
    assert not any(isinstance(part, FakeLinear) for part in model.layers[2].modules())
    assert torch.equal(model.snapped().head.dense.weight, tiny.encoder().head.dense.weight)
    with pytest.raises(ProfileError, match=r'keep: "layers\.2\.qkv" is no product'):
        kept_sites(["layers.2.qkv"], sites(tiny.shape()))


def test_weights_of_seven_bits_have_63_levels_a_side():
    product = FakeQuantized(tiny.encoder(), Plan("int8-dynamic", weight_bits=7)).products["layers.0.up"]
    whole = product.snapped() / steps_of(product)[:, None]
    assert float(whole.abs().max()) == pytest.approx(63)
    assert torch.allclose(whole, whole.round(), atol=1e-4)


def test_steps_are_those_of_the_folded_graph():
    model = FakeQuantized(tiny.encoder(), DYNAMIC)
    found, folded = model.scales(), lean.Lean(model.snapped())
    assert list(found.weights) == list(sites(model.shape))
    assert not found.inputs
    first = folded.get_submodule("inner.layers.0.qkv")
    largest = first.get_parameter("weight").detach().abs().amax(1).numpy() / 63
    assert found.weights["layers.0.qkv"] == pytest.approx(largest, rel=1e-5)
    plain = steps_of(model.products["layers.0.qkv"]).numpy()
    assert found.weights["layers.0.qkv"][:32] == pytest.approx(plain[:32] * 8**-0.5, rel=1e-6)
    assert found.weights["layers.0.qkv"][32:] == pytest.approx(plain[32:])
    query = steps_of(model.products["layers.2.query"]).numpy()
    assert found.weights["layers.2.query"] == pytest.approx(query * 8**-0.5, rel=1e-6)


def test_static_ranges_are_of_real_tokens_and_of_the_first_one_where_only_it_is_seen():
    float_model, (ids, mask) = tiny.encoder(), tiny.batch()
    model = FakeQuantized(float_model, Plan("int8-static", table_bits=8))
    found = observe(model, [(ids[:2], mask[:2]), (ids[2:], mask[2:])])
    assert list(found) == list(sites(model.shape))
    with torch.no_grad(), model.quantizing(()):
        states = model.observe(ids, mask).hidden
    real = mask.bool()
    assert found["layers.0.qkv"].largest == pytest.approx(float(states[0][real].abs().max()), rel=1e-5)
    assert found["layers.2.pair"].largest == pytest.approx(float(states[2][real].abs().max()), rel=1e-5)
    assert found["layers.2.query"].largest == pytest.approx(float(states[2][:, 0].abs().max()), rel=1e-5)
    assert found["head.dense"].largest == pytest.approx(float(states[3][:, 0].abs().max()), rel=1e-5)
    assert found["layers.0.qkv"].counts.sum() == real.sum() * 32
    assert all(part.watcher is None for part in model.products.values())
    steps = calibrate(model, [(ids, mask)], "minmax")
    assert steps["head.dense"] == pytest.approx(found["head.dense"].largest / 127, rel=1e-5)
    assert model.scales().inputs == pytest.approx(steps)
    assert set(calibration.METHODS) == {"minmax", "percentile", "entropy", "mse"}


def test_a_static_product_is_that_of_int8_matrices():
    linear = torch.nn.Linear(32, 24)
    part = FakeLinear(linear, Plan("int8-static"), FakeQuantized(tiny.encoder(), DYNAMIC).reading)
    part.set_input(0.02)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    weight = linear.weight.detach().numpy()
    steps = np.abs(weight).max(1) / np.float32(63)
    inputs = np.clip(np.rint(x.numpy() / np.float32(0.02)), -128, 127).astype(np.int64)
    products = inputs @ np.rint(weight / steps[:, None]).astype(np.int64).T
    wanted = products * (np.float32(0.02) * steps) + linear.bias.detach().numpy()
    assert np.abs(part(x).detach().numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static", "int4-weight"])
@pytest.mark.parametrize("learn", [False, True])
def test_every_parameter_learns(scheme: Scheme, learn):
    model = FakeQuantized(tiny.encoder(), Plan(scheme, learn_steps=learn)).train()
    ids, mask = tiny.batch()
    if scheme == "int8-static":
        calibrate(model.eval(), [(ids, mask)], "mse")
        model.train()
    model(ids, mask).square().sum().backward()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    silent = [name for name, value in trained.items() if value.grad is None or not value.grad.abs().sum()]
    assert silent == []
    assert any("growth" in name for name in trained) is (learn and scheme != "int4-weight")


def test_learned_steps_start_where_the_weights_put_them_and_stay_when_saved():
    ids, mask = tiny.batch()
    plain, learned = (
        FakeQuantized(tiny.encoder(), Plan("int8-dynamic", learn_steps=it)) for it in (False, True)
    )
    assert np.array_equal(answers(plain, ids, mask), answers(learned, ids, mask))
    step = learned.products["layers.0.up"].weight_step
    assert step is not None
    with torch.no_grad():
        step.growth.sub_(0.2)
    assert learned.scales().weights["layers.0.up"] == pytest.approx(
        plain.scales().weights["layers.0.up"] * np.exp(-0.2), rel=1e-5
    )
    snapped = learned.snapped().get_parameter("layers.0.up.weight")
    assert torch.allclose(snapped, learned.products["layers.0.up"].snapped())
    assert float((snapped / step()).detach().abs().max()) == pytest.approx(63, rel=1e-5)


def test_rows_of_four_bits_have_sixteen_values_a_block():
    table = tiny.encoder().embedding
    rounded = fake_table(table, 4).snapped()["weight"]
    narrow = tiny.encoder(**SHAPES["widened"]).embedding
    assert getattr(fake_table(narrow, 4), "bits", None) == 8  # less than a block
    assert all(len(row.unique()) <= 16 for row in rounded)
    assert (rounded - table.weight).abs().max() < table.weight.abs().max() / 7


def test_sensitivity_orders_products_and_keeps_the_fewest():
    model, (ids, mask) = FakeQuantized(tiny.encoder(), Plan("int4-weight")), tiny.batch(rows=8)
    order = ranked(model, lambda: answers(model, ids, mask))
    assert set(order) == set(model.products)
    assert list(order.values()) == sorted(order.values(), reverse=True)
    assert all(worth >= 0 for worth in order.values())
    assert all(part.on for part in model.products.values())
    assert float_sites(["a", "b"], lambda _: 0.0, 0.0) == frozenset()
    assert float_sites(["a", "b"], lambda _: 1.0, 0.0) == {"a", "b"}
    p, q = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    assert divergence(p, q) == pytest.approx(0.9 * np.log(1.8) + 0.1 * np.log(0.2))


def test_steps_come_back_from_disk_and_a_torn_record_is_named(tmp_path):
    assert storage.load(tmp_path) is None
    model = FakeQuantized(tiny.encoder(), Plan("int8-static"))
    calibrate(model, [tiny.batch()], "minmax")
    record = storage.Record(
        scheme="int8-static", method="ptq", weight_bits=8, table_bits=8, learned=False, keep=()
    )
    storage.save(tmp_path, storage.Quantization(record, model.scales()))
    found = storage.load(tmp_path)
    assert found is not None
    assert found.record == record
    assert found.scales.inputs == pytest.approx(model.scales().inputs)
    for site, steps in model.scales().weights.items():
        assert np.array_equal(found.scales.weights[site], steps)
    (tmp_path / storage.STEPS).write_bytes(b"torn")
    with pytest.raises(Corrupt, match="not the record of a quantized encoder"):
        storage.load(tmp_path)
