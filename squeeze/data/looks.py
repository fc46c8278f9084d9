"""What data looks like where it is not one text and one label a row: one line for each sign of it.

Nothing here is a reason to stop: it may all be intended. No line quotes a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from squeeze.data.labels import number_kind
from squeeze.data.table import Column, Table
from squeeze.data.wording import listing, same_text

__all__ = [
    "ROWS",
    "Unused",
    "alike",
    "column_lines",
    "joined_by",
    "label_lines",
    "look",
    "looks",
    "reads_like_text",
    "text_lines_of",
]

PAIRED = frozenset(
    (
        *(
            "text_b",
            "textb",
            "text2",
            "text_2",
            "sentence2",
            "sentence_2",
            "sentence_b",
            "hypothesis",
            "premise",
        ),
        *("question", "answer", "query", "passage", "context", "document", "response", "reply", "candidate"),
    )
)
"""Names that the second text of a pair often has."""
TOKENS = frozenset(
    ("tokens", "words", "ner", "ner_tags", "pos_tags", "chunk_tags", "tags", "spans", "entities")
)
"""Names of columns with one entry a token."""
ROWS, CHARACTERS = 1000, 1000
"""What is looked at of a column that is not read."""
ENOUGH = 20
"""Rows below which nothing is said about how a column looks."""
WORDS = 3
"""Words of a text, on average, from which a column holds text and no names."""
MANY = 20
"""Different labels from which they may be something else than labels."""
ROWS_PER_LABEL = 10
MOST = 0.9
"""Share of the rows that makes a column."""
SEPARATORS = "|;,"


class Unused:
    """The first values of the columns that are not read.

    Args:
        used: names of those that are.
    """

    def __init__(self, used: Iterable[str]) -> None:
        self._used, self._rows = frozenset(used), 0
        self._values: dict[str, list[Any]] = {}

    @property
    def full(self) -> bool:
        """Whether more rows would tell no more."""
        return self._rows >= ROWS

    def add(self, cells: Mapping[str, Any]) -> None:
        """Keep one row's values, cut short."""
        self._rows += 1
        for name, value in cells.items():
            if name not in self._used:
                self._values.setdefault(name, []).append(_short(value))

    def columns(self) -> tuple[Column, ...]:
        """What they look like."""
        return tuple(look(name, values) for name, values in self._values.items())


def _short(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return type(value)()
    return value[:CHARACTERS] if isinstance(value, str) else value


def look(name: str, values: Sequence[Any]) -> Column:
    """What a column holds that the profile does not use.

    Args:
        name: of the column.
        values: of its first rows.
    """
    filled = [value for value in values if value not in (None, "")]
    if filled and all(isinstance(value, list | tuple) for value in filled):
        return Column(name, "list")
    texts = [value for value in filled if isinstance(value, str)]
    share = 0.0 if name.casefold().strip() in PAIRED else 0.3  # one query stands beside many documents
    is_text = bool(texts) and len(texts) == len(filled) and _is_prose(texts, share)
    return Column(name, "text" if is_text else "other")


def _is_prose(texts: Sequence[str], share: float) -> bool:
    """Whether the values are texts, and a share of them different ones."""
    differ = len(set(texts)) >= min(len(texts), max(2, share * len(texts)))
    return differ and reads_like_text(texts, WORDS)


def reads_like_text(texts: Sequence[str], words: float) -> bool:
    """Whether values are sentences rather than names, links, dates or numbers.

    Scripts without spaces between words count by their signs.

    Args:
        texts: the values, at least one.
        words: of a text at least, on average.
    """
    joined = "".join(texts)
    letters = sum(map(str.isalpha, joined))
    links = sum(text.startswith(("http://", "https://", "/")) and " " not in text for text in texts)
    if letters < len(joined) / 2 or links > len(texts) / 2:
        return False
    if sum(len(text.split()) for text in texts) >= words * len(texts):
        return True
    unspaced = sum("\u3040" <= sign <= "\u9fff" or "\u0e00" <= sign <= "\u0e7f" for sign in joined)
    return unspaced >= letters / 2


def looks(tables: Mapping[str, Table]) -> list[str]:
    """What the columns and the texts of all labelled splits look like."""
    lines = list(column_lines(tables))
    for split, table in tables.items():
        lines += [f"{split} ({table.place}): {line}" for line in text_lines_of(table.texts)]
    return lines


def column_lines(tables: Mapping[str, Table]) -> Iterator[str]:
    """Columns with text, tokens or tags that the profile does not use, each once for all its splits."""
    splits: dict[Column, list[str]] = {}
    for split, table in tables.items():
        for column in table.others:
            splits.setdefault(column, []).append(split)
    for column, names in splits.items():
        sign = _sign(column)
        if sign:
            yield f"{', '.join(names)}: {sign}"


def _sign(column: Column) -> str:
    name = column.name.casefold().strip()
    if column.kind == "list" and name in TOKENS:
        return (
            f"column {column.name!r} holds one entry a token and is not used: looks like token classification"
        )
    if column.kind == "list":
        return f"column {column.name!r} holds lists and is not used: looks like multi-label data"
    if column.kind == "text" and name in PAIRED:
        return (
            f"column {column.name!r} holds text and is not used: looks like pairs, and one text a row is read"
        )
    return f"column {column.name!r} holds text and is not used" if column.kind == "text" else ""


def label_lines(labels: Sequence[str], *, partial: bool = False) -> Iterator[str]:
    """What the labels of a table look like where they are no names of classes.

    Args:
        labels: one a row.
        partial: whether there are more rows than these, so that labels may be more frequent.
    """
    counts = Counter(labels)
    if len(labels) < ENOUGH:
        return
    several = _several(counts)
    if several:
        yield several
    elif _is_scale(counts):
        yield f"{len(counts)} different numbers as labels: looks like regression data"
    elif len(counts) >= MANY and len(labels) < (2 if partial else ROWS_PER_LABEL) * len(counts):
        words = sum(len(label.split()) * rows for label, rows in counts.items()) / len(labels)
        what = "a text" if words >= WORDS else "an id or text"
        yield (
            f"{len(counts):,} labels in {len(labels):,} rows, {len(labels) / len(counts):.1f} rows a label:"
            f" looks like {what} column"
        )


def _several(counts: Mapping[str, int]) -> str:
    """Labels that are lists, or joined from others that are labels too."""
    if all(label.startswith("[") and label.endswith("]") for label in counts):
        return "all labels are lists in text: looks like multi-label data"
    sign = joined_by(counts)
    joined = sum(sign in label for label in counts)
    return (
        f"{joined} {'label is' if joined == 1 else 'labels are'} joined from others by {sign!r}:"
        " looks like multi-label data"
        if sign
        else ""
    )


def joined_by(labels: Collection[str]) -> str:
    """The sign that joins several labels in one; empty where labels are single ones.

    Args:
        labels: each once.
    """
    for sign in SEPARATORS:
        joined = [label for label in labels if sign in label]
        parts = Counter(part.strip() for label in joined for part in label.split(sign))
        alone = set(labels) - set(joined)
        again = [part for part, times in parts.items() if times > 1 or part in alone]
        if joined and len(again) > MOST * len(parts) and len(parts | Counter(alone)) < len(labels):
            return sign
    return ""


def _is_scale(counts: Mapping[str, int]) -> bool:
    """Whether the labels are values on a scale and no classes that were numbered."""
    kind = number_kind(counts)
    if kind == "whole":
        numbers = [int(label.partition(".")[0]) for label in counts]
        return len(numbers) >= MANY and max(numbers) - min(numbers) + 1 > 2 * len(numbers)
    return kind == "fraction" and len(counts) > 2


def text_lines_of(texts: Sequence[str]) -> Iterator[str]:
    """What the texts of a table look like where they are none.

    Args:
        texts: one a row.
    """
    if len(texts) < ENOUGH:
        return
    bare = sum(not any(map(str.isalpha, text)) for text in texts)
    named = sum(len(text.split()) == 1 and any(map(str.isdigit, text)) for text in texts)
    if bare > MOST * len(texts):
        yield f"{bare:,} of {len(texts):,} texts have no letter: looks like a column of numbers or ids"
    elif named > MOST * len(texts):
        yield f"{named:,} of {len(texts):,} texts are one word with digits: looks like a column of ids"
    elif median(map(len, texts)) < WORDS:
        yield f"half of {len(texts):,} texts have fewer than {WORDS} characters: is this the text column?"


def alike(labels: Sequence[str]) -> Iterator[str]:
    """Labels of the task that a reader cannot tell apart."""
    spelled: dict[str, list[str]] = {}
    for label in labels:
        spelled.setdefault(same_text(label), []).append(label)
    for names in spelled.values():
        if len(names) > 1:
            yield f"[task] labels {listing(map(repr, names))} differ only in case, space or Unicode form"
