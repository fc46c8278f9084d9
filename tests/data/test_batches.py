from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from squeeze.data.batches import pad, plan

LENGTHS = st.lists(st.integers(1, 300), max_size=300)
BATCH = st.integers(1, 40)
NUMBER = st.integers(0, 2**40)


@given(LENGTHS, BATCH, NUMBER, NUMBER, st.integers(1, 8))
def test_every_row_stands_in_one_batch(
    lengths: list[int], batch: int, seed: int, epoch: int, bucket: int
) -> None:
    batches = plan(lengths, batch, seed, epoch, bucket)
    assert sorted(np.concatenate([np.empty(0, np.int64), *batches]).tolist()) == list(range(len(lengths)))
    sizes = sorted((len(rows) for rows in batches), reverse=True)
    assert len(batches) == -(-len(lengths) // batch)
    assert all(size == batch for size in sizes[:-1])
    assert all(size > 0 for size in sizes)


@given(LENGTHS, BATCH, NUMBER, NUMBER)
def test_the_order_is_a_function_of_seed_and_epoch(
    lengths: list[int], batch: int, seed: int, epoch: int
) -> None:
    one, two = plan(lengths, batch, seed, epoch), plan(np.array(lengths, dtype=np.int32), batch, seed, epoch)
    assert [rows.tolist() for rows in one] == [rows.tolist() for rows in two]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_epochs_and_seeds_differ(seed: int, epoch: int) -> None:
    lengths = np.arange(200) % 30 + 1

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(plan(lengths, 8, seed, epoch)).tolist()

    assert order(seed, epoch) != order(seed, epoch + 1)
    assert order(seed, epoch) != order(seed + 1, epoch)


def padding(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Share of positions that hold no token."""
    cells = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return 1 - int(lengths.sum()) / cells


def test_buckets_save_most_of_the_padding_and_still_mix() -> None:
    lengths = np.random.default_rng(1).gamma(3, 9, size=7000).astype(int) + 2
    bucketed = plan(lengths, 32, 0, 0)
    assert padding(lengths, bucketed) < 0.06 < 0.4 < padding(lengths, np.array_split(np.arange(7000), 219))
    # Long and short batches follow each other in no order.
    means = [float(lengths[rows].mean()) for rows in bucketed]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


@given(st.lists(st.lists(st.integers(1, 30000), max_size=50), max_size=20), st.sampled_from([0, 1, -5]))
def test_padding_keeps_every_token(ids: list[list[int]], pad_id: int) -> None:
    padded, mask = pad([np.array(row, dtype=np.int32) for row in ids], pad_id)
    assert padded.dtype == mask.dtype == np.int64
    assert padded.shape == mask.shape == (len(ids), max(map(len, ids), default=0))
    assert [row[real == 1].tolist() for row, real in zip(padded, mask, strict=True)] == ids
    assert (padded[mask == 0] == pad_id).all()
    assert all((np.diff(real) <= 0).all() for real in mask)
