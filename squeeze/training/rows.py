"""Train the rows of a table that the text reads, and leave the others alone.

A text set reads a part of a vocabulary: 600 sentences of sst2 read 3,584 of 30,522 pieces. A row that no
text reads has no gradient, and all that a dense step does to it is weight decay. Without it gradient, both
moments of Adam, best epoch and checkpoint shrink to the rows that are read, and so does the time that a step
spends on them. Rows that are read take the very steps of a dense training, the norm of the gradient is the
same, and rows that are not stay as they were, also for held-out text that reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

__all__ = ["rows_read"]

WORTH = 0.9  # of the rows: with more of them read the detour costs what it saves, and all are trained


@contextmanager
def rows_read(model: nn.Module, table: nn.Module, ids: NDArray[np.int64]) -> Iterator[None]:
    """While this is open, a training of the model trains only some rows of a table.

    In evaluation mode the model reads the whole table, with the rows as they are by then.

    Args:
        model: holds the table.
        table: looks rows up in its `weight` (V, E), as `torch.nn.Embedding` does; one whose weight is not
            trained, or of which nearly all rows are read, stays as it is.
        ids: every row that the training reads, padding among them, in any order and as often as they come.
    """
    weight = table.get_parameter("weight")
    read = np.unique(ids)
    if not weight.requires_grad or len(read) > WORTH * len(weight):
        yield
        return
    owner, name = _place(model, table)
    part = _RowsRead(table, torch.from_numpy(read))
    weight.requires_grad_(False)
    setattr(owner, name, part.train(table.training))
    try:
        yield
    finally:
        part.write_back()
        setattr(owner, name, table.train(part.training))
        weight.requires_grad_(True)


def _place(model: nn.Module, table: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the table, and under which name."""
    for module in model.modules():
        for name, child in module.named_children():
            if child is table:
                return module, name
    raise ValueError("the table is no part of the model")


class _RowsRead(nn.Module):
    """Stands in for a table.

    Attributes:
        whole: the table, not trained.
        weight: (R, E), its rows that are read.
    """

    read: Tensor
    place: Tensor

    def __init__(self, whole: nn.Module, read: Tensor) -> None:
        super().__init__()
        self.whole = whole
        weight = whole.get_parameter("weight").detach()
        self.weight = nn.Parameter(weight[read])
        # Another row than these is an error of the caller, and torch's: there is no row -1.
        place = torch.full((len(weight),), -1).index_put((read,), torch.arange(len(read)))
        padding = getattr(whole, "padding_idx", None)
        self.padding = None if padding is None or place[padding] < 0 else int(place[padding])
        self.register_buffer("read", read, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        if self.training:
            return F.embedding(self.place[ids], self.weight, self.padding)
        rows: Tensor = self.whole(ids)
        return rows

    def train(self, mode: bool = True) -> _RowsRead:
        """Evaluation reads the whole table: it gets what was learned."""
        if self.training and not mode:
            self.write_back()
        return super().train(mode)

    def write_back(self) -> None:
        """Put the rows where they belong."""
        with torch.no_grad():
            self.whole.get_parameter("weight")[self.read] = self.weight
