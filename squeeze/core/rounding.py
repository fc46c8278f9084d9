"""Matrices rounded to integers with scales: a column each, or a block of a column each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_WIDTH", "WEIGHT_BITS", "Blocks", "blocks_to_int4", "columns_to_int8", "largest", "pack"]

WEIGHT_BITS: Final = 7
"""Of int8 weights, unless a profile says 8: two products of uint8 and -63..63 always fit into the 16-bit
sums of x86 processors without VNNI, so the fastest kernel is exact there and no session needs a setting."""
LEAST_WIDTH: Final = 16
"""Of a product: below it an integer product costs more than it saves, and a head of few labels decides."""


def largest(bits: int) -> int:
    """The largest value of symmetric signed integers; the lowest of two's complement is not used.

    >>> largest(8), largest(7), largest(4)
    (127, 63, 7)
    """
    return int(2 ** (bits - 1)) - 1


def columns_to_int8(
    matrix: NDArray[np.float32], steps: NDArray[np.float32] | None = None, bits: int = 8
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one step a column.

    Args:
        matrix: (N, E).
        steps: (E,) positive; None: the largest magnitude of a column becomes the largest integer.
        bits: 8: -127..127; fewer leave the rest of the byte empty.

    Returns:
        (N, E) int8 and (E,) float32 steps; the matrix is close to their product.

    >>> columns_to_int8(np.array([[1.0, 0.0], [-2.0, 0.0]], dtype=np.float32))[0].tolist()
    [[64, 0], [-127, 0]]
    """
    end = largest(bits)
    if steps is None:
        steps = np.abs(matrix).max(axis=0) / np.float32(end)
        steps = np.where(steps == 0, 1, steps)
    kept = np.asarray(steps, dtype=np.float32)
    return np.clip(np.rint(matrix / kept), -end, end).astype(np.int8), kept


@dataclass(frozen=True)
class Blocks:
    """A matrix in 4 bits, a step and a zero for each block of a column.

    Attributes:
        values: (E, blocks, block) uint8 in 0..15, the last block filled up with zeros' codes.
        steps: (E, blocks) float32.
        zeros: (E, blocks) uint8: the code of 0.
    """

    values: NDArray[np.uint8]
    steps: NDArray[np.float32]
    zeros: NDArray[np.uint8]

    def restored(self, rows: int) -> NDArray[np.float32]:
        """(rows, E): (value - zero) x step, what stands for the matrix."""
        whole = (self.values.astype(np.float32) - self.zeros[..., None]) * self.steps[..., None]
        return np.ascontiguousarray(whole.reshape(len(whole), -1)[:, :rows].T)


def blocks_to_int4(matrix: NDArray[np.float32], block: int, *, symmetric: bool) -> Blocks:
    """4 bits an entry, with one step for each run of `block` entries of a column.

    Args:
        matrix: (N, E).
        block: entries that share a step; N need not be a multiple.
        symmetric: zero has code 8 and the entry of largest magnitude code 0, whichever its sign;
            otherwise codes 0..15 span the block's range, widened to hold 0.
    """
    rows, columns = matrix.shape
    count = -(-rows // block)
    filled = np.zeros((columns, count * block), dtype=np.float32)
    filled[:, :rows] = matrix.T
    runs = filled.reshape(columns, count, block)
    low, high = np.minimum(runs.min(-1), 0), np.maximum(runs.max(-1), 0)
    span = np.where(-low > high, low, high) / -8 if symmetric else (high - low) / 15
    steps = span.astype(np.float32)
    safe = np.where(steps == 0, np.float32(1), steps)
    zeros = np.full(steps.shape, 8.0) if symmetric else np.rint(-low / safe)
    values = np.clip(np.rint(runs / safe[..., None]) + zeros[..., None], 0, 15)
    return Blocks(values.astype(np.uint8), safe, zeros.astype(np.uint8))


def pack(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes of 4 bits a byte along the last axis, the first in the lower half.

    >>> pack(np.array([[1, 2, 15, 0, 7]], dtype=np.uint8)).tolist()
    [[33, 15, 7]]
    """
    even = (
        np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1) if values.shape[-1] % 2 else values
    )
    return np.ascontiguousarray(even[..., ::2] | even[..., 1::2] << 4)
