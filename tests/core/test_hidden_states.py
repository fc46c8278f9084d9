"""Pooled vectors and principal axes of hidden states."""

from __future__ import annotations

import pytest
import torch

from squeeze.core.hidden_states import mean_pool, pca_projection


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mean_pool_ignores_padding():
    student, mask = normal(3, 5, 8), (torch.arange(5) < torch.tensor([[5], [3], [1]])).long()
    torch.testing.assert_close(mean_pool(student, mask)[1], student[1, :3].mean(dim=0))
    assert mean_pool(student, torch.zeros_like(mask)).abs().sum() == 0


def test_pca_projection_is_the_top_of_the_svd():
    rows = normal(50, 6) * torch.tensor([9.0, 1.0, 5.0, 0.1, 3.0, 0.5])
    found = pca_projection(rows, 3)
    top = torch.linalg.svd(rows, full_matrices=False).Vh[:3].T
    torch.testing.assert_close((found * top).sum(dim=0).abs(), torch.ones(3))
    torch.testing.assert_close(found.T @ found, torch.eye(3))
    best = torch.linalg.svdvals(rows)[3:].square().sum()
    torch.testing.assert_close((rows - rows @ found @ found.T).square().sum(), best)


def test_pca_projection_has_a_settled_sign_and_works_on_few_rows():
    rows = normal(2, 6)
    found = pca_projection(rows, 4)
    assert found.shape == (6, 4)
    assert (found.gather(0, found.abs().argmax(0, keepdim=True)) > 0).all()
    torch.testing.assert_close(found[:, :2], pca_projection(-rows, 2))


@pytest.mark.parametrize("width", [0, 7])
def test_pca_projection_refuses_an_impossible_width(width):
    with pytest.raises(ValueError, match=r"1\.\.6"):
        pca_projection(normal(9, 6), width)
