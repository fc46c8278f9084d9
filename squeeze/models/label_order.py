"""Do a teacher's outputs stand for the labels that they are taken for? A look at labelled text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtr, bdtrc

from squeeze.errors import ProfileError
from squeeze.models.head_labels import Head, fitting_map, match

__all__ = ["Fit", "check_order", "judge_order"]

SURE = 1e-3
"""Chance with which a sound teacher may be refused."""
FAR = 0.2
"""Share of the rows concerned by which another order must win: that is far better."""
LIKELY = 0.05
"""As `SURE`, for what is only warned of."""

Matrix = NDArray[np.int64]
Order = tuple[int, ...]


@dataclass(frozen=True)
class Fit:
    """What the labelled text says about the order of a teacher's outputs.

    Attributes:
        order: for each output the label that it fits best; the present one is 0, 1, 2, ...
        problem: why the teacher cannot be used as it is; empty for none.
        warning: what is worth knowing, and no reason to refuse; empty for none.
    """

    order: Order
    problem: str = ""
    warning: str = ""


def judge_order(logits: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str]) -> Fit:
    """Hold a teacher's answers against the labels of some text that it was not fitted to.

    The rule, for N rows:

    - *Below chance.* Chance is the agreement of answers that know nothing of the labels but come as often
      as the teacher's: e = sum over labels of (share of rows) x (share of answers). With a agreements the
      teacher is refused when Bin(N, e) is at most a with a probability of at most 0.001.
    - *Another order fits far better.* On one half of the rows the order with the most agreements is found
      (an assignment on the confusion matrix), on the other half it is compared with the present one: rows
      that only the other order gets right against rows that only the present one does (McNemar's exact
      test, one-sided). The search among K! orders so cannot fit noise. Tested are the whole order and each
      cycle of it (labels that change among themselves: two of many that are exchanged), both ways round;
      probabilities are multiplied by the number of tests (Bonferroni). The teacher is refused when another
      order wins at least a fifth of the rows concerned, at 0.001.

    A teacher that is weak but sound passes: on rows that it was not chosen on, another order does no
    better, and few rows reach no significance. What is likely (0.05) is warned of, and so is a teacher that
    is no better than chance.

    Args:
        logits: (N, K) of some labelled rows.
        labels: (N,) their labels, 0..K-1.
        names: of the K labels.
    """
    count, rows = len(names), len(labels)
    present = tuple(range(count))
    if not rows:
        return Fit(present)
    answers = logits.argmax(1)
    whole = _confusion(labels, answers, count)
    first, second = (_confusion(labels[half], answers[half], count) for half in _halves(labels))
    evidence = min(1.0, 2 * _evidence(first, second), 2 * _evidence(second, first))
    order = _sound_part(whole) if evidence <= LIKELY else present
    right, chance = int(np.trace(whole)), float((whole.sum(0) * whole.sum(1)).sum()) / rows**2
    stands = f"its answers are right in {_percent(right / rows)} of {rows} labelled rows"
    fits = f"with its outputs in another order {_percent(_agreements(whole, order) / rows)} are"
    below = float(bdtr(right, rows, chance)) <= SURE
    if order != present and (below or evidence <= SURE):
        return Fit(order, problem=f"{stands}, {fits}")
    if below:
        return Fit(order, problem=f"{stands}, fewer than by chance ({_percent(chance)})")
    if order != present:
        return Fit(order, warning=f"{stands}, {fits}, which may be chance")
    if right == 0 or float(bdtrc(right - 1, rows, chance)) > LIKELY:
        return Fit(order, warning=f"{stands}, no better than chance ({_percent(chance)})")
    return Fit(order)


def check_order(
    head: Head,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    names: Sequence[str],
    label_map: Mapping[str, str] | None,
) -> tuple[str, ...]:
    """Refuse a teacher whose outputs stand for other labels than they are taken for.

    Args:
        head: its outputs, as its config.json names them.
        logits: (N, K) its answers on labelled text that it was not fine-tuned on, one column a label.
        labels: (N,) the labels of that text.
        names: of the K labels.
        label_map: the teacher's label to the task's.

    Returns:
        Warnings, one line each.

    Raises:
        ProfileError: see `judge_order`; the hint has the map that fits.
    """
    order = match(head, names, label_map)
    if order is None:
        return ()
    fit = judge_order(logits, labels, names)
    if fit.problem:
        moved = fit.order != tuple(range(len(names)))
        hint = (
            f"if that is right, set in [task]: {fitting_map(head, order, names, fit.order)}"
            if moved
            else "check what its labels stand for and give [task.label_map], or add [teacher.finetune]"
        )
        raise ProfileError(f"teacher {head.place}: {fit.problem}", hint=hint)
    return tuple(f"teacher {head.place}: {line}" for line in (order.assumed, fit.warning) if line)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _confusion(labels: NDArray[np.int64], answers: NDArray[np.int64], count: int) -> Matrix:
    """(K, K) rows by label and answer."""
    matrix: Matrix = np.bincount(labels * count + answers, minlength=count**2).reshape(count, count)
    return matrix


def _halves(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every other row of each label."""
    by_label = np.argsort(labels, kind="stable")
    return by_label[::2], by_label[1::2]


def _best(matrix: Matrix) -> Order:
    """For each output the label under which most rows agree; the present one where that is as good."""
    count = len(matrix)
    _, order = linear_sum_assignment(matrix.T * (count + 1) + np.eye(count, dtype=np.int64), maximize=True)
    return tuple(int(label) for label in order)


def _cycles(order: Order) -> list[list[int]]:
    """The labels that change among themselves."""
    left, cycles = set(range(len(order))), []
    while left:
        cycle = [min(left)]
        while order[cycle[-1]] != cycle[0]:
            cycle.append(order[cycle[-1]])
        left -= set(cycle)
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _agreements(matrix: Matrix, order: Order) -> int:
    return sum(int(matrix[label, output]) for output, label in enumerate(order))


def _gain(matrix: Matrix, order: Order, cycle: Sequence[int]) -> tuple[float, float]:
    """(share of a cycle's rows that the order wins, probability of so many when both orders are as good)."""
    rows = int(matrix[cycle].sum())
    won = sum(int(matrix[order[output], output]) for output in cycle)
    lost = sum(int(matrix[label, label]) for label in cycle)
    if not won:
        return 0.0, 1.0
    return (won - lost) / rows, float(bdtrc(won - 1, won + lost, 0.5))


def _evidence(chosen_on: Matrix, held_out: Matrix) -> float:
    """Corrected probability of the win on one half of the order found on the other, if it is no better."""
    order = _best(chosen_on)
    cycles = _cycles(order)
    if not cycles:
        return 1.0
    tests = [(2, list(chain.from_iterable(cycles)))] + [(2 * len(cycles), cycle) for cycle in cycles]
    found = 1.0
    for times, cycle in tests:
        gain, chance = _gain(held_out, order, cycle)
        if gain >= FAR:
            found = min(found, times * chance)
    return found


def _sound_part(matrix: Matrix) -> Order:
    """The best order, but for cycles that may well be chance."""
    order = _best(matrix)
    kept = list(range(len(order)))
    for cycle in _cycles(order):
        gain, chance = _gain(matrix, order, cycle)
        if gain >= FAR and chance <= LIKELY:
            for output in cycle:
                kept[output] = order[output]
    return order if kept == list(range(len(order))) else tuple(kept)
