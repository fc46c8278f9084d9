"""Which column holds the text and which the label, by names and by what stands in them."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from squeeze.data.labels import number_kind
from squeeze.data.looks import joined_by, reads_like_text
from squeeze.data.sample import Sample
from squeeze.data.table import as_label
from squeeze.data.wording import listing, nearest
from squeeze.errors import DataError

__all__ = ["Columns", "choose"]

TEXT = "text"
LABEL = "label"
TEXT_NAMES = {
    "text", "sentence", "content", "tweet", "question", "body", "review", "message", "utterance", "query",
    "comment", "title", "headline", "description", "document", "doc", "post", "input", "prompt", "abstract",
    "summary", "phrase", "passage",
}  # fmt: skip
LABEL_NAMES = {
    "label", "labels", "class", "classes", "category", "intent", "sentiment", "topic", "target", "stars",
    "rating", "emotion", "polarity", "type", "tag", "y", "gold",
}  # fmt: skip
PAIRS = (("premise", "hypothesis"), ("query", "document"), ("query", "passage"), ("question", "context"),
         ("question", "answer"), ("anchor", "positive"))  # fmt: skip
PAIRED = re.compile(r"(.*?)[_ -]?(?:a|b|1|2)")
LEAST_WORDS = 2
"""Words of a text, on average: questions and commands are short."""
MOST_LABELS = 200
"""Different values of a column that is taken for the label by what stands in it alone."""
LONGEST_LABEL = 6
"""Words of a label name, on average."""
REPEATED = 0.3
"""Share of the rows: texts with fewer different values are something else, such as names of sources."""
CLEARLY = 3
"""So many times the words of every other column make one the text, whatever their names are."""


@dataclass(frozen=True)
class Columns:
    """The columns that were chosen.

    Attributes:
        text: name of the column of the text.
        label: name of the column of the label.
        unused: other columns that hold text.
    """

    text: str
    label: str
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Look:
    """What a column looks like.

    Attributes:
        name: of the column.
        kind: of its values.
        words: in a value, on average.
        different: how many different values there are.
        filled: how many rows have a value.
        reads: whether its values read like text that somebody wrote.
    """

    name: str
    kind: Literal["text", "whole", "fraction", "list", "object", "empty"]
    words: float
    different: int
    filled: int
    reads: bool

    @property
    def prose(self) -> bool:
        """Whether it may be the text: it reads like one, and most rows have one of their own."""
        return self.reads and self.different > self.filled * REPEATED

    @property
    def few(self) -> bool:
        """Whether its values may be labels: few, short, and most of them more than once."""
        limit = min(MOST_LABELS, self.filled // 2)
        return self.kind in {"text", "whole"} and 2 <= self.different <= limit and self.words <= LONGEST_LABEL


def choose(sample: Sample, text: str | None, label: str | None) -> Columns:
    """The columns of the text and of the label.

    Args:
        sample: rows of the training source.
        text: the column that the user names; None: it is guessed.
        label: likewise.

    Raises:
        DataError: a column that is not there, several that may be meant, or data of another task.
    """
    for option, name in (("--text-column", text), ("--label-column", label)):
        if name is not None and name not in sample.columns:
            there = f"it has: {listing(map(repr, sample.columns))}"
            raise DataError(
                f"{option}: {sample.place} has no column {name!r}{nearest(name, sample.columns)}; {there}"
            )
    looks = [_look(name, values) for name, values in sample.columns.items()]
    _refuse_tags(sample, looks, text)
    chosen = text or _text(sample.place, [look for look in looks if look.name != label])
    others = [look for look in looks if look.name != chosen]
    named = label or _label(sample, others)
    _refuse_other_tasks(sample, named)
    return Columns(chosen, named, tuple(look.name for look in others if look.prose and look.name != named))


def _look(name: str, values: Sequence[Any]) -> _Look:
    filled = [value for value in values if value is not None and value != ""]
    kind = _kind(filled)
    if kind in {"list", "object", "empty"}:
        return _Look(name, kind, 0, 0, len(filled), reads=False)
    texts = [value if isinstance(value, str) else as_label(value) for value in filled]
    words = sum(len(text.split()) for text in texts) / len(texts)
    different = len(set(texts))
    reads = kind == "text" and reads_like_text(texts, LEAST_WORDS)
    return _Look(name, kind, words, different, len(filled), reads)


def _kind(filled: Sequence[Any]) -> Literal["text", "whole", "fraction", "list", "object", "empty"]:
    if not filled:
        return "empty"
    for types, kind in (((list, tuple), "list"), ((dict,), "object")):
        if any(isinstance(value, types) for value in filled):
            return kind  # type: ignore[return-value]
    return number_kind(value if isinstance(value, str) else as_label(value) for value in filled) or "text"


def _refuse_tags(sample: Sample, looks: Sequence[_Look], text: str | None) -> None:
    """Tokens and tags are lists of one length."""
    lists = [look.name for look in looks if look.kind == "list"]
    if text is not None or len(lists) < 2:
        return
    first, second = (
        [len(value) for value in sample.columns[name] if isinstance(value, list | tuple)]
        for name in lists[:2]
    )
    if first == second:
        raise DataError(
            f"{sample.place}: columns {lists[0]!r} and {lists[1]!r} look like token classification, which is"
            " not supported yet",
            hint="squeeze trains classifiers: one text and one label a row",
        )


def _text(place: str, looks: Sequence[_Look]) -> str:
    """The column of the text."""
    prose = [look for look in looks if look.prose]
    names = [look.name for look in prose]
    partner = _partner([look.name for look in looks if look.reads])  # a query stands beside many documents
    if partner is None and TEXT in names:
        return TEXT
    if partner is None:
        known = [name for name in names if name.strip().casefold() in TEXT_NAMES]
        longest = sorted(prose, key=lambda look: -look.words)
        if len(known) == 1:
            return known[0]
        if len(names) == 1 or (not known and names and longest[0].words >= CLEARLY * longest[1].words):
            return longest[0].name
    if names:
        pairs = (
            "they look like text pairs, which are not supported yet" if partner else "which one is the text?"
        )
        raise DataError(
            f"{place}: columns {' and '.join(map(repr, partner or names[:5]))} hold text: {pairs}",
            hint=f"--text-column {names[0]} takes one of them alone",
        )
    short = [
        look.name for look in looks if look.name.strip().casefold() in TEXT_NAMES and look.kind == "text"
    ]
    if len(short) == 1:
        return short[0]
    raise DataError(
        f"{place}: no column looks like text; it has: {listing(repr(look.name) for look in looks)}",
        hint="name it with --text-column NAME",
    )


def _partner(names: Sequence[str]) -> tuple[str, str] | None:
    """Two columns that are named as halves of a pair."""
    by_name = {name.strip().casefold(): name for name in names}
    for left, right in PAIRS:
        if left in by_name and right in by_name:
            return by_name[left], by_name[right]
    stems: dict[str, str] = {}
    for folded, name in by_name.items():
        found = PAIRED.fullmatch(folded)
        for stem in (found[1] if found else "", folded):
            if stem and stem in stems:
                return stems[stem], name
        stems |= {stem: name for stem in (found[1] if found else "", folded) if stem}
    return None


def _label(sample: Sample, looks: Sequence[_Look]) -> str:
    """The column of the label."""
    few = [look.name for look in looks if look.few]
    if LABEL in few:
        return LABEL
    known = [look.name for look in looks if look.name.strip().casefold() in LABEL_NAMES]
    likely = [name for name in known if name in few]
    if len(likely) == 1 or (not likely and len(known) == 1):
        return (likely or known)[0]
    candidates = likely or few
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(
            f"{sample.place}: columns {listing(map(repr, candidates))} may all be the label",
            hint="name it with --label-column NAME",
        )
    numbers = [look.name for look in looks if look.kind == "fraction"]
    if numbers:
        raise _regression(sample.place, numbers)
    raise DataError(
        f"{sample.place}: no column looks like labels (2 to {MOST_LABELS} different short values);"
        f" it has: {listing(map(repr, sample.columns))}",
        hint="name it with --label-column NAME",
    )


def _regression(place: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"{place}: {'column' if len(names) == 1 else 'columns'} {listing(map(repr, names))} hold numbers with"
        " fractions: regression is not supported yet",
        hint="squeeze trains classifiers: one text and one label a row",
    )


def _refuse_other_tasks(sample: Sample, label: str) -> None:
    """Refuse a label column whose values are no single labels."""
    values = [value for value in sample.columns[label] if value is not None and value != ""]
    look = _look(label, values)
    place = f"{sample.place}, column {label!r}"
    if look.kind in {"list", "object"}:
        raise DataError(
            f"{place}: its values are {look.kind}s, which looks like multi-label classification,"
            " not supported yet",
            hint="squeeze trains classifiers: one label a row",
        )
    if look.kind == "fraction":
        raise _regression(sample.place, [label])
    sign = _joined({str(value) for value in values})
    if sign:
        raise DataError(
            f"{place}: its values are labels joined by {sign!r}, which looks like multi-label classification,"
            " not supported yet",
            hint="squeeze trains classifiers: one label a row",
        )
    if look.different > (look.filled // 2 if look.prose else max(MOST_LABELS, look.filled // 2)):
        raise DataError(
            f"{place}: {look.different} different values in {look.filled} rows: is this the label column?",
            hint="labels stand in many rows each; name another column with --label-column NAME",
        )


def _joined(labels: Set[str]) -> str:
    """The sign that joins several labels in one; empty where none of these stands alone elsewhere."""
    sign = joined_by(labels)
    alone = any(
        part.strip() in labels for label in labels if sign and sign in label for part in label.split(sign)
    )
    return sign if alone else ""
