"""The check of a teacher's label order: sound teachers refused, wrong orders found.

    python -m benchmarks.label_order

A teacher is a table of the chances of its answers for each label. Sound ones draw it at random, weak to good,
with mistakes that gather on few labels, and stay only where no other order is better in expectation. Wrong
ones are sound ones whose outputs are in a random order, or have two labels exchanged.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.models.label_order import FAR, LIKELY, SURE, judge_order

__all__ = ["main", "measure"]

COUNTS = ((2, 50), (2, 300), (3, 100), (6, 300), (12, 300), (77, 300), (77, 3080))
"""(labels, rows)."""
GATHERED = 0.3  # concentration of mistakes: below 1 they gather on few labels


def main(
    draws: Annotated[int, typer.Option(help="Teachers of each kind and size.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Judge all sizes; writes label-order.json."""
    rows = [measure(labels, count, draws, seed) for labels, count in COUNTS]
    settings = {"sure": SURE, "far": FAR, "likely": LIKELY, "draws": draws, "seed": seed}
    write(results, "label-order", {"settings": settings, "sizes": rows})


def measure(labels: int, rows: int, draws: int, seed: int) -> dict[str, Any]:
    """Shares of the teachers of one size that are refused, and of the orders in refusals that are right."""
    draw = np.random.default_rng([seed, labels, rows])
    sound, mixed, swapped, right = 0, 0, 0, 0
    good = 0
    for _ in range(draws):
        table = teacher(labels, draw)
        sound += refused(table, rows, draw)[0]
        if np.diag(table).mean() < 0.6:  # of a weak teacher the order cannot be known
            continue
        good += 1
        order = draw.permutation(labels)
        while (order == np.arange(labels)).all():
            order = draw.permutation(labels)
        caught, found = refused(table[:, order], rows, draw)
        mixed += caught
        right += bool(caught and (found == order).all())
        pair = np.arange(labels)
        pair[[0, 1]] = [1, 0]
        swapped += refused(table[:, pair], rows, draw)[0]
    return {
        "labels": labels,
        "rows": rows,
        "sound": draws,
        "sound_refused": sound,
        "wrong": good,
        "mixed_refused": mixed,
        "mixed_right": right,
        "swapped_refused": swapped,
    }


def teacher(labels: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """(K, K) chance of each answer for each label; no other order of the outputs is better."""
    while True:
        accuracy = draw.uniform(1 / labels, 1)
        table = np.zeros((labels, labels))
        for label in range(labels):
            own = np.clip(accuracy + draw.normal(0, 0.1), 0, 1)
            others = draw.dirichlet(np.full(labels - 1, GATHERED)) * (1 - own)
            table[label] = np.insert(others, label, own)
        _, best = linear_sum_assignment(table, maximize=True)
        if (best == np.arange(labels)).all():
            return table


def refused(
    table: NDArray[np.float64], rows: int, draw: np.random.Generator
) -> tuple[bool, NDArray[np.int64]]:
    """Whether a teacher is refused on some rows, and the order that is proposed."""
    count = len(table)
    labels = draw.integers(0, count, rows)
    answers = (draw.random((rows, 1)) > np.cumsum(table, axis=1)[labels]).sum(1).clip(max=count - 1)
    fit = judge_order(np.eye(count, dtype=np.float32)[answers], labels, [str(i) for i in range(count)])
    return bool(fit.problem), np.array(fit.order)


if __name__ == "__main__":
    cli(main)
