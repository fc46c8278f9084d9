"""The lists of weights and products are those of the encoder that is built, whatever its shape."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from squeeze.graphs.lean import Lean
from squeeze.models.encoder import Encoder
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape
from squeeze.models.weights import Axis, Weight, encoder_products, encoder_weights

LAYERS = st.builds(LayerShape, heads=st.integers(1, 4), ffn=st.integers(1, 40))


@st.composite
def shapes(draw: st.DrawFn) -> EncoderShape:
    """Encoders of every kind of table, with or without a projection, distances and summed outputs."""
    hidden = draw(st.sampled_from([8, 12, 16]))
    width = draw(st.sampled_from([hidden, 24]))
    table = draw(
        st.sampled_from(
            [
                EmbeddingShape(width=width),
                EmbeddingShape(kind="factorised", width=width, rank=draw(st.integers(1, 8))),
                EmbeddingShape(kind="product", width=width, subvectors=4, codewords=draw(st.integers(2, 20))),
            ]
        )
    )
    return EncoderShape(
        vocabulary=draw(st.integers(1, 50)),
        embedding=table,
        hidden=hidden,
        head_size=draw(st.sampled_from([2, 8])),
        layers=tuple(draw(st.lists(LAYERS, min_size=1, max_size=3))),
        positions=draw(st.integers(4, 20)),
        labels=2,
        groups=draw(st.sampled_from([(), ((0, 2), (1,))])),
        relative_bias=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(shape=shapes())
def test_weights_are_the_state_of_the_encoder(shape):
    state = Encoder(shape).state_dict()
    assert {weight.name: weight.shape for weight in encoder_weights(shape)} == {
        name: tuple(value.shape) for name, value in state.items()
    }
    kinds = {weight.name: weight.kind for weight in encoder_weights(shape)}
    assert {name for name, kind in kinds.items() if kind == "codes"} == {
        name for name, value in state.items() if value.dtype == torch.uint8
    }
    assert {name for name, kind in kinds.items() if kind in ("bias", "gain")} == {
        name for name, value in state.items() if value.ndim == 1
    }


@settings(max_examples=15, deadline=None)
@given(shape=shapes(), tokens=st.integers(1, 4))
def test_products_are_those_that_the_exported_module_computes(shape, tokens):
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Lean(Encoder(shape).eval())(ids, torch.ones_like(ids))
    assert 2 * sum(product.macs for product in encoder_products(shape, tokens)) == counter.get_total_flops()
    stored = {product.name: product.size for product in encoder_products(shape, tokens) if product.stored}
    modules = Lean(Encoder(shape)).inner
    assert stored == {name: tuple(modules.get_parameter(f"{name}.weight").shape[::-1]) for name in stored}


def test_members_of_an_axis_are_taken_in_every_block():
    qkv = Weight("qkv.weight", (Axis("heads", 3, width=2, blocks=3), Axis("hidden", 5)), "matrix")
    assert (qkv.shape, qkv.values, qkv.columns) == ((18, 5), 90, 18)
    assert qkv.axes[0].indices([1]) == [2, 3, 8, 9, 14, 15]
    assert qkv.axes[1].indices([4, 0]) == [4, 0]  # in the order that is asked for


def test_columns_with_a_scale_of_their_own():
    codes = EmbeddingShape(kind="product", width=24, subvectors=4, codewords=5)
    shape = EncoderShape(
        vocabulary=9, embedding=codes, hidden=8, head_size=2, layers=(LayerShape(heads=3, ffn=7),),
        positions=6, labels=2, relative_bias=True,
    )  # fmt: skip
    columns = {weight.name: weight.columns for weight in encoder_weights(shape)}
    assert columns["embedding.weight"] == 24  # entries of the joined row
    assert columns["position_embeddings"] == 24
    assert columns["layers.0.distances"] == 3
    assert columns["layers.0.up.weight"] == 7
