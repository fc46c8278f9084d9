"""Three ways to store the table of pieces: dense, low rank, product-quantized.

The table is most of a small model: 30,522 pieces x 384 are 11.7M values beside an encoder of 1.5M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.models.shapes import EmbeddingShape

__all__ = ["Dense", "Embedding", "EmbeddingShape", "Factorised", "Product", "make_embedding"]


class Embedding(nn.Module):
    """A table of rows that can be looked up and written out whole.

    Attributes:
        weight: what is stored: rows (V, E), narrow rows (V, rank), or codebooks (M K, E / M).
    """

    weight: nn.Parameter

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        raise NotImplementedError

    def table(self) -> Tensor:
        """The whole table, (V, E)."""
        raise NotImplementedError


class Dense(Embedding):
    """One row a piece."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        return F.embedding(ids, self.weight)

    def table(self) -> Tensor:
        """The whole table, (V, E)."""
        return self.weight


class Factorised(Embedding):
    """A narrow table and one projection (ALBERT, Lan et al. 2020)."""

    def __init__(self, rows: int, width: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, rank))
        self.project = nn.Linear(rank, width, bias=False)
        nn.init.normal_(self.weight, std=1.0)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        rows: Tensor = self.project(F.embedding(ids, self.weight))
        return rows

    def table(self) -> Tensor:
        """The whole table, (V, E)."""
        return F.linear(self.weight, self.project.weight)


class Product(Embedding):
    """Every row is M codes, one into each of M codebooks (Jegou et al. 2011; Shu & Nakayama 2018).

    Codes are fixed, codebooks are trained on. V x M bytes and M x K x E/M values.
    """

    codes: Tensor
    offsets: Tensor

    def __init__(self, rows: int, width: int, subvectors: int, codewords: int) -> None:
        super().__init__()
        self.width, self.subvectors, self.codewords = width, subvectors, codewords
        self.weight = nn.Parameter(torch.empty(subvectors * codewords, width // subvectors))
        nn.init.normal_(self.weight, std=0.02)
        self.register_buffer("codes", torch.randint(0, codewords, (rows, subvectors), dtype=torch.uint8))
        self.register_buffer("offsets", torch.arange(subvectors) * codewords, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        # F.embedding, not indexing: it exports as Gather, indexing as GatherND.
        entries = F.embedding(ids, self.codes).to(torch.int64) + self.offsets
        return F.embedding(entries, self.weight).flatten(-2)

    def table(self) -> Tensor:
        """The whole table, (V, E)."""
        return F.embedding(self.codes.to(torch.int64) + self.offsets, self.weight).flatten(-2)


def make_embedding(rows: int, shape: EmbeddingShape) -> Embedding:
    """An untrained table of the wanted kind."""
    if shape.kind == "factorised":
        return Factorised(rows, shape.width, shape.rank)
    if shape.kind == "product":
        return Product(rows, shape.width, shape.subvectors, shape.codewords)
    return Dense(rows, shape.width)
