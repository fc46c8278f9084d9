"""Every loss: a golden number, what it must never do, and no influence of padding."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import ModuleDict, functional

from squeeze.data.teacher_cache import hidden
from squeeze.distillation.losses import LOSSES, ObservedBatch
from squeeze.models.encoder import Outputs


def compare(name, **settings):
    return LOSSES[name].parse({"name": name, **settings}).compare  # type: ignore[attr-defined]


def pooled(student, teacher, mask):
    seen = Outputs(logits=torch.zeros(len(mask), 2), hidden=[student, student])
    batch = {"mask": mask, hidden(1): teacher}
    return LOSSES["pooled_mimic"].parse({"name": "pooled_mimic"})(
        ObservedBatch(seen, batch, (1, 1)), ModuleDict()
    )


losses = SimpleNamespace(
    **{name: compare(name) for name in ("cross_entropy", "logit_mse", "jensen_shannon")},
    **{name: compare(name) for name in ("hidden_mse", "attention_mse", "attention_kl")},
    soft_cross_entropy=lambda s, t, hot=1.0: compare("soft_cross_entropy", temperature=hot)(s, t),
    kl=lambda s, t, hot=1.0: compare("kl", temperature=hot)(s, t),
    topk_kd=lambda s, t, k, rest=1.0, hot=1.0: compare("topk_kd", k=k, temperature=hot)(s, t, rest),
    relation_kl=lambda s, t, m, heads: compare("relation_kl", heads=heads)(s, t, m),
)

LOGIT_LOSSES = {
    "soft_cross_entropy": lambda s, t: losses.soft_cross_entropy(s, t, 2.0),
    "kl": lambda s, t: losses.kl(s, t, 2.0),
    "logit_mse": losses.logit_mse,
    "jensen_shannon": losses.jensen_shannon,
    "topk_kd": lambda s, t: losses.topk_kd(s, t, 2, 0.5),
}
DIVERGENCES = ["kl", "logit_mse", "jensen_shannon", "topk_kd"]
TOKEN_LOSSES = {  # each takes student (B, T, 8), teacher (B, T, 8) and the mask
    "hidden_mse": losses.hidden_mse,
    "attention_mse": lambda s, t, m: losses.attention_mse(attention(s, 2, m), attention(t, 2, m), m),
    "attention_mse averaged": lambda s, t, m: losses.attention_mse(attention(s, 2, m), attention(t, 4, m), m),
    "attention_kl": lambda s, t, m: losses.attention_kl(attention(s, 2, m), attention(t, 2, m), m),
    "attention_kl averaged": lambda s, t, m: losses.attention_kl(attention(s, 2, m), attention(t, 4, m), m),
    "relation_kl": lambda s, t, m: losses.relation_kl(s, t, m, heads=4),
    "pooled_mimic": pooled,
}


def attention(x, heads, mask):
    """(B, heads, T, T) attention probabilities, padded keys masked out."""
    batch, tokens, width = x.shape
    split = x.view(batch, tokens, heads, width // heads).transpose(1, 2)
    scores = (split @ split.transpose(2, 3)).masked_fill(~mask.bool()[:, None, None, :], -1e9)
    return scores.softmax(dim=-1)


@st.composite
def two_logits(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 6)))
    one = arrays(np.float64, shape, elements=st.floats(-20, 20))
    return torch.from_numpy(draw(one)), torch.from_numpy(draw(one))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def finite(gradient):
    return gradient is not None and bool(torch.isfinite(gradient).all())


def batch(seed=0):
    """Student, teacher (3, 5, 8) and a mask with 5, 3 and 1 real tokens."""
    mask = (torch.arange(5) < torch.tensor([[5], [3], [1]])).long()
    return normal(3, 5, 8, seed=seed), normal(3, 5, 8, seed=seed + 1), mask


# Losses on logits


def test_cross_entropy_skips_unlabelled_rows():
    logits, labels = normal(5, 3), torch.tensor([2, -1, 0, -1, 1])
    kept = labels >= 0
    torch.testing.assert_close(
        losses.cross_entropy(logits, labels), functional.cross_entropy(logits[kept], labels[kept])
    )


def test_cross_entropy_without_labels_is_zero_and_has_a_gradient():
    logits = normal(2, 3).requires_grad_()
    loss = losses.cross_entropy(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("soft_cross_entropy", 6.135461),
        ("kl", 1.051393),
        ("logit_mse", 2.5),
        ("jensen_shannon", 0.213441),
        ("topk_kd", 0.874351),
    ],
)
def test_logit_losses_golden(name, value):
    student, teacher = torch.tensor([[1.0, 0.0, -1.0, 0.5]]), torch.tensor([[0.0, 2.0, 1.0, -0.5]])
    assert LOGIT_LOSSES[name](student, teacher).item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
@given(pair=two_logits())
def test_divergences_are_never_negative_and_zero_on_equal_logits(name, pair):
    student, teacher = pair
    assert LOGIT_LOSSES[name](student, teacher) >= -1e-12
    assert LOGIT_LOSSES[name](student, student).item() == pytest.approx(0, abs=1e-12)


@given(two_logits())
def test_adding_a_constant_to_a_row_changes_no_probability_loss(pair):
    student, teacher = pair
    for name in ("soft_cross_entropy", "kl", "jensen_shannon", "topk_kd"):
        loss = LOGIT_LOSSES[name]
        torch.testing.assert_close(loss(student + 3, teacher), loss(student, teacher), atol=1e-9, rtol=1e-9)


@given(two_logits(), st.floats(0.5, 8))
def test_soft_cross_entropy_is_kl_plus_entropy(pair, temperature):
    student, teacher = pair
    entropy = losses.soft_cross_entropy(teacher, teacher, temperature)
    torch.testing.assert_close(
        losses.soft_cross_entropy(student, teacher, temperature),
        losses.kl(student, teacher, temperature) + entropy,
    )


def test_kl_is_that_of_torch():
    student, teacher = normal(4, 5), normal(4, 5, seed=1)
    wanted = functional.kl_div(
        functional.log_softmax(student / 3, -1), functional.softmax(teacher / 3, -1), reduction="batchmean"
    )
    torch.testing.assert_close(losses.kl(student, teacher, 3.0), wanted * 9)


def test_at_high_temperature_kl_becomes_logit_mse():
    # Hinton et al. 2015: for zero-mean logits T^2 KL -> sum of squares / 2K, which is half the mean square.
    student, teacher = (
        x - x.mean(-1, keepdim=True) for x in (normal(4, 5).double(), normal(4, 5, seed=1).double())
    )
    torch.testing.assert_close(
        losses.kl(student, teacher, 1e3), losses.logit_mse(student, teacher) / 2, rtol=3e-3, atol=0
    )


@given(two_logits())
def test_jensen_shannon_is_symmetric_and_at_most_ln_two(pair):
    student, teacher = pair
    loss = losses.jensen_shannon(student, teacher)
    torch.testing.assert_close(loss, losses.jensen_shannon(teacher, student))
    assert loss <= math.log(2) + 1e-12


def test_divergences_and_their_gradients_stay_finite_on_extreme_logits():
    for name in LOGIT_LOSSES:
        student = torch.tensor([[0.0, 1e4, -1e4]], requires_grad=True)
        loss = LOGIT_LOSSES[name](student, torch.tensor([[1e4, 0.0, -1e4]]))
        loss.backward()
        assert torch.isfinite(loss), name
        assert finite(student.grad), name


@given(two_logits(), st.floats(0, 3))
def test_topk_with_all_labels_is_kl(pair, weight):
    student, teacher = pair
    labels = student.shape[-1]
    for k in (labels, labels - 1):
        torch.testing.assert_close(
            losses.topk_kd(student, teacher, k, weight, 2.0), losses.kl(student, teacher, 2.0)
        )


def test_topk_sees_the_rest_as_much_as_asked():
    student, teacher = torch.tensor([[5.0, 0.0, 1.0]]).double(), torch.tensor([[5.0, 1.0, 0.0]]).double()
    none, some, more = (losses.topk_kd(student, teacher, 1, w).item() for w in (0.0, 1.0, 2.0))
    assert none == pytest.approx(0, abs=1e-6)  # the buckets agree, only the order inside the rest differs
    assert more == pytest.approx(2 * some, rel=1e-4)
    assert some > 30 * losses.kl(student, teacher).item()


def test_topk_refuses_more_labels_than_there_are():
    with pytest.raises(ValueError, match=r"1\.\.3"):
        losses.topk_kd(torch.zeros(1, 3), torch.zeros(1, 3), 4)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_gradients_of_logit_losses(name):
    student, teacher = normal(2, 4).double().requires_grad_(), normal(2, 4, seed=1).double()
    assert torch.autograd.gradcheck(lambda s: LOGIT_LOSSES[name](s, teacher), student)


# Losses inside the network


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_mse", 1.962040),
        ("attention_mse", 0.071159),
        ("attention_mse averaged", 0.038116),
        ("attention_kl", 0.879107),
        ("attention_kl averaged", 0.776652),
        ("relation_kl", 0.501904),
        ("pooled_mimic", 0.797455),
    ],
)
def test_token_losses_golden(name, value):
    assert TOKEN_LOSSES[name](*batch()).item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("name", TOKEN_LOSSES)
@settings(deadline=None, max_examples=20)
@given(extra=st.integers(0, 4), seed=st.integers(0, 99), junk=st.sampled_from([0.0, 7.0, 1e4]))
def test_padding_changes_nothing(name, extra, seed, junk):
    student, teacher, mask = batch(seed)
    wanted = TOKEN_LOSSES[name](student, teacher, mask)
    padded = functional.pad(mask, (0, extra))
    filled = [functional.pad(x, (0, 0, 0, extra)) for x in (student, teacher)]
    for side, sign in zip(filled, (1, -1), strict=True):
        side[~padded.bool()] = sign * junk
    ours, theirs = filled
    torch.testing.assert_close(TOKEN_LOSSES[name](ours, theirs, padded), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_padding_gets_no_gradient_and_no_nan(name):
    student, teacher, mask = batch()
    student.requires_grad_()
    TOKEN_LOSSES[name](student, teacher, mask).backward()
    assert finite(student.grad)
    assert student.grad[~mask.bool()].abs().sum() == 0
    assert student.grad[mask.bool()].abs().sum() > 0


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_equal_networks_cost_nothing(name):
    student, _, mask = batch()
    if "averaged" not in name:
        assert TOKEN_LOSSES[name](student, student, mask).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_a_batch_of_padding_costs_nothing(name):
    student, teacher, mask = batch()
    student.requires_grad_()
    loss = TOKEN_LOSSES[name](student, teacher, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().sum() == 0


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_gradients_of_token_losses(name):
    student, teacher, mask = batch()
    student, teacher = student.double().requires_grad_(), teacher.double()
    assert torch.autograd.gradcheck(lambda s: TOKEN_LOSSES[name](s, teacher, mask), student)


def test_hidden_mse_is_a_mean_over_real_tokens():
    student, teacher, mask = batch()
    kept = mask.bool()
    torch.testing.assert_close(
        losses.hidden_mse(student, teacher, mask), functional.mse_loss(student[kept], teacher[kept])
    )


def test_attention_mse_takes_scores_with_minus_infinity():
    mask = torch.tensor([[1, 1, 0]])
    scores = normal(1, 2, 3, 3).masked_fill(~mask.bool()[:, None, None, :], -math.inf).requires_grad_()
    loss = losses.attention_mse(scores, scores.detach() + 1, mask)
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-6)
    assert torch.isfinite(scores.grad).all()


def test_attention_of_other_head_counts_meets_in_the_mean():
    student, teacher, mask = batch()
    one, many = attention(student, 2, mask), attention(teacher, 4, mask)
    wanted = losses.attention_kl(one.mean(1, keepdim=True), many.mean(1, keepdim=True), mask)
    torch.testing.assert_close(losses.attention_kl(one, many, mask), wanted)


def test_attention_kl_without_padding_is_that_of_torch():
    student, teacher = (attention(normal(2, 4, 8, seed=s), 2, torch.ones(2, 4)) for s in (0, 1))
    wanted = functional.kl_div(student.log(), teacher, reduction="sum") / (2 * 2 * 4)
    torch.testing.assert_close(losses.attention_kl(student, teacher, torch.ones(2, 4)), wanted)


def test_attention_kl_survives_a_student_that_rules_a_token_out():
    student, teacher = torch.eye(2).view(1, 1, 2, 2).requires_grad_(), torch.full((1, 1, 2, 2), 0.5)
    loss = losses.attention_kl(student, teacher, torch.ones(1, 2))
    loss.backward()
    assert 0 < loss.item() < 20
    assert finite(student.grad)


def test_relations_compare_networks_of_other_widths():
    student, _, mask = batch()
    turn, _ = torch.linalg.qr(normal(2, 2, seed=5))
    wide = torch.cat([student.view(3, 5, 4, 2) @ turn, torch.zeros(3, 5, 4, 2)], dim=-1) * 2**0.25
    # Turned, padded with zeros and rescaled for sqrt(d): the same relations in twice the width.
    assert losses.relation_kl(student, wide.reshape(3, 5, 16), mask, heads=4).item() == pytest.approx(
        0, abs=1e-6
    )


def test_relation_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="divide the width 8, got 3"):
        losses.relation_kl(normal(1, 2, 8), normal(1, 2, 8), torch.ones(1, 2), heads=3)
