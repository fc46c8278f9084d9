"""Tables in int8 for torch's own exporter: looked up as integers, and only what was looked up is widened.

Plain look-ups, casts and products, which every runtime has, and the rounding of our ONNX forms: one step a
column of the rows that a text is made of (squeeze/graphs/tables.py says why). A factorised table's projection
is a product like any other and not rounded here.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.core.rounding import columns_to_int8
from squeeze.graphs.mobile.fixed import Fixed
from squeeze.models.embedding import Embedding, Factorised, Product

__all__ = ["with_int8_tables"]


def with_int8_tables(model: Fixed) -> Fixed:
    """A copy whose table of pieces is int8; the model is not changed."""
    rounded = copy.deepcopy(model)
    inner = rounded.lean.inner
    table = inner.embedding
    assert isinstance(table, Embedding)
    inner.add_module("embedding", Books(table) if isinstance(table, Product) else Rows(table))
    return rounded


class Rows(nn.Module):
    """One row a piece, and what a factorised table does with it."""

    values: Tensor
    steps: Tensor

    def __init__(self, table: Embedding) -> None:
        super().__init__()
        values, steps = columns_to_int8(table.weight.detach().numpy())
        self.register_buffer("values", torch.from_numpy(values))
        self.register_buffer("steps", torch.from_numpy(steps))
        self.project = table.project if isinstance(table, Factorised) else nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        rows: Tensor = self.project(F.embedding(ids, self.values).to(torch.float32) * self.steps)
        return rows


class Books(nn.Module):
    """Rows of codes into int8 codebooks; a column is one of the E of the joined row, over all codewords."""

    codes: Tensor
    offsets: Tensor
    values: Tensor
    steps: Tensor

    def __init__(self, table: Product) -> None:
        super().__init__()
        books = table.weight.detach().numpy().reshape(table.subvectors, table.codewords, -1)
        side_by_side = books.transpose(1, 0, 2).reshape(table.codewords, table.width)
        values, steps = columns_to_int8(np.ascontiguousarray(side_by_side))
        stacked = values.reshape(table.codewords, table.subvectors, -1).transpose(1, 0, 2)
        self.register_buffer("codes", table.codes)
        self.register_buffer("offsets", table.offsets)
        self.register_buffer("values", torch.from_numpy(stacked.reshape(table.weight.shape)))
        self.register_buffer("steps", torch.from_numpy(steps))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        entries = F.embedding(ids, self.codes).to(torch.int64) + self.offsets
        return F.embedding(entries, self.values).flatten(-2).to(torch.float32) * self.steps
