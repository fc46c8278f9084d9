"""Tables that are stored in few bits and widened where they are looked up."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.core import fake_quant
from squeeze.models.embedding import Dense, Embedding, Factorised, Product

__all__ = ["FakeDense", "FakeFactorised", "FakeProduct", "FakeTable", "columns", "fake_table"]

HIGH = 127
INT4 = (-8, 7)


def columns(table: Tensor, rows: Tensor | None = None) -> Tensor:
    """Rows of a table in int8 with one step a column, as `squeeze.graphs.int8.store_tables` keeps them.

    Args:
        table: (V, E), whose columns give the steps.
        rows: (..., E), some of its rows; None: all of them.

    Returns:
        The rows, rounded.
    """
    low, high = table.detach().aminmax(dim=0)
    step = torch.maximum(-low, high) / HIGH
    step = torch.where(step == 0, torch.ones_like(step), step)
    return fake_quant.rounded(table if rows is None else rows, step, -HIGH, HIGH) * step


def in_blocks(rows: Tensor) -> Tensor:
    """(..., E) in int4 with one step for every 32 values of a row."""
    cut = fake_quant.blocks(rows)
    step = fake_quant.block_steps(cut)
    return fake_quant.unblocked(fake_quant.rounded(cut, step, *INT4) * step, rows.shape[-1])


class FakeDense(Dense):
    """One row a piece; only rows that are looked up are rounded."""

    def __init__(self, table: Dense, bits: int) -> None:
        nn.Module.__init__(self)
        self.weight, self.bits = table.weight, bits

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        rows = F.embedding(ids, self.weight)
        return in_blocks(rows) if self.bits == 4 else columns(self.weight, rows)

    def snapped(self) -> dict[str, Tensor]:
        """The state of the plain table, rounded."""
        whole = in_blocks(self.weight) if self.bits == 4 else columns(self.weight)
        return {"weight": whole.detach()}


class FakeFactorised(Factorised):
    """A narrow table, rounded, and its projection, which is a product like any other."""

    def __init__(self, table: Factorised, bits: int) -> None:
        nn.Module.__init__(self)
        self.weight, self.bits, self.project = table.weight, bits, table.project

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        rows = F.embedding(ids, self.weight)
        wide: Tensor = self.project(in_blocks(rows) if self.bits == 4 else columns(self.weight, rows))
        return wide

    def snapped(self) -> dict[str, Tensor]:
        """The state of the plain table but for its projection, rounded."""
        whole = in_blocks(self.weight) if self.bits == 4 else columns(self.weight)
        return {"weight": whole.detach()}


class FakeProduct(Product):
    """Codebooks with one step for each of the E columns of a joined row."""

    def __init__(self, table: Product) -> None:
        nn.Module.__init__(self)
        self.width, self.subvectors, self.codewords = table.width, table.subvectors, table.codewords
        self.weight = table.weight
        self.register_buffer("codes", table.codes)
        self.register_buffer("offsets", table.offsets, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        entries = F.embedding(ids, self.codes).to(torch.int64) + self.offsets
        return F.embedding(entries, self._books()).flatten(-2)

    def snapped(self) -> dict[str, Tensor]:
        """The state of the plain table, rounded."""
        return {"weight": self._books().detach(), "codes": self.codes}

    def _books(self) -> Tensor:
        """(M*K, E/M): side by side the M books are one matrix of K rows."""
        books = self.weight.view(self.subvectors, self.codewords, -1).transpose(0, 1).flatten(1)
        rounded = columns(books).view(self.codewords, self.subvectors, -1)
        return rounded.transpose(0, 1).reshape(self.weight.shape)


FakeTable = FakeDense | FakeFactorised | FakeProduct


def fake_table(table: Embedding, bits: int) -> FakeTable:
    """The rounded form of a table.

    A product-quantized one has few values to store, and one narrower than a block or of odd width cannot be
    packed: these keep 8 bits.
    """
    width = table.weight.shape[1]
    bits = 8 if width < fake_quant.BLOCK or width % 2 else bits
    if isinstance(table, Dense):
        return FakeDense(table, bits)
    if isinstance(table, Factorised):
        return FakeFactorised(table, bits)
    assert isinstance(table, Product)
    return FakeProduct(table)
