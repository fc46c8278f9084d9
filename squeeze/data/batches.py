"""Batches of similar length: less padding, the same walk for the same seed and epoch.

A batch costs as much as its longest text times its size. Sorting everything would waste least and
would also show the model the same neighbours every epoch, so rows are shuffled, cut into buckets of
some batches, and sorted only inside a bucket (as in the iterators of torchtext and fairseq). The
order depends on (seed, epoch) alone: a resume needs nothing but the two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "parts", "plan"]

PART = 1024  # texts tokenised at once: the library's records of a text take four times what is kept of it


def parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """All texts in their order, as many at a time as a tokenizer should be given."""
    for start in range(0, len(texts), PART):
        yield list(texts[start : start + PART])


def plan(
    lengths: Sequence[int] | NDArray[np.integer], batch: int, seed: int, epoch: int, bucket: int = 50
) -> list[NDArray[np.int64]]:
    """The batches of one epoch.

    Args:
        lengths: N token counts.
        batch: rows in a batch; the last one cut may be shorter.
        seed: of the run, 0 or more.
        epoch: which pass, 0 or more.
        bucket: batches in a bucket; 1 sorts nothing away, more saves more padding and mixes less.

    Returns:
        ceil(N / batch) arrays of row numbers; every row stands in exactly one.

    >>> [rows.tolist() for rows in plan([3, 9, 4, 8, 5], batch=2, seed=0, epoch=0)]
    [[1], [0, 2], [4, 3]]
    """
    sizes = np.asarray(lengths)
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(sizes))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch * bucket):
        rows = order[start : start + batch * bucket]
        # Stable, so that rows of one length keep their shuffled order.
        rows = rows[np.argsort(sizes[rows], kind="stable")]
        batches += [rows[i : i + batch] for i in range(0, len(rows), batch)]
    return [batches[i] for i in generator.permutation(len(batches))]


def pad(
    ids: Sequence[Sequence[int] | NDArray[np.integer]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids of one batch as a rectangle.

    Args:
        ids: B rows of token ids.
        pad_id: what fills the rest of shorter rows.

    Returns:
        (input_ids, mask), both (B, T) int64 with T the longest row; the mask is 1 on real tokens.

    >>> ids, mask = pad([[5, 6, 7], [8]], pad_id=0)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    real = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded = np.full(real.shape, pad_id, dtype=np.int64)
    if real.any():
        padded[real] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return padded, real.astype(np.int64)
