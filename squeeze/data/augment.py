"""More text for small sets: near-neighbour replacement, token dropout and splicing.

Replacing words by neighbours in the teacher's embedding space is TinyBERT's augmentation (Jiao et
al. 2020, arXiv:1909.10351, section 4.2) with the masked-language-model half left out; deleting
tokens is one of EDA's operations (Wei & Zou 2019, arXiv:1901.11196). The changed texts carry no
label: the teacher labels them, so a copy may well mean something else than its origin.

Only the changed spans of a text are touched. Handles, links, hashtags, emoji, numbers and the
spacing of the rest stay character for character, and the result is text again, which every teacher
and the student tokenise in their own way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from squeeze.data.batches import parts
from squeeze.data.neighbours import Neighbours, nearest_words, whole_words

__all__ = ["Augmented", "Settings", "augment"]

CHUNK = re.compile(r"\S+")
# Handles, hashtags, links, paths, numbers with units, domain names, contractions (do n't, l'eau).
PROTECTED = re.compile(r"[@#/\\_\d]|^(?:https?|www)\b|\w[.'’]\w", re.IGNORECASE)  # noqa: RUF001
APOSTROPHES = "'’`"  # noqa: RUF001


class Settings(Protocol):
    """How much to change; the distil stage's `AugmentSection` is one."""

    @property
    def copies(self) -> int:
        """Changed copies of every text."""
        ...

    @property
    def replace(self) -> float:
        """Chance of each replaceable word to be replaced, 0..1."""
        ...

    @property
    def neighbours(self) -> int:
        """How many nearest words a replacement is drawn from."""
        ...

    @property
    def drop(self) -> float:
        """Chance of each token to be left out, 0..1."""
        ...

    @property
    def splice(self) -> float:
        """Chance of each copy to get its tail from another text, 0..1."""
        ...


@dataclass(frozen=True)
class Augmented:
    """Changed copies.

    Attributes:
        texts: copies x N texts, never empty where the origin was not: all first copies, all second ones, ...
        origin: (copies x N,) int64, which text each copy, or its head, was made from.
        replaced_tokens: tokens that stand replaced in the copies.
        dropped_tokens: tokens that the copies lack, what splicing cut off not counted.
        spliced_texts: copies that hold the head of one text and the tail of another.
    """

    texts: tuple[str, ...]
    origin: NDArray[np.int64]
    replaced_tokens: int
    dropped_tokens: int
    spliced_texts: int


@dataclass(frozen=True)
class _Parsed:
    """A text cut into units that are dropped as a whole: a word, a mark, or a protected chunk.

    Attributes:
        text: as it came.
        first: number of its first unit among those of all texts.
        spans: (start, end) of every unit, in characters, rising, without white space around.
        tokens: tokens in every unit.
        pieces: id of the unit's only token where it is a word that may be replaced, else -1.
    """

    text: str
    first: int
    spans: tuple[tuple[int, int], ...]
    tokens: tuple[int, ...]
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class _Edits:
    """What one round of copies changes, for the units of all texts: (U,) each.

    Attributes:
        drop: units to leave out.
        word: id of the word to put in, -1 where nothing is replaced.
        changed: numbers of the units with an edit, rising.
    """

    drop: NDArray[np.bool_]
    word: NDArray[np.int64]
    changed: NDArray[np.int64]


def augment(
    texts: Sequence[str], tokenizer: Tokenizer, table: NDArray[np.float32], settings: Settings, seed: int
) -> Augmented:
    """Make changed copies of texts; the same arguments give the same copies on one machine.

    Args:
        texts: N texts.
        tokenizer: the one whose ids the table's rows are; its padding and truncation are not used.
        table: (V, H) embedding of the teacher.
        settings: how much to change.
        seed: 0 or more.

    Returns:
        ``settings.copies`` x N texts and what was done. A text of a single unit has nothing to drop.
    """
    words = whole_words(tokenizer, len(table))
    parsed = _parse(texts, tokenizer, words)
    generator = np.random.default_rng(seed)
    pieces = np.array([piece for item in parsed for piece in item.pieces], dtype=np.int64)
    wanted = np.unique(pieces[pieces >= 0]) if settings.copies and settings.replace else pieces[:0]
    near = nearest_words(wanted, list(words), table, settings.neighbours)
    writer = _Writer(words)
    copies: list[str] = []
    spliced = 0
    for _ in range(settings.copies):
        edits = _draw(pieces, near, settings, generator)
        cuts = _draw_splices(parsed, settings.splice, generator)
        for item, cut in zip(parsed, cuts, strict=True):
            if cut is None:
                copies.append(writer.write(item, 0, len(item.spans), edits))
                continue
            head = writer.write(item, 0, cut.head, edits)
            other = parsed[cut.other]
            copies.append(
                f"{head.rstrip()} {writer.write(other, cut.tail, len(other.spans), edits).lstrip()}"
            )
            spliced += 1
    origin = np.tile(np.arange(len(texts), dtype=np.int64), settings.copies)
    return Augmented(tuple(copies), origin, writer.replaced, writer.dropped, spliced)


def _parse(texts: Sequence[str], tokenizer: Tokenizer, words: dict[int, str]) -> list[_Parsed]:
    """Cut all texts into units."""
    # A copy, because padding and truncation are settings of the object that others use.
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    parsed: list[_Parsed] = []
    first = 0
    for text, encoding in _encoded(texts, plain):
        units = _units(text, encoding)
        spans = tuple((start, end) for start, end, _ in units)
        pieces = tuple(_replaceable(text, start, end, ids, words) for start, end, ids in units)
        parsed.append(_Parsed(text, first, spans, tuple(len(ids) for *_, ids in units), pieces))
        first += len(units)
    return parsed


def _encoded(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[tuple[str, Encoding]]:
    """Every text with its tokens."""
    for part in parts(texts):
        yield from zip(part, tokenizer.encode_batch(part, add_special_tokens=False), strict=True)


def _units(text: str, encoding: Encoding) -> list[tuple[int, int, list[int]]]:
    """(start, end, token ids) of every unit of a text."""
    guarded = [m.span() for m in CHUNK.finditer(text) if PROTECTED.search(m.group())]
    chunk = 0
    units: list[tuple[int, int, list[int]]] = []
    last: object = None
    for token, word, (start, end) in zip(encoding.ids, encoding.word_ids, encoding.offsets, strict=True):
        start, end = _trim(text, start, end)
        if start == end:
            continue
        while chunk < len(guarded) and guarded[chunk][1] <= start:
            chunk += 1
        inside = chunk < len(guarded) and guarded[chunk][0] <= start
        key: object = guarded[chunk] if inside else (word, _is_mark(text[start]))
        # Tokens of one character's bytes overlap: they can only go together.
        if units and (start < units[-1][1] or key == last):
            before = units[-1]
            units[-1] = (before[0], max(before[1], end), [*before[2], token])
        else:
            units.append((start, end, [token]))
        last = key
    return units


def _is_mark(character: str) -> bool:
    """Whether it is punctuation, which some tokenizers count to the word before it."""
    return unicodedata.category(character).startswith("P")


def _joins(character: str) -> bool:
    """Whether a word goes on here: with a letter, a digit, a combining mark or an apostrophe."""
    return character.isalnum() or character in APOSTROPHES or unicodedata.category(character).startswith("M")


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space, which some tokenizers count to the word behind it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _replaceable(text: str, start: int, end: int, ids: Sequence[int], words: dict[int, str]) -> int:
    """The id of a unit that is one free-standing word of letters, else -1."""
    if (
        len(ids) != 1
        or ids[0] not in words
        or not text[start:end].isalpha()
        or PROTECTED.search(text[start:end])
    ):
        return -1
    sides = text[max(start - 1, 0) : start] + text[end : end + 1]
    return -1 if any(map(_joins, sides)) else ids[0]


def _draw(
    pieces: NDArray[np.int64], near: Neighbours, settings: Settings, generator: np.random.Generator
) -> _Edits:
    """Choose what one round of copies changes."""
    drop = generator.random(len(pieces)) < settings.drop
    chosen = (generator.random(len(pieces)) < settings.replace) & (pieces >= 0) & ~drop
    which = generator.random(len(pieces))
    word = np.full(len(pieces), -1, dtype=np.int64)
    at = np.flatnonzero(chosen)
    rows = np.array([near.row_of[piece] for piece in pieces[at].tolist()], dtype=np.int64)
    has = near.counts[rows] > 0
    at, rows = at[has], rows[has]
    word[at] = near.words[rows, (which[at] * near.counts[rows]).astype(np.int64)]
    return _Edits(drop, word, np.flatnonzero(drop | (word >= 0)))


@dataclass(frozen=True)
class _Cut:
    """Keep ``head`` units and go on with the units of text ``other`` from ``tail``."""

    head: int
    other: int
    tail: int


def _draw_splices(
    parsed: Sequence[_Parsed], share: float, generator: np.random.Generator
) -> Iterator[_Cut | None]:
    """For each text where it is cut, if at all; both parts hold at least one unit."""
    number = len(parsed)
    chance, where_head, where_tail = generator.random((3, number))
    step = generator.integers(1, max(number, 2), size=number)
    for i, item in enumerate(parsed):
        other = (i + int(step[i])) % number
        if chance[i] >= share or other == i:
            yield None
            continue
        ends, begins = _boundaries(item), _boundaries(parsed[other])
        if ends and begins:
            head, tail = ends[int(where_head[i] * len(ends))], begins[int(where_tail[i] * len(begins))]
            yield _Cut(head, other, tail)
        else:
            yield None


def _boundaries(item: _Parsed) -> list[int]:
    """Units in front of which white space stands: places where a text may be cut."""
    return [k for k in range(1, len(item.spans)) if item.text[item.spans[k][0] - 1].isspace()]


class _Writer:
    """Writes units with their edits and counts the edits that really stand in what it wrote."""

    def __init__(self, words: dict[int, str]) -> None:
        self.words = words
        self.replaced = 0
        self.dropped = 0

    def write(self, item: _Parsed, begin: int, end: int, edits: _Edits) -> str:
        """Units ``begin`` to ``end`` (exclusive) of a text; unchanged where the edits would leave nothing."""
        low, high = np.searchsorted(edits.changed, (item.first + begin, item.first + end))
        changed = [int(unit) - item.first for unit in edits.changed[low:high]]
        dropped = {k for k in changed if edits.drop[item.first + k]}
        start = item.spans[begin][0] if begin else 0
        stop = item.spans[end - 1][1] if end < len(item.spans) else len(item.text)
        if len(dropped) == end - begin:
            return item.text[start:stop]
        parts: list[str] = []
        for k in changed:
            left, right = item.spans[k]
            parts.append(item.text[start:left])
            if k in dropped:
                right = _behind_gap(item.text, left, right)
                self.dropped += item.tokens[k]
            else:
                parts.append(_cased(self.words[int(edits.word[item.first + k])], item.text[left:right]))
                self.replaced += 1
            start = right
        parts.append(item.text[start:stop])
        return "".join(parts)


def _behind_gap(text: str, left: int, right: int) -> int:
    """Where the text goes on behind a dropped span: one of the two gaps around it goes as well."""
    if left and not text[left - 1].isspace():
        return right
    while right < len(text) and text[right].isspace():
        right += 1
    return right


def _cased(word: str, original: str) -> str:
    """The new word in capitals where the old one was."""
    if original.isupper():
        return word.upper()
    return word.capitalize() if original[0].isupper() and word.islower() else word
