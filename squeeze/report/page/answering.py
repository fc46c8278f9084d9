"""What is answered: confusion before and after, and the texts whose answer changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from squeeze.report.evidence import Answers, Change, Evidence, SplitAnswers
from squeeze.report.evidence.answers import Kind
from squeeze.report.page import words
from squeeze.report.page.parts import (
    Cell,
    Example,
    Examples,
    Fold,
    Part,
    Section,
    Side,
    Table,
    Tone,
    Words,
    row,
)

__all__ = ["changed", "confusions"]

MOST_LABELS = 16
"""Labels of a matrix that is still readable; with more, the most frequent confusions are listed."""
MOST_PAIRS = 20
MOST_EXAMPLES = 40
"""Texts that are shown of a split."""
LONGEST = 280
"""Characters of a text that are shown."""
KINDS: dict[Kind, tuple[str, Tone]] = {
    "lost": ("right before, wrong now", "bad"),
    "other": ("wrong before, wrong now", ""),
    "gained": ("wrong before, right now", "good"),
}


def confusions(found: Evidence) -> Section:
    """Of every test split, the teacher's answers beside those of the shipped file."""
    title = "Confusion before and after"
    if found.answers is None:
        return Section("confusion", title, (Words("The run has no data yet.", quiet=True),))
    return Section("confusion", title, tuple(_confusions(found.answers, found.report.labels)))


def _confusions(answers: Answers, labels: Sequence[str]) -> Iterator[Part]:
    if answers.missing:
        yield Words(answers.missing, quiet=True)
    for split in answers.splits:
        sides = [("teacher", split.teacher), (answers.file or "", split.shipped)]
        told = [(who, split.confusion(said)) for who, said in sides if said is not None]
        if not told:
            continue
        yield Words(_heading(split))
        if len(labels) <= MOST_LABELS:
            yield Side(tuple(_matrix(who, counts, labels) for who, counts in told))
        else:
            yield _pairs(told, labels)
    yield Words("A line is a right label, a column an answer; shade is the share of the line.", quiet=True)


def _heading(split: SplitAnswers) -> str:
    if split.rows > len(split.texts):
        return f"{split.name}: the first {len(split.texts):,} of {split.rows:,} texts"
    return f"{split.name}: {split.rows:,} texts"


def _matrix(who: str, counts: NDArray[np.int64], labels: Sequence[str]) -> Table:
    whole = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, whole, out=np.zeros(counts.shape), where=whole > 0)
    rows = tuple(
        (Cell(label), *(_shade(int(n), float(s), a == b) for b, (n, s) in enumerate(zip(*line, strict=True))))
        for a, (label, *line) in enumerate(zip(labels, counts, shares, strict=True))
    )
    return Table((f"{who}: truth", *labels), rows, look="shaded")


def _shade(number: int, share: float, right: bool) -> Cell:
    return Cell(f"{number:,}", tone="good" if right else "bad", share=round(share, 3))


def _pairs(told: Sequence[tuple[str, NDArray[np.int64]]], labels: Sequence[str]) -> Table:
    """The most frequent confusions of the last side, which is the shipped file where there is one."""
    wrong = told[-1][1].copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    rows = tuple(
        row(labels[truth], labels[answer], *(f"{int(counts[truth, answer]):,}" for _, counts in told))
        for truth, answer in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[truth, answer]
    )
    return Table(("right label", "answer", *(who for who, _ in told)), rows, "The most frequent confusions.")


def changed(found: Evidence, *, texts: bool) -> Section:
    """Texts to which the shipped file gives another answer than the teacher."""
    title = "Texts with another answer than the teacher's"
    answers = found.answers
    if answers is None or answers.missing:
        why = "The run has no data yet." if answers is None else answers.missing
        return Section("changed", title, (Words(why, quiet=True),))
    parts = [part for split in answers.splits for part in _changed(split, found.report.labels, texts)]
    if not texts:
        parts.append(Words("The texts were left out of this page.", quiet=True))
    return Section("changed", title, tuple(parts))


def _changed(split: SplitAnswers, labels: Sequence[str], texts: bool) -> Iterator[Part]:
    changes = split.changes()
    kinds = Counter(each.kind for each in changes)
    rows = tuple(
        row(Cell(said, tone=tone), f"{kinds[kind]:,}", words.percent(kinds[kind] / len(split.texts)))
        for kind, (said, tone) in KINDS.items()
    )
    yield Table((f"{_heading(split)}", "texts", "% of all"), rows)
    if texts and changes:
        shown = changes[:MOST_EXAMPLES]
        listed = Examples(tuple(_example(each, split.texts[each.row], labels) for each in shown))
        count = f"{len(shown):,} of {len(changes):,}" if len(shown) < len(changes) else f"{len(changes):,}"
        yield Fold(f"Show {count} changed texts of {split.name}", (listed,))


def _example(change: Change, text: str, labels: Sequence[str]) -> Example:
    sure = [f"{words.percent(each)} %" for each in change.confidence]
    return Example(
        text=words.cut(text, LONGEST),
        truth=labels[change.truth],
        before=f"{labels[change.before]} ({sure[0]})",
        after=f"{labels[change.after]} ({sure[1]})",
        tone=KINDS[change.kind][1],
    )
