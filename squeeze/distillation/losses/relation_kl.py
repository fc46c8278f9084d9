"""Divergence of the relations among tokens: queries, keys and values of paired layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from squeeze.data.teacher_cache import relations
from squeeze.distillation.losses.base import LayerLoss, ObservedBatch, kl_rows
from squeeze.models.shapes import EncoderShape

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

__all__ = ["RelationKL"]


class RelationKL(LayerLoss):
    """Relations of queries, keys and values (arXiv:2012.15828)."""

    inside = True
    feature = "relations"

    name: Literal["relation_kl"]
    heads: int = Field(default=12, ge=1, le=1024)
    """number of relation heads both sides are regrouped to; the papers use 48 or 12"""

    def misfits(self, student: EncoderShape, teacher: EncoderShape) -> Iterator[tuple[str, str]]:
        """The heads divide the attention width of every layer that is compared."""
        yield from (deeper := list(super().misfits(student, teacher)))
        if deeper:  # then no layers are paired
            return
        hint = "attention width = heads x head_size of a layer; both sides are cut into so many parts"
        for ours, theirs in self.pairs(len(student.layers), len(teacher.layers)):
            for shape, layer in ((student, ours), (teacher, theirs)):
                width = shape.layers[layer - 1].heads * shape.head_size
                if width % self.heads:
                    yield (
                        f"relation_kl heads: {self.heads} does not divide an attention width of {width}",
                        hint,
                    )

    def compare(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """KL(teacher || student) of the relations among tokens, mean over heads and real tokens (MiniLMv2).

        All heads' queries (or keys, or values) of a layer, joined, are cut anew into ``heads`` relation
        heads; softmax(x x^T / sqrt(d)) of each says how much tokens resemble each other. Widths and head
        counts of student (B, T, Ds) and teacher (B, T, Dt) may so differ.

        >>> import torch
        >>> loss = RelationKL(name="relation_kl", heads=1)
        >>> loss.compare(torch.ones(1, 2, 4), torch.eye(2).view(1, 2, 2) * 3, torch.tensor([[1, 1]]))
        tensor(0.6805)
        """
        real = mask.bool()
        log_student, log_teacher = (_log_relation(one, real, self.heads) for one in (student, teacher))
        rows = kl_rows(log_teacher, log_student).masked_fill(~real.unsqueeze(1), 0.0)  # (B, heads, T)
        return rows.sum() / (real.sum() * self.heads).clamp(min=1)

    def __call__(self, seen: ObservedBatch, modules: ModuleDict) -> Tensor:  # noqa: ARG002
        """The value on one batch: a scalar."""
        import torch

        pairs = self.pairs(*seen.depths)
        values = [
            self.compare(ours, seen.batch[relations(t)][:, :, part], seen.mask)
            for s, t in pairs
            for part, ours in enumerate(seen.student.relations[s - 1])
        ]
        return torch.stack(values).sum() / len(pairs)


def _log_relation(x: Tensor, real: Tensor, heads: int) -> Tensor:
    """(B, heads, T, T) log-softmax of scaled dot products over real keys; padded keys get next to -inf."""
    import torch

    batch, tokens, width = x.shape
    if width % heads:
        raise ValueError(f"relation heads must divide the width {width}, got {heads}")
    size = width // heads
    split = x.masked_fill(~real.unsqueeze(-1), 0.0).view(batch, tokens, heads, size).transpose(1, 2)
    scores = split @ split.transpose(2, 3) / math.sqrt(size)
    padded = ~real[:, None, None, :]
    return scores.masked_fill(padded, torch.finfo(scores.dtype).min).log_softmax(dim=-1)
