"""What a page is made of: plain records that the templates draw, one macro for each kind of part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from squeeze.report.page.charts import Histogram, Scatter

__all__ = [
    "Card",
    "Cell",
    "Example",
    "Examples",
    "Fold",
    "Part",
    "RunView",
    "Section",
    "Side",
    "Table",
    "Tone",
    "Words",
    "row",
]

FIGURE = re.compile(r"[-+]?[\d.,]+\b|-$")
Tone = Literal["", "good", "bad", "unsure"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what stands in it.
        change: from the model before, below it.
        tone: of the change, or of the text where there is none.
        share: 0..1, drawn as a bar or as shade; None: not drawn.
    """

    text: str
    change: str = ""
    tone: Tone = ""
    share: float | None = None

    @property
    def is_figure(self) -> bool:
        """Whether it is a number, or stands for one that is not there."""
        return bool(FIGURE.match(self.text))


@dataclass(frozen=True)
class Table:
    """A table; its first column names the rows. `look` says how shares are drawn."""

    kind: ClassVar = "table"
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    look: Literal["plain", "shaded", "bars"] = "plain"

    @property
    def sides(self) -> tuple[str, ...]:
        """Of each column: figures stand to the right, words to the left."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.headers)
        return tuple(_side([cell for cell in column if cell.text]) for column in columns)


@dataclass(frozen=True)
class Words:
    """A paragraph; `quiet` for a remark."""

    kind: ClassVar = "words"
    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Example:
    """One text with both answers."""

    text: str
    truth: str
    before: str
    after: str
    tone: Tone


@dataclass(frozen=True)
class Examples:
    """Texts one below the other."""

    kind: ClassVar = "examples"
    rows: tuple[Example, ...]


@dataclass(frozen=True)
class Side:
    """Parts side by side where there is room."""

    kind: ClassVar = "side"
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Fold:
    """Parts that open on a click or a key."""

    kind: ClassVar = "fold"
    title: str
    parts: tuple[Part, ...]
    opened: bool = False


Part: TypeAlias = "Table | Words | Examples | Side | Fold | Histogram | Scatter"


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    anchor: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Card:
    """One answer of the summary."""

    question: str
    answer: str
    lines: tuple[str, ...]
    tone: Tone = ""


@dataclass(frozen=True)
class RunView:
    """One run."""

    name: str
    anchor: str
    cards: tuple[Card, ...]
    budget: tuple[Part, ...]
    sections: tuple[Section, ...] = field(default=())
    line: str = ""


def _side(cells: Sequence[Cell]) -> str:
    return "right" if cells and all(cell.is_figure for cell in cells) else "left"


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """Cells of a row, texts as they are."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
