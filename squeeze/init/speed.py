"""How long a run will take on this machine: what it has to compute, over what the machine computes.

The time of a run is

    seconds = FIXED + table / rate + (teacher / TEACHER + student / STUDENT) / (rate * cores ** SPREAD)

where the rate is measured: multiplications and additions of one core a second, in small float32 matrix
products. Work is counted in the same unit, 2 for each weight of a layer and each token: one pass forward, and
three where a model is trained. TEACHER and STUDENT say what share of that rate a training reaches; they were
fitted to runs of MiniLM (6 x 384) on two cores of an AMD EPYC. benchmarks/run_times.py measures how far it is
off.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

__all__ = ["Machine", "Recipe", "Texts", "Widths", "measure", "seconds"]

TEACHER, STUDENT = 0.85, 0.65
"""Share of the measured rate that a training or a forward pass reaches; a narrow student less."""
FIXED = 45.0
"""Seconds that every run takes: starting, exporting, checking and measuring the files and the teacher."""
TABLE_PASSES = 230
"""Time of finding codebooks, on one core, in products of the table with all codewords."""
CODEWORDS = 256
TRAINED = 3
"""A training step costs a forward pass and twice that backward."""
SPREAD = 0.8
"""Two cores do 2 ** 0.8 times the work of one, and so on, up to MOST cores."""
MOST = 16
SIDE, STACK = 64, 64
"""Matrix products of a probe: this size stays on one core in every BLAS library."""


@dataclass(frozen=True)
class Machine:
    """What a short measurement found.

    Attributes:
        rate: operations a second of one core.
        cores: that may be used.
        share: of a core that this process got while it was measured; below 1 the machine is busy.
    """

    rate: float
    cores: int
    share: float = 1.0


@dataclass(frozen=True)
class Widths:
    """An encoder, as far as its cost goes.

    Attributes:
        layers: depth.
        hidden: width H.
        attention: heads times the size of a head, A.
        ffn: feed-forward neurons F.
    """

    layers: int
    hidden: int
    attention: int
    ffn: int

    def forward(self, tokens: float, length: float) -> float:
        """Operations of one pass over so many tokens, in texts of this length."""
        layer = 2 * (4 * self.hidden * self.attention + 2 * self.hidden * self.ffn)
        return tokens * self.layers * (layer + 4 * length * self.attention)


@dataclass(frozen=True)
class Texts:
    """What is read.

    Attributes:
        train: training texts.
        held_out: texts of validation and tests.
        tokens: of a text, on average.
    """

    train: int
    held_out: int
    tokens: float


@dataclass(frozen=True)
class Recipe:
    """How long everything is trained.

    Attributes:
        finetune: passes over the text in which the teacher learns the task; 0: it is finished.
        copies: changed copies of every training text.
        mimic: passes of the first phase.
        answer: passes of the second phase.
        limit: rows of a split at most; None: all.
    """

    finetune: int
    copies: int
    mimic: int
    answer: int
    limit: int | None = None


def measure(cores: int, budget: float = 0.15) -> Machine:
    """Time matrix products on one core for so many seconds of its time."""
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((STACK, SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(left)
    np.matmul(left, right, out=out)  # the first call wakes the library up
    started, wall, done = time.thread_time(), time.perf_counter(), 0
    while (spent := time.thread_time() - started) < budget:
        np.matmul(left, right, out=out)
        done += 1
    share = min(1.0, spent / max(time.perf_counter() - wall, 1e-9))
    return Machine(2.0 * SIDE**3 * STACK * done / spent, cores, share)


def seconds(
    recipe: Recipe, texts: Texts, teacher: Widths, student: Widths, table: tuple[int, int], machine: Machine
) -> float:
    """Seconds of a whole run, on a machine that does nothing else.

    Args:
        recipe: how long everything is trained.
        texts: what is read.
        teacher: its sizes.
        student: its sizes.
        table: (rows, columns) of a table whose codebooks have to be found; (0, 0) where it stays whole.
        machine: what was measured.
    """
    most = recipe.limit or max(texts.train, texts.held_out)
    train, held_out = min(texts.train, most), min(texts.held_out, 2 * most)
    pool = train * (1 + recipe.copies)
    trained = TRAINED * train * recipe.finetune
    read = pool + held_out * (3 + recipe.finetune / 2)  # validation after every epoch; all at the end
    taught = teacher.forward((trained + read) * texts.tokens, texts.tokens) / TEACHER
    passes = recipe.mimic + recipe.answer
    learned = student.forward((TRAINED * pool + held_out / 2) * passes * texts.tokens, texts.tokens) / STUDENT
    tables = 2.0 * table[0] * table[1] * CODEWORDS * TABLE_PASSES
    threads = math.pow(min(machine.cores, MOST), SPREAD)
    return FIXED + tables / machine.rate + (taught + learned) / (machine.rate * threads)
