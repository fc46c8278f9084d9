"""Every score of an encoder: what it must say of a copy, of a smaller student, and of the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.core.product_quantization import explained
from squeeze.costs import sizes
from squeeze.distillation.losses.cross_entropy import CrossEntropy
from squeeze.models import carve
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, LayerShape
from squeeze.models.encoder import parameters as count
from squeeze.scores import carved, encoder, proxy
from squeeze.scores.subjects import Candidate, Ground
from squeeze.scores.table import SCORES, available, score_all
from tests import tiny

WHOLE = tiny.WHOLE
cross_entropy = CrossEntropy(name="cross_entropy").compare
SMALLER: dict[str, Any] = {
    "layers": (0, 2),
    "heads": ((0,), (1, 2)),
    "neurons": (tuple(range(16)), tuple(range(8))),
    "embedding": EmbeddingShape(kind="factorised", width=32, rank=4),
}
RANDOM = sorted(name for name, score in SCORES.items() if score.weights == "random")
CARVED = sorted(name for name, score in SCORES.items() if score.weights == "carved")


@pytest.fixture(scope="module")
def ground() -> Ground:
    teacher = tiny.encoder()
    ids, mask = tiny.batch(rows=8)
    labels = torch.tensor([0, 1] * 4)
    found = carve.measure_importance(teacher, [(ids, mask, labels)], cross_entropy)
    return Ground(teacher, ids, mask, labels, found, seed=3, latency=lambda shape: len(shape.layers) / 2)


def candidate(ground: Ground, **changes: Any) -> Candidate:
    cut = carve.Cut(**{**WHOLE, **changes})
    student = carve.carve(ground.teacher, cut).eval()
    return Candidate(student.shape, lambda: student, cut)


def test_a_copy_of_the_teacher_is_as_good_as_can_be(ground):
    found = score_all(candidate(ground), ground, [*CARVED, "taylor_mass"])
    assert found["carved_relation"] == pytest.approx(0, abs=1e-9)
    assert found["carved_kl"] == pytest.approx(0, abs=1e-9)
    assert found["taylor_mass"] == pytest.approx(1)
    assert found["embedding_variance"] == 1.0


@pytest.mark.parametrize(
    "name", [*CARVED, "parameters", "embedding_codes", "encoder_macs", "predicted_latency"]
)
def test_a_smaller_student_scores_lower(ground, name):
    whole, less = (
        score_all(each, ground, [name]) for each in (candidate(ground), candidate(ground, **SMALLER))
    )
    assert less[name] < whole[name]


def test_without_names_it_gives_all_that_is_cheap_and_to_be_had(ground):
    cheap = {name for name, score in SCORES.items() if not score.costly}
    assert set(score_all(candidate(ground), ground)) == cheap
    bare = Ground(ground.teacher, ground.ids, ground.mask)
    assert set(score_all(candidate(bare), bare)) == cheap - {"taylor_mass", "predicted_latency"}
    shape_only = {"parameters", "embedding_codes", "encoder_macs", "random"}
    assert set(score_all(Candidate(tiny.shape()), bare)) == shape_only
    assert set(available(Candidate(tiny.shape()), bare)) == shape_only | {"w_pca"}
    assert set(available(candidate(ground), ground)) == set(SCORES)


def test_a_score_that_cannot_be_had_says_what_it_needs(ground):
    bare = Ground(ground.teacher, ground.ids, ground.mask)
    with pytest.raises(ValueError, match="'taylor_mass' needs the ground's importance"):
        score_all(candidate(bare), bare, ["taylor_mass"])
    with pytest.raises(ValueError, match="'diswot' needs the ground's labels"):
        score_all(candidate(bare), bare, ["diswot"])
    with pytest.raises(ValueError, match="'carved_kl' needs a carved student and its cut"):
        score_all(Candidate(tiny.shape()), ground, ["carved_kl"])
    with pytest.raises(ValueError, match="no score 'magic'; there are parameters, "):
        score_all(candidate(ground), ground, ["magic"])


def test_the_same_seed_gives_the_same_scores_and_leaves_torch_alone(ground):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one = score_all(candidate(ground, **SMALLER), replace(ground), SCORES)
    torch.manual_seed(7)
    score_all(Candidate(tiny.shape()), ground, RANDOM)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert score_all(candidate(ground, **SMALLER), replace(ground), SCORES) == one
    other = score_all(candidate(ground, **SMALLER), replace(ground, seed=4), ["random", "diswot"])
    assert all(other[name] != one[name] for name in other)


def test_text_in_the_students_own_pieces_is_scored_as_the_same_text(ground):
    kept = np.unique(ground.ids.numpy())
    numbers = torch.from_numpy(np.searchsorted(kept, ground.ids.numpy()))
    student = candidate(ground, rows=kept)
    found = score_all(replace(student, ids=numbers, mask=ground.mask), ground, CARVED)
    assert found["carved_kl"] == pytest.approx(0, abs=1e-9)
    assert found["embedding_variance"] == 1.0


# Baselines


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embedding": EmbeddingShape(kind="product", width=32, subvectors=4, codewords=8)},
        {"embedding": EmbeddingShape(kind="factorised", width=16, rank=3), "labels": 5},
        {"relative_bias": True, "layers": (LayerShape(heads=1, ffn=5), LayerShape(heads=3, ffn=9))},
    ],
)
def test_parameters_are_those_of_the_model(ground, changes):
    shape = tiny.shape(**changes)
    assert score_all(Candidate(shape), ground, ["parameters"])["parameters"] == count(Encoder(shape))


def test_macs_of_a_batch_are_those_of_its_texts(ground):
    lengths = ground.mask.sum(1).tolist()
    wanted = np.mean([sizes.macs(ground.teacher.shape, int(length)) for length in lengths])
    found = score_all(Candidate(ground.teacher.shape), ground, ["encoder_macs"])
    assert found["encoder_macs"] == pytest.approx(wanted)


def test_tables_are_compared_once(ground):
    fresh = replace(ground, variances={})
    first = score_all(candidate(fresh, **SMALLER), fresh)
    again = score_all(candidate(fresh, **{**SMALLER, "layers": (1, 2)}), fresh)
    assert len(fresh.variances) == 1
    assert first["embedding_variance"] == again["embedding_variance"]


def test_a_narrower_table_keeps_no_comparable_variance(ground):
    narrow = candidate(ground, axes=torch.eye(32)[:, :16], embedding=EmbeddingShape(width=16))
    found = score_all(narrow, ground, CARVED)
    assert found["embedding_variance"] == 0
    assert found["carved_relation"] < 0


def test_what_is_cheap_carves_nothing(ground):
    def never() -> Encoder:
        raise AssertionError("carved")

    product = EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)
    for form in (product, SMALLER["embedding"]):
        student = candidate(ground, embedding=form)
        found = score_all(replace(student, carve=never), ground)
        whole = ground.teacher.embedding.table().detach().numpy()
        assert student.carve is not None
        kept = explained(whole, student.carve().embedding.table().detach().numpy())
        assert found["embedding_variance"] == pytest.approx(kept, abs=0.02)


def test_chance_does_not_see_quality():
    shapes = [tiny.shape(layers=(LayerShape(heads=4, ffn=n),)) for n in range(1, 400)]
    ground = Ground(tiny.encoder(), *tiny.batch())
    found = [score_all(Candidate(shape), ground, ["random"])["random"] for shape in shapes]
    assert len(set(found)) == len(found)
    assert abs(np.corrcoef(found, np.arange(len(found)))[0, 1]) < 0.15
    assert abs(np.mean(found) - 0.5) < 0.06


# Carved


def test_mass_is_the_mean_share_of_heads_and_neurons():
    heads = (torch.tensor([1.0, 3.0]), torch.tensor([4.0, 0.0]))
    neurons = (torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]))
    cut = carve.Cut(**{**WHOLE, "layers": (1,), "heads": ((0,),), "neurons": ((0,),)})
    assert carved.mass(carve.Importance(heads, neurons), cut) == pytest.approx((4 / 8 + 1 / 4) / 2)


def test_where_nothing_matters_nothing_is_lost():
    assert carved.share((torch.zeros(3),), (0,), ((1,),)) == 1.0


# Random weights


def test_diswot_of_a_copy_is_zero_and_of_anything_else_is_not(ground):
    shape, ids = encoder.compact(ground.teacher.shape, ground.ids)
    views = [
        encoder.view(encoder.randomised(shape, seed), ids, ground.mask, ground.labels) for seed in (1, 1, 2)
    ]
    assert encoder.average(views[:1], views[1:2]) == (0, 0)
    assert min(encoder.average(views[:1], views[2:])) > 0


def test_diswot_does_not_depend_on_the_order_of_the_texts_nor_on_width(ground):
    shape, ids = encoder.compact(ground.teacher.shape, ground.ids)
    narrow = shape.model_copy(update={"hidden": 16, "embedding": EmbeddingShape(width=16)})
    models = encoder.randomised(shape, 1), encoder.randomised(narrow, 2)
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    found = [
        encoder.average(
            *([encoder.view(model, ids[rows], ground.mask[rows], ground.labels[rows])] for model in models)
        )
        for rows in (torch.arange(8), order)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_long_and_short_texts_apart_give_what_they_give_together(monkeypatch):
    model, (ids, mask) = tiny.encoder(), tiny.batch(rows=9, length=12, seed=4)
    together = encoder.states(model, ids, mask)
    monkeypatch.setattr(encoder, "TOGETHER", 2)
    apart = encoder.states(model, ids, mask)
    with torch.no_grad():
        torch.testing.assert_close(together.logits, model(ids, mask))
    for name in ("logits", "pooled", "read"):
        torch.testing.assert_close(getattr(apart, name), getattr(together, name))


def test_rows_that_are_not_read_change_nothing(ground):
    shape, ids = encoder.compact(ground.teacher.shape, ground.ids)
    assert shape.vocabulary < ground.teacher.shape.vocabulary
    whole = encoder.randomised(ground.teacher.shape, 1)
    part = encoder.randomised(shape, 1)
    rest = {name: value for name, value in whole.state_dict().items() if name != "embedding.weight"}
    part.load_state_dict(rest | {"embedding.weight": whole.embedding.weight[torch.unique(ground.ids)]})
    with torch.no_grad():
        torch.testing.assert_close(part(ids, ground.mask), whole(ground.ids, ground.mask))


def test_random_weights_are_the_papers():
    model = encoder.randomised(tiny.shape(relative_bias=True), 0)
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            assert not value.any(), name
        elif "norm" in name:
            assert (value == 1).all(), name
        else:
            assert value.std().item() == pytest.approx(1, abs=0.15), name


def test_diswot_is_minus_both_distances_over_all_starts(ground):
    found = score_all(candidate(ground, **SMALLER), ground, RANDOM)
    assert found["diswot"] == pytest.approx(found["diswot_relation"] + found["diswot_semantic"])
    assert found["diswot"] < 0
    assert len(ground.views) == 5


def test_no_start_is_shared_between_sides_or_seeds(ground):
    taken = [
        seed
        for number in range(4)
        for side in ("teacher", "student")
        for seed in replace(ground, seed=number).starts(side)
    ]
    assert len(set(taken)) == len(taken) == 40


# W-PCA


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_components_are_counted_as_the_authors_do(shape):
    rows = np.random.default_rng(0).normal(size=shape) * np.geomspace(1, 0.01, shape[1])
    values = np.linalg.eigvalsh(np.cov(rows, rowvar=False))[::-1]
    held, wanted = 0.0, 0
    while held <= 0.99:
        held += values[wanted] / values.sum()
        wanted += 1
    assert proxy.components(torch.from_numpy(rows), 0.99) == wanted


def test_what_does_not_vary_has_no_components():
    assert proxy.components(torch.ones(4, 3), 0.99) == 0


def test_w_pca_sees_real_tokens_before_the_activation(ground):
    model = encoder.randomised(ground.teacher.shape, 1, 0.02)
    seen = []
    hook = model.layers[2].get_submodule("up").register_forward_hook(lambda m, i, o: seen.append(o))
    found = proxy.pca(model, ground.ids, ground.mask)
    hook.remove()
    last = proxy.components(seen[0][ground.mask.bool()], proxy.ETA)
    assert last < found <= 3 * 32  # a product of states of width 32 has no more directions
    longer = torch.nn.functional.pad(ground.ids, (0, 2)), torch.nn.functional.pad(ground.mask, (0, 2))
    assert proxy.pca(model, *longer) == found


def test_w_pca_rises_with_depth(ground):
    shapes = [tiny.shape(layers=(LayerShape(heads=4, ffn=64),) * depth) for depth in (1, 3)]
    found = [score_all(Candidate(shape), ground, ["w_pca"])["w_pca"] for shape in shapes]
    assert found[1] > 2 * found[0]
