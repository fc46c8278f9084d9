"""Kullback-Leibler divergence of the attention maps of paired layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from squeeze.distillation.losses.base import AttentionLoss, real_pairs, same_heads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AttentionKL"]


TINY = 1e-12  # floor of a probability under a logarithm; far below what float32 softmax resolves


class AttentionKL(AttentionLoss):
    """Attention maps of paired layers (arXiv:2002.10957)."""

    name: Literal["attention_kl"]

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """KL(teacher || student) of probabilities, mean over heads and real queries (MiniLM).

        >>> import torch
        >>> uniform, sharp = torch.full((1, 1, 2, 2), 0.5), torch.eye(2).view(1, 1, 2, 2)
        >>> AttentionKL(name="attention_kl").compare(uniform, sharp, torch.tensor([[1, 1]]))
        tensor(0.6931)
        """
        student, teacher = same_heads(student, teacher, real_pairs(mask))
        terms = teacher * (teacher.clamp(min=TINY).log() - student.clamp(min=TINY).log())
        return terms.sum() / (mask.bool().sum() * student.shape[1]).clamp(min=1)
