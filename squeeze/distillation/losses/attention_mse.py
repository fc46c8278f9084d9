"""Squared difference of the attention maps of paired layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import AttentionLoss, real_pairs, same_heads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AttentionMSE"]


class AttentionMSE(AttentionLoss):
    """Attention maps of paired layers (arXiv:1909.10351)."""

    name: Literal["attention_mse"]

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Mean over heads and real (query, key) pairs (TinyBERT, BiStil).

        Takes scores before the softmax (TinyBERT) as well as probabilities; -inf at padded keys does no harm.

        >>> import torch
        >>> loss = AttentionMSE(name="attention_mse")
        >>> loss.compare(torch.ones(1, 1, 2, 2), torch.zeros(1, 3, 2, 2), torch.tensor([[1, 0]]))
        tensor(1.)
        """
        pairs = real_pairs(mask)
        student, teacher = same_heads(student, teacher, pairs)
        return (student - teacher).square().sum() / (pairs.sum() * student.shape[1]).clamp(min=1)
