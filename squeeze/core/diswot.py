"""How differently two networks see a batch: DisWOT's two distances (Dong et al. 2023, arXiv:2303.15678).

Both are 0 for networks that agree and grow with disagreement; the paper's score of a student that was
never trained is minus their sum. They are differentiable, so they also serve as training losses.

Shapes: N texts or images, K classes, D width of what the last linear layer reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_gradient", "relation_distance", "semantic_distance"]


def relation_distance(teacher: Tensor, student: Tensor) -> Tensor:
    """||G_t - G_s||^2 / N^2, where G holds the inner products of the N samples, each row of length 1.

    The same as the similarity-preserving loss (Tung & Mori 2019, arXiv:1907.09682). Only N is shared,
    so the two sides may differ in depth, width and resolution.

    Args:
        teacher: (N, ...) features of each sample: before the global pool of a CNN, pooled tokens of an
            encoder.
        student: (N, ...), of any size.

    >>> relation_distance(torch.eye(2), torch.ones(2, 3))
    tensor(0.2929)
    """
    if len(teacher) != len(student):
        raise ValueError(f"both sides need the same samples, got {len(teacher)} and {len(student)}")
    gap = _relations(teacher) - _relations(student)
    return gap.square().sum() / len(teacher) ** 2


def class_gradient(logits: Tensor, labels: Tensor, read: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the weights of the last linear layer.

    In closed form, (softmax(logits) - onehot)^T read / N, so that it needs no backward pass and can
    itself be part of a loss.

    Args:
        logits: (N, K).
        labels: (N,) integers.
        read: (N, D) what the last linear layer reads.

    Returns:
        (K, D): row k says what the network takes for evidence of class k.

    >>> class_gradient(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([[4.0, 2.0]])).tolist()
    [[-2.0, -1.0], [2.0, 1.0]]
    """
    wrong = logits.softmax(-1) - torch.nn.functional.one_hot(labels, logits.shape[-1])
    return wrong.T @ read / len(read)


def semantic_distance(teacher: Tensor, student: Tensor) -> Tensor:
    """Sum over classes of ||C_t - C_s||^2 / (K D), C the outer product of a gradient, rows of length 1.

    Row i of such a product is sign(g_i) g / |g|, so the squared difference of two rows is
    2 - 2 sign(g_i) sign(h_i) cos(g, h), and no D x D matrix is ever built. The same as the inter-channel
    correlation of ICKD (Liu et al. 2021) on these gradients. Where widths differ use
    ``relation_distance`` on the (K, D) gradients, an extension that the paper does not have.

    Args:
        teacher: (K, D) from ``class_gradient``.
        student: (K, D).

    >>> semantic_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, -4.0]]))
    tensor(2.)
    """
    if teacher.shape != student.shape:
        raise ValueError(f"both sides need one shape, got {tuple(teacher.shape)} and {tuple(student.shape)}")
    cosine = torch.nn.functional.cosine_similarity(teacher, student, dim=-1)
    ours, theirs = teacher.sign(), student.sign()
    rows = ours.abs().sum(-1) + theirs.abs().sum(-1)
    return (rows - 2 * cosine * (ours * theirs).sum(-1)).sum() / teacher.numel()


def _relations(features: Tensor) -> Tensor:
    """(N, N) inner products, each row divided by its norm."""
    flat = features.flatten(1)
    return torch.nn.functional.normalize(flat @ flat.T, dim=-1)
