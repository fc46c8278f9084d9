"""What a first student looks like, and how long it is trained, so that a first run ends soon."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from squeeze.init.speed import Machine, Recipe, Texts, Widths, seconds
from squeeze.init.teacher import TeacherFacts

__all__ = ["GOAL", "LONG", "Choice", "StudentShape", "choose", "shape"]

GOAL = 600.0
"""Predicted seconds of a first run at most; the promise is 15 minutes, and the rest is for the error."""
LONG = Recipe(finetune=4, copies=4, mimic=8, answer=3)
STEPS = (
    LONG,
    Recipe(finetune=4, copies=4, mimic=5, answer=2),
    Recipe(finetune=4, copies=2, mimic=5, answer=2),
    Recipe(finetune=3, copies=2, mimic=4, answer=2),
    Recipe(finetune=3, copies=1, mimic=4, answer=2),
    Recipe(finetune=3, copies=0, mimic=5, answer=2),
    Recipe(finetune=3, copies=0, mimic=3, answer=1),
    Recipe(finetune=2, copies=0, mimic=2, answer=1),
    Recipe(finetune=1, copies=0, mimic=2, answer=1),
    Recipe(finetune=1, copies=0, mimic=1, answer=1),
)
"""From the longest to the shortest. Copies are given up before passes over the texts themselves."""
LEAST_ROWS = 1_000
"""Rows of a split that a first run keeps, however slow the machine is."""
LAYERS = 3
NARROW = 6
"""Columns of a table that share one byte: the fewest bytes that kept what the table says."""


@dataclass(frozen=True)
class StudentShape:
    """A first student.

    Attributes:
        layers: that are kept.
        heads: of each layer.
        ffn: neurons of each layer.
        subvectors: bytes of a piece in a product-quantized table; None: the table stays whole.
    """

    layers: int
    heads: int
    ffn: int
    subvectors: int | None


@dataclass(frozen=True)
class Choice:
    """A recipe and what it costs.

    Attributes:
        recipe: that ends soon.
        seconds: it is predicted to take.
        long_seconds: the long recipe would take.
    """

    recipe: Recipe
    seconds: float
    long_seconds: float

    @property
    def shortened(self) -> bool:
        """Whether it is not the long recipe."""
        return (self.recipe.copies, self.recipe.mimic) != (LONG.copies, LONG.mimic)


def shape(teacher: TeacherFacts) -> StudentShape:
    """Half of the layers, a third of the heads, a quarter of the neurons, and the smaller of two tables."""
    return StudentShape(
        layers=min(LAYERS, math.ceil(teacher.layers / 2)),
        heads=max(1, teacher.heads // 3),
        ffn=max(1, teacher.ffn // 4),
        subvectors=_subvectors(teacher.vocabulary, teacher.width),
    )


def _subvectors(rows: int, width: int) -> int | None:
    """Bytes of a piece: they divide the width, and all is smaller than the table in 8 bits; else None."""
    able = [count for count in range(1, width // 2 + 1) if width % count == 0]
    if not able:
        return None
    count = min(able, key=lambda each: abs(math.log(each * NARROW / width)))
    return count if rows * count + 4 * 256 * width < rows * width else None


def choose(teacher: TeacherFacts, student: StudentShape, texts: Texts, machine: Machine) -> Choice:
    """The longest recipe that ends in time, and the shortest one where none does.

    Args:
        teacher: what is known of it; a finished one is not fine-tuned.
        student: its shape.
        texts: what is read.
        machine: what was measured.
    """
    head = max(1, teacher.hidden // teacher.heads)
    large = Widths(teacher.layers, teacher.hidden, teacher.hidden, teacher.ffn)
    small = Widths(student.layers, teacher.hidden, student.heads * head, student.ffn)
    table = (teacher.vocabulary, teacher.width) if student.subvectors else (0, 0)

    def cost(recipe: Recipe) -> float:
        return seconds(recipe, texts, large, small, table, machine)

    long = _for(teacher, LONG)
    every = [_for(teacher, step) for step in STEPS]
    recipe = next((step for step in (*every, *_fewer(every[-1], texts)) if cost(step) <= GOAL), None)
    recipe = recipe or replace(every[-1], limit=LEAST_ROWS)
    return Choice(recipe, cost(recipe), cost(long))


def _for(teacher: TeacherFacts, recipe: Recipe) -> Recipe:
    return replace(recipe, finetune=0) if teacher.head.finished else recipe


def _fewer(recipe: Recipe, texts: Texts) -> Iterator[Recipe]:
    """The same recipe on fewer and fewer rows."""
    rows = 10 ** math.floor(math.log10(max(texts.train, 10)))
    while rows > LEAST_ROWS:
        for part in (1, 0.5, 0.2):
            if LEAST_ROWS <= rows * part < texts.train:
                yield replace(recipe, limit=int(rows * part))
        rows //= 10
