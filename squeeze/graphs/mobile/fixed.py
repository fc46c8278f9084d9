"""The student as every converter takes it: one text of one length, and no integer arithmetic but look-ups.

Converters for phones want shapes that they know. Some have no cast from integers to floats, so the mask comes
in as what is added to the scores, and not as ones and zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from squeeze.graphs.lean import Lean
from squeeze.models.embedding import Dense, Product
from squeeze.models.encoder import MASKED, Encoder

__all__ = ["INPUTS", "OUTPUT", "Answer", "Fixed", "padded"]

INPUTS = ("input_ids", "mask")
OUTPUT = "logits"
Answer: TypeAlias = Callable[[NDArray[np.int32], NDArray[np.float32]], NDArray[np.float32]]
"""A converted model that is open: (1, T) ids and (1, 1, 1, T) mask -> (1, labels) logits."""


class Fixed(nn.Module):
    """The student's forward pass for one text of ``length`` tokens; the student is not changed.

    Args:
        student: any encoder.
        length: tokens, padding included.
        whole_table: write a product-quantized table out, for formats that cannot look up by what they have
            looked up.
    """

    def __init__(self, student: Encoder, length: int, *, whole_table: bool = False) -> None:
        super().__init__()
        if not 1 <= length <= student.shape.positions:
            raise ValueError(f"length {length}: the student reads 1 to {student.shape.positions} tokens")
        self.lean = Lean(student).eval()
        self.length = length
        table = self.lean.inner.embedding
        if whole_table and isinstance(table, Product):
            self.lean.inner.embedding = _written_out(table)
        for each in self.parameters():
            each.requires_grad = False

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """(1, T) token numbers and a (1, 1, 1, T) mask, 0 where there is a token and -1e4 at padding."""
        return self.lean.answer(self.lean.inner.enter(input_ids), mask)

    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of the right shape, int32 and float32."""
        return (
            torch.ones(1, self.length, dtype=torch.int32),
            torch.zeros(1, 1, 1, self.length, dtype=torch.float32),
        )


def padded(ids: NDArray[np.integer], length: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """One text as the model takes it.

    Args:
        ids: (T,) token numbers, T at most ``length``.
        length: of the model.

    Returns:
        (1, length) ids, 0 at padding, and the (1, 1, 1, length) mask.

    >>> ids, mask = padded(np.array([5, 7]), 3)
    >>> ids.tolist(), mask.ravel().tolist()
    ([[5, 7, 0]], [0.0, 0.0, -10000.0])
    """
    row = np.zeros((1, length), dtype=np.int32)
    mask = np.full((1, 1, 1, length), MASKED, dtype=np.float32)
    row[0, : len(ids)] = ids
    mask[..., : len(ids)] = 0.0
    return row, mask


def _written_out(table: Product) -> Dense:
    rows = table.table().detach()
    dense = Dense(*rows.shape)
    dense.load_state_dict({"weight": rows})
    return dense
