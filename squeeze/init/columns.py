"""Which column holds the text and which the label, by names and by what stands in them."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from squeeze.data.labels import number_kind
from squeeze.data.looks import joined_by, reads_like_text
from squeeze.data.sample import Sample
from squeeze.data.table import LabelCells, as_label
from squeeze.data.wording import listing, nearest
from squeeze.errors import DataError
from squeeze.tasks import DEFAULT

__all__ = ["MULTI_LABEL", "REGRESSION", "Columns", "choose"]

TEXT = "text"
LABEL = "label"
MULTI_LABEL, REGRESSION = "multi_label_classification", "regression"
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
        labels: names of the columns of the label; several hold a number each.
        problem_type: what the label's values are, as `[task]` says it.
        separator: between the labels of one text, where several stand in one.
        unused: other columns that hold text.
    """

    text: str
    labels: tuple[str, ...]
    problem_type: str = DEFAULT
    separator: str = ""
    unused: tuple[str, ...] = ()

    @property
    def cells(self) -> LabelCells:
        """How the labels are read."""
        if self.problem_type == REGRESSION:
            return LabelCells(self.labels, "numbers")
        return LabelCells(
            self.labels[0], "list" if self.problem_type == MULTI_LABEL else "name", self.separator or "|"
        )


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


def choose(sample: Sample, text: str | None, labels: Sequence[str] = ()) -> Columns:
    """The columns of the text and of the label, and the task that their values look like.

    Args:
        sample: rows of the training source.
        text: the column that the user names; None: it is guessed.
        labels: the columns that the user names; none: one is guessed.

    Raises:
        DataError: a column that is not there, several that may be meant, or data of another task.
    """
    named = [("--text-column", text), *(("--label-column", label) for label in labels)]
    for option, name in named:
        if name is not None and name not in sample.columns:
            there = f"it has: {listing(map(repr, sample.columns))}"
            raise DataError(
                f"{option}: {sample.place} has no column {name!r}{nearest(name, sample.columns)}; {there}"
            )
    looks = [_look(name, values) for name, values in sample.columns.items()]
    _refuse_tags(sample, looks, text)
    chosen = text or _text(sample.place, [look for look in looks if look.name not in labels])
    others = [look for look in looks if look.name != chosen]
    columns = tuple(labels) or (_label(sample, others),)
    unused = tuple(look.name for look in others if look.prose and look.name not in columns)
    return Columns(chosen, columns, *_task(sample, columns), unused)


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
    if len(numbers) == 1:
        return numbers[0]
    if numbers:
        raise DataError(
            f"{sample.place}: columns {listing(map(repr, numbers))} hold numbers with fractions: any may be"
            " a target",
            hint=f"name those that are with --label-column {','.join(numbers)}",
        )
    lists = [look.name for look in looks if look.kind == "list"]
    if len(lists) == 1:
        return lists[0]
    raise DataError(
        f"{sample.place}: no column looks like labels (2 to {MOST_LABELS} different short values);"
        f" it has: {listing(map(repr, sample.columns))}",
        hint="name it with --label-column NAME",
    )


def _task(sample: Sample, labels: Sequence[str]) -> tuple[str, str]:
    """The problem type that the values of the label columns look like, and what separates labels in one text.

    Raises:
        DataError: they are no labels and no numbers.
    """
    values = {name: [value for value in sample.columns[name] if value not in (None, "")] for name in labels}
    looks = [_look(name, column) for name, column in values.items()]
    if len(looks) > 1 or looks[0].kind == "fraction":
        for look in looks:
            if look.kind not in {"whole", "fraction"}:
                raise DataError(
                    f"{sample.place}, column {look.name!r}: of several label columns each holds a number,"
                    " this one does not",
                    hint="one column holds the label, or a list of labels",
                )
        return REGRESSION, ""
    (look,) = looks
    place = f"{sample.place}, column {look.name!r}"
    if look.kind == "object":
        raise DataError(f"{place}: its values are objects", hint="name a value inside: --label-column a.b")
    if look.kind == "list":
        return MULTI_LABEL, ""
    sign = _joined({str(value) for value in values[look.name]})
    if sign:
        return MULTI_LABEL, sign
    if look.different > (look.filled // 2 if look.prose else max(MOST_LABELS, look.filled // 2)):
        raise DataError(
            f"{place}: {look.different} different values in {look.filled} rows: is this the label column?",
            hint="labels stand in many rows each; name another column with --label-column NAME",
        )
    return DEFAULT, ""


def _joined(labels: Set[str]) -> str:
    """The sign that joins several labels in one; empty where none of these stands alone elsewhere."""
    sign = joined_by(labels)
    alone = any(
        part.strip() in labels for label in labels if sign and sign in label for part in label.split(sign)
    )
    return sign if alone else ""
