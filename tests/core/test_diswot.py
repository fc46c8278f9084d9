"""DisWOT's distances: the paper's definition, their invariances, and autograd's gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from squeeze.core import diswot


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outer_products(gradient):
    """(K, D, D) as the paper writes them, rows of length 1."""
    return functional.normalize(gradient[:, :, None] * gradient[:, None, :], dim=-1)


def test_a_copy_is_at_distance_zero():
    features, gradient = drawn(8, 3, 4, 4), drawn(5, 7)
    assert diswot.relation_distance(features, features.clone()) == 0
    assert diswot.semantic_distance(gradient, gradient.clone()).item() == pytest.approx(0, abs=1e-6)


def test_relations_do_not_depend_on_the_order_or_the_scale_of_the_samples():
    teacher, student, order = drawn(8, 6), drawn(8, 3, 2, 2, seed=1), torch.randperm(8)
    found = diswot.relation_distance(teacher, student)
    assert found > 0
    torch.testing.assert_close(diswot.relation_distance(teacher[order], student[order]), found)
    torch.testing.assert_close(diswot.relation_distance(3 * teacher, student), found)


def test_the_semantic_distance_is_that_of_the_papers_matrices():
    teacher, student = drawn(5, 7), drawn(5, 7, seed=1)
    student[2, 3] = 0.0
    gap = outer_products(teacher) - outer_products(student)
    torch.testing.assert_close(diswot.semantic_distance(teacher, student), gap.square().sum() / (5 * 7))


def test_the_class_gradient_is_autograds():
    read, labels = drawn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    weight = drawn(3, 4, seed=1).requires_grad_()
    logits = read @ weight.T
    functional.cross_entropy(logits, labels).backward()
    assert weight.grad is not None
    torch.testing.assert_close(diswot.class_gradient(logits.detach(), labels, read), weight.grad)


@pytest.mark.parametrize("student", [drawn(8, 6, seed=1), torch.zeros(8, 6)])
def test_both_have_finite_gradients(student):
    student = student.clone().requires_grad_()
    loss = diswot.relation_distance(drawn(8, 6), student) + diswot.semantic_distance(drawn(8, 6), student)
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="same samples, got 8 and 7"):
        diswot.relation_distance(drawn(8, 2), drawn(7, 2))
    with pytest.raises(ValueError, match="one shape"):
        diswot.semantic_distance(drawn(3, 4), drawn(3, 5))
