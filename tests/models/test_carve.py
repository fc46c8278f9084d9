from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.hidden_states import pca_projection
from squeeze.core.layer_map import choose_layers
from squeeze.distillation.losses.cross_entropy import CrossEntropy
from squeeze.models import carve, conversion, tokens, vocabulary
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Gates, LayerShape
from squeeze.models.inference import logits, to_tensors
from tests import tiny

WHOLE = tiny.WHOLE
cross_entropy = CrossEntropy(name="cross_entropy").compare


def cut(**changes):
    return carve.Cut(**{**WHOLE, **changes})


def said(model, seed=0):
    with torch.no_grad():
        return model(*tiny.batch(seed=seed))


def same(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@given(st.integers(1, 48), st.data())
def test_chosen_layers_rise_and_end_with_the_last(of, data):
    wanted = data.draw(st.integers(1, of))
    layers = choose_layers(wanted, of)
    assert len(layers) == wanted
    assert layers[-1] == of - 1
    steps = np.diff([-1, *layers])
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1  # evenly spread


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_where_nothing_is_cut_the_student_is_the_teacher(family):
    teacher = conversion.read(tiny.classifier(family))
    student = carve.carve(teacher, cut(embedding=teacher.shape.embedding))
    assert student.training
    assert student.shape == teacher.shape
    same(said(student.eval()), said(teacher), atol=1e-6)
    shared = {p.data_ptr() for p in student.parameters()} & {p.data_ptr() for p in teacher.parameters()}
    assert not shared  # training the student leaves the teacher alone


@pytest.mark.parametrize("relative", [False, True], ids=["bert", "mpnet"])
def test_cut_heads_and_neurons_are_gates_at_zero(relative):
    teacher = tiny.encoder(relative_bias=relative)
    heads = ((1, 3), (0,), (0, 1, 2, 3))
    neurons = (tuple(range(0, 64, 2)), tuple(range(5)), (7, 63))
    student = carve.carve(teacher, cut(heads=heads, neurons=neurons)).eval()
    assert student.shape.layers == tuple(
        LayerShape(heads=len(h), ffn=len(n)) for h, n in zip(heads, neurons, strict=True)
    )

    def gate(size, kept):
        return torch.zeros(size).index_fill(0, torch.tensor(kept), 1.0)

    gates = Gates(tuple(gate(4, h) for h in heads), tuple(gate(64, n) for n in neurons))
    with torch.no_grad():
        expected = teacher.observe(*tiny.batch(), gates=gates).logits
    same(said(student), expected)
    assert (said(student) - said(teacher)).abs().max() > 1e-3


def test_kept_layers_are_those_that_were_chosen():
    teacher = tiny.encoder()
    student = carve.carve(teacher, cut(layers=(0, 2), heads=WHOLE["heads"][:2], neurons=WHOLE["neurons"][:2]))
    assert len(student.shape.layers) == 2
    del teacher.layers[1]
    same(said(student.eval()), said(teacher))


@pytest.mark.parametrize("relative", [False, True], ids=["bert", "mpnet"])
def test_fewer_positions_change_nothing_for_texts_that_fit(relative):
    teacher = tiny.encoder(relative_bias=relative)
    student = carve.carve(teacher, cut(positions=11)).eval()
    assert student.position_embeddings.shape == (11, 32)
    same(said(student), said(teacher))


def test_rows_are_taken_in_the_order_that_is_asked_for():
    teacher = tiny.encoder()
    rows = np.array([3, 1, 40])
    student = carve.carve(teacher, cut(rows=rows)).eval()
    with torch.no_grad():
        ids = torch.tensor([[0, 1, 2, 2]])
        mask = torch.ones_like(ids)
        same(student(ids, mask), teacher(torch.from_numpy(rows)[ids], mask))


def test_importance_is_the_size_of_the_gradient_of_each_gate():
    teacher = tiny.encoder()
    ids, mask = tiny.batch(rows=6)
    labels = torch.tensor([0, 1] * 3)
    found = carve.measure_importance(teacher, [(ids, mask, labels)], cross_entropy)
    assert [len(h) for h in found.heads] == [4] * 3
    assert [len(n) for n in found.neurons] == [64] * 3
    step = 1e-2
    for layer, head in [(0, 1), (2, 3)]:
        losses = []
        for value in (1 - step, 1 + step):
            heads = [torch.ones(4) for _ in range(3)]
            heads[layer][head] = value
            gates = Gates(tuple(heads), (torch.ones(64),) * 3)
            with torch.no_grad():
                losses.append(cross_entropy(teacher.observe(ids, mask, gates=gates).logits, labels))
        slope = float(losses[1] - losses[0]) / (2 * step)
        assert float(found.heads[layer][head]) == pytest.approx(abs(slope), rel=0.05, abs=1e-5)


def test_dead_parts_go_first():
    teacher = tiny.encoder()
    with torch.no_grad():
        teacher.get_parameter("layers.1.out.weight")[:, 8:16] = 0  # head 1 says nothing
        teacher.get_parameter("layers.0.down.weight")[:, ::2] = 0  # nor does every other neuron
    ids, mask = tiny.batch(rows=6)
    found = carve.measure_importance(teacher, [(ids, mask, torch.tensor([0, 1] * 3))], cross_entropy)
    heads = carve.keep_best(found.heads, (0, 1, 2), (4, 3, 4))
    neurons = carve.keep_best(found.neurons, (0, 1, 2), (32, 64, 64))
    assert heads[1] == (0, 2, 3)
    assert neurons[0] == tuple(range(1, 64, 2))
    same(said(carve.carve(teacher, cut(heads=heads, neurons=neurons)).eval()), said(teacher))


def test_a_table_of_full_rank_is_exact():
    teacher = tiny.encoder()
    shape = EmbeddingShape(kind="factorised", width=32, rank=32)
    student = carve.recode(teacher, shape).eval()
    same(student.embedding.table(), teacher.embedding.table())
    same(said(student), said(teacher))


def test_a_low_rank_is_the_best_one():
    teacher = tiny.encoder()
    table = teacher.embedding.table().detach()
    student = carve.recode(teacher, EmbeddingShape(kind="factorised", width=32, rank=12))
    lost = (table - student.embedding.table().detach()).square().sum()
    least = torch.linalg.svdvals(table)[12:].square().sum()
    assert float(lost) == pytest.approx(float(least), rel=1e-4)


def test_weights_of_rows_say_where_a_low_rank_is_exact():
    teacher = tiny.encoder()
    weights = np.full(tiny.VOCABULARY, 1e-6)
    weights[:8] = 1.0
    shape = EmbeddingShape(kind="factorised", width=32, rank=8)
    table = teacher.embedding.table().detach()
    lost = [
        (table - carve.recode(teacher, shape, some).embedding.table())[:8].square().sum().item()
        for some in (weights, None)
    ]
    assert lost[0] < 1e-3 < lost[1]


def test_product_codes_of_few_rows_are_exact():
    teacher = tiny.encoder()
    with torch.no_grad():
        teacher.embedding.weight.copy_(teacher.embedding.weight[torch.arange(tiny.VOCABULARY) % 16])
    shape = EmbeddingShape(kind="product", width=32, subvectors=4, codewords=16)
    student = carve.recode(teacher, shape, np.ones(tiny.VOCABULARY)).eval()
    same(student.embedding.table(), teacher.embedding.table())
    same(said(student), said(teacher))


@pytest.mark.parametrize("kind", ["dense", "factorised", "product"])
def test_the_same_seed_stores_the_same_table(kind):
    shape = EmbeddingShape(kind=kind, width=32, rank=4, subvectors=8, codewords=8)
    first, second = (carve.carve(tiny.encoder(), cut(embedding=shape, seed=5)) for _ in range(2))
    assert first.shape.embedding.kind == kind
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def states(teacher):
    """(N, H) states of all depths."""
    with torch.no_grad():
        found = [
            torch.stack(teacher.observe(ids, mask).hidden)[:, mask.bool()].flatten(0, 1)
            for ids, mask in (tiny.batch(rows=16, length=20, seed=seed) for seed in range(4))
        ]
    return torch.cat(found)


def low_rank(width, hidden=32):
    """A teacher whose table, positions, writers and biases live in `width` directions; plain norms."""
    teacher = tiny.encoder()
    basis = torch.linalg.qr(torch.randn(hidden, width)).Q
    keep = basis @ basis.T
    with torch.no_grad():
        teacher.embedding.weight.copy_(teacher.embedding.weight @ keep)
        teacher.position_embeddings.copy_(teacher.position_embeddings @ keep)
        for name, module in teacher.named_modules():
            if name.endswith((".out", ".down")):
                module.weight.copy_(keep @ module.weight)
                module.bias.copy_(keep @ module.bias)
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1.0)
                module.bias.fill_(0.0)
    return teacher


def likeness(teacher, student, axes):
    """Correlation over tokens of the teacher's states and the student's, put back into the full width."""
    ids, mask = tiny.batch(rows=16, length=20, seed=9)
    found = []
    with torch.no_grad():
        pairs = zip(teacher.observe(ids, mask).hidden, student.observe(ids, mask).hidden, strict=True)
        for theirs, ours in pairs:
            t, s = theirs[mask.bool()], ours[mask.bool()] @ axes.T
            found.append(torch.cosine_similarity((t - t.mean(0)).flatten(), (s - s.mean(0)).flatten(), dim=0))
    return float(torch.stack(found).mean())


def test_a_carver_gives_what_carve_gives_and_fits_a_table_once(monkeypatch):
    fitted, store = [], carve.store

    def counted(*given):
        fitted.append(given)
        return store(*given)

    monkeypatch.setattr(carve, "store", counted)
    product = EmbeddingShape(kind="product", width=32, subvectors=4, codewords=8)
    cuts = [
        cut(embedding=product),
        cut(embedding=product, layers=(0, 2), heads=WHOLE["heads"][:2], neurons=WHOLE["neurons"][:2]),
        cut(),
        cut(embedding=product, seed=1),
    ]
    carver = carve.Carver(tiny.encoder())
    made = [carver(each) for each in cuts]
    assert len(fitted) == 2
    for each, student in zip(cuts, made, strict=True):
        same(said(carve.carve(tiny.encoder(), each).eval()), said(student))


def test_a_narrower_student_follows_the_directions_in_which_states_vary():
    teacher = low_rank(12)
    axes = {
        "kept": pca_projection(states(teacher), 16),
        "random": torch.linalg.qr(torch.randn(32, 16)).Q,
        "largest": torch.eye(32)[:, states(teacher).square().sum(0).topk(16).indices],
    }
    like = {}
    for name, some in axes.items():
        student = carve.carve(teacher, cut(axes=some, embedding=EmbeddingShape(width=16))).eval()
        assert student.shape.hidden == 16
        like[name] = likeness(teacher, student, some)
    assert like["kept"] > 0.95, like
    assert like["kept"] > max(like["random"], like["largest"]) + 0.1, like


def test_axes_that_span_everything_change_nothing():
    teacher = tiny.encoder()
    student = carve.carve(teacher, cut(axes=pca_projection(states(teacher), 32))).eval()
    assert student.shape == teacher.shape
    same(said(student), said(teacher))


def test_a_narrower_student_of_a_widened_table_keeps_the_table():
    teacher = conversion.read(tiny.classifier("electra"))
    axes = pca_projection(states(teacher), 24)
    student = carve.carve(teacher, cut(axes=axes, embedding=EmbeddingShape(width=16))).eval()
    assert (student.shape.hidden, student.shape.embedding.width) == (24, 16)
    same(student.embedding.table(), teacher.embedding.table())
    assert said(student).shape == (4, 2)


def test_on_text_of_kept_pieces_ids_map_one_to_one_and_logits_are_identical():
    """Trimmed tokenizer, cut rows, encoding and forward pass together, against the whole teacher."""
    teacher, spec = tiny.encoder(), tiny.spec()
    texts = ["urgent, please send food!", "we deliver water to the shelter near the bridge."]
    full = tokens.make_tokenizer(spec, 40)
    small = vocabulary.trim(spec, vocabulary.choose(spec, vocabulary.count(full, texts), frequent=0))
    assert len(small.kept) < tiny.VOCABULARY
    kept = np.array(small.kept)
    student = carve.carve(teacher, cut(rows=kept)).eval()
    theirs = tokens.encode(full, texts)
    ours = tokens.encode(tokens.make_tokenizer(small.tokenizer, 40), texts)
    np.testing.assert_array_equal(ours.renumber(kept).values, theirs.values)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    assert not np.array_equal(ours.values, theirs.values)  # numbers did move
    rows = np.arange(len(texts))
    with torch.no_grad():
        expected = teacher(*to_tensors(theirs, rows, tokens.pad_id(spec)))
        found = student(*to_tensors(ours, rows, tokens.pad_id(small.tokenizer)))
    assert torch.equal(found, expected)


def test_text_of_lost_pieces_still_reaches_the_student():
    teacher, spec = tiny.encoder(), tiny.spec()
    small = vocabulary.trim(spec, frozenset())
    student = carve.carve(teacher, cut(rows=np.array(small.kept))).eval()
    tokenizer = tokens.make_tokenizer(small.tokenizer, 40)
    rows = tokens.encode(tokenizer, ["volunteers bring water", "\U0001f30a 水", ""])
    assert (rows[0] != tokenizer.token_to_id("[UNK]")).all()
    assert np.isfinite(logits(student, rows, 0, 2)).all()
