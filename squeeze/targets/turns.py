"""How several models share one measuring process: the order of their turns and how long a turn is.

Pure, and numpy only: the measuring process loads this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

__all__ = ["LEAST_CALLS", "Sizes", "orders", "sizes"]

LEAST_CALLS = 4  # of one model in a round
MOST_CYCLES = 8
MOST_CALLS = 20  # different inputs in a block; a longer block repeats them
MOST_PASSES = 64


class Sizes(TypedDict):
    """Size of a round, the same for all rounds of a comparison."""

    cycles: int
    """blocks of each model; even, because every order is followed by its mirror image"""
    calls: int
    """different inputs of a block"""
    passes: list[int]
    """times each model repeats them"""


def sizes(typical_s: Sequence[float], seconds: float, least: int = LEAST_CALLS) -> Sizes:
    """Give each model about the same time in a round, in as many and as short blocks as make sense.

    The slowest model decides how many calls there are, faster ones repeat the same inputs.

    Args:
        typical_s: seconds of a call of each model.
        seconds: timed calls of one model in a round.
        least: calls of a model in a round at least, however long they take.

    >>> sizes([0.001], 0.2)
    {'cycles': 8, 'calls': 20, 'passes': [2]}
    >>> sizes([0.5, 0.005], 0.2)
    {'cycles': 2, 'calls': 2, 'passes': [1, 64]}
    """
    slowest = max(typical_s)
    wanted = max(least, round(seconds / slowest))
    cycles = min(MOST_CYCLES, 2 * max(1, wanted // LEAST_CALLS))
    block = math.ceil(wanted / cycles)
    calls = min(MOST_CALLS, block)
    passes = [max(1, min(MOST_PASSES, math.ceil(block / calls * slowest / each))) for each in typical_s]
    return {"cycles": cycles, "calls": calls, "passes": passes}


def orders(models: int, cycles: int, generator: np.random.Generator) -> list[list[int]]:
    """The order of turns in each cycle: drawn at random, and each followed by its mirror image (ABBA).

    What drifts steadily meets every model at the same mean time.

    >>> orders(2, 2, np.random.default_rng(0)) in ([[0, 1], [1, 0]], [[1, 0], [0, 1]])
    True
    """
    drawn = [generator.permutation(models).tolist() for _ in range(-(-cycles // 2))]
    return [order for each in drawn for order in (each, each[::-1])][:cycles]
