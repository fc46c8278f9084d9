"""A sliced encoder computes what the masked one does; everything else stays as it is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze.core.hidden_states import pca_projection
from squeeze.models import carve, slicing
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.models.slicing import Kept
from tests import tiny

TABLES = {
    "dense": EmbeddingShape(width=32),
    "factorised": EmbeddingShape(kind="factorised", width=32, rank=6),
    "product": EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16),
}
UNEQUAL = (LayerShape(heads=4, ffn=64), LayerShape(heads=2, ffn=20), LayerShape(heads=3, ffn=48))


@st.composite
def kept(draw: st.DrawFn) -> Kept:
    def some(size: int) -> tuple[int, ...]:
        return tuple(sorted(draw(st.sets(st.integers(0, size - 1), min_size=1))))

    return Kept((0, 1, 2), tuple(some(x.heads) for x in UNEQUAL), tuple(some(x.ffn) for x in UNEQUAL))


@settings(max_examples=15, deadline=None)
@given(stay=kept(), seed=st.integers(0, 9), relative=st.booleans(), table=st.sampled_from(sorted(TABLES)))
def test_masked_and_sliced_agree(stay, seed, relative, table):
    whole = tiny.encoder(seed, layers=UNEQUAL, relative_bias=relative, embedding=TABLES[table])
    ids, mask = tiny.batch(seed=seed)
    small = slicing.sliced(whole, stay)
    with torch.inference_mode():
        masked = whole.observe(ids, mask, gates=slicing.gates(whole.shape, stay))
        found = small.observe(ids, mask)
        assert (masked.logits - found.logits).abs().max() < 1e-5
        assert (small(ids, mask) - found.logits).abs().max() < 1e-5
    for ours, theirs in zip(found.hidden, masked.hidden, strict=True):
        assert (ours - theirs)[mask.bool()].abs().max() < 1e-5
    assert [(layer.heads, layer.ffn) for layer in small.shape.layers] == [
        (len(heads), len(neurons)) for heads, neurons in zip(stay.heads, stay.neurons, strict=True)
    ]


@pytest.mark.parametrize("relative", [False, True])
def test_layers_and_positions_that_nothing_reads_are_taken_out(relative):
    whole = tiny.encoder(relative_bias=relative)
    small = slicing.sliced(whole, slicing.everything(whole.shape, (0, 2)), positions=12)
    assert len(small.shape.layers) == 2
    assert small.shape.positions == 12
    ids, mask = tiny.batch()
    del whole.layers[1]
    with torch.inference_mode():
        assert (small(ids, mask) - whole(ids, mask)).abs().max() < 1e-5
    assert slicing.sliced(whole.train(), slicing.everything(small.shape)).training


def test_a_mask_cannot_take_out_a_layer():
    shape = tiny.shape()
    with pytest.raises(ValueError, match="keeps all 3 layers, 2 are to stay"):
        slicing.gates(shape, slicing.everything(shape, (0, 2)))


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_selected_as_they_are_stored(table):
    whole = tiny.encoder(embedding=TABLES[table])
    rows = np.array([0, 3, 50, 51, 7])
    small = slicing.select_rows(whole, rows)
    assert small.shape.vocabulary == 5
    expected = whole.embedding.table()[torch.from_numpy(rows)]
    if table == "factorised":  # a matrix product, whose last bit may depend on the number of rows
        stored, kept = whole.embedding.state_dict(), small.embedding.state_dict()
        assert torch.equal(kept["weight"], stored["weight"][torch.from_numpy(rows)])
        assert torch.equal(kept["project.weight"], stored["project.weight"])
        assert (small.embedding.table() - expected).abs().max() < 1e-6
    else:
        assert torch.equal(small.embedding.table(), expected)
    if table == "product":
        assert torch.equal(small.embedding.weight, whole.embedding.weight)


def test_a_rank_that_holds_the_table_changes_nothing_and_a_lower_one_is_the_best_of_its_rank():
    whole = tiny.encoder(embedding=TABLES["factorised"])
    same, less = carve.low_rank(whole, 6), carve.low_rank(whole, 3)
    table = whole.embedding.table()
    torch.testing.assert_close(same.embedding.table(), table)
    assert less.shape.embedding.rank == 3
    singular = torch.linalg.svdvals(table)
    lost = (less.embedding.table() - table).square().sum()
    assert lost.item() == pytest.approx(singular[3:].square().sum().item(), rel=1e-3)
    assert carve.low_rank(tiny.encoder(), 4).shape.embedding.kind == "factorised"
    with pytest.raises(ValueError, match="no rank"):
        carve.low_rank(tiny.encoder(embedding=TABLES["product"]), 4)


@pytest.mark.parametrize("table", ["factorised", "product"])
def test_a_narrower_encoder_keeps_a_coded_table_and_projects_what_it_gives(table):
    whole = tiny.encoder(embedding=TABLES[table])
    axes = pca_projection(torch.randn(200, 32, generator=torch.Generator().manual_seed(0)), 24)
    with torch.no_grad():
        small = carve.narrow(whole, axes).eval()
    assert small.shape.hidden == 24
    assert small.shape.embedding == whole.shape.embedding
    ids, mask = tiny.batch()
    with torch.inference_mode():
        entry, wanted = small.observe(ids, mask).hidden[0], whole.observe(ids, mask).hidden[0] @ axes
    torch.testing.assert_close(entry, wanted)


def test_a_full_set_of_axes_only_turns_the_stream_of_a_coded_table():
    whole = tiny.encoder(embedding=EmbeddingShape(kind="product", width=16, subvectors=4), hidden=32)
    axes = torch.eye(32)[:, torch.arange(31, -1, -1)]
    with torch.no_grad():
        turned = carve.narrow(whole, axes).eval()
    ids, mask = tiny.batch()
    with torch.inference_mode():
        assert (turned(ids, mask) - whole(ids, mask)).abs().max() < 1e-4
