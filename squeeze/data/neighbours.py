"""Words that a model's own embedding table holds to be near one another.

Only pieces that are whole alphabetic words take part: a neighbour of a word's beginning would make
a non-word of the rest, and neighbours of numbers and punctuation change what is said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

__all__ = ["Neighbours", "nearest_words", "whole_words"]

SHORTEST = 2
"""Letters of a word: single ones are initials, list marks and halves of contractions."""
BLOCK = 256
"""Words whose similarities to all others are held at once (BLOCK x words, float32)."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest words of some pieces.

    Attributes:
        row_of: piece id to row.
        words: (P, k) ids of the nearest words, nearest first; only the first ``counts`` of a row count.
        counts: (P,) how many neighbours a piece has, 0..k.
    """

    row_of: dict[int, int]
    words: NDArray[np.int64]
    counts: NDArray[np.int64]


def whole_words(tokenizer: Tokenizer, size: int) -> dict[int, str]:
    """The pieces that are whole alphabetic words, by id, as they are written in text.

    WordPiece marks continuations (``##ing``), byte-level BPE and Unigram mark beginnings (``Ġthe``,
    ``▁the``); a word-level vocabulary marks nothing. A beginning may still go on in the next piece:
    that is for the caller to see in the text.

    Args:
        tokenizer: of any of these kinds.
        size: rows of the embedding table; pieces beyond have no vector.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = {piece: i for piece, i in tokenizer.get_vocab().items() if i < size and i not in special}
    model = json.loads(tokenizer.to_str())["model"]
    prefix, mark = _marks(model, vocabulary)
    words = {}
    for piece, i in vocabulary.items():
        if not piece.startswith(mark) or (prefix and piece.startswith(prefix)):
            continue
        word = piece[len(mark) :]
        # Byte-level pieces spell letters beyond ASCII as bytes.
        word = word if word.isascii() else tokenizer.decode([i]).strip()
        if len(word) >= SHORTEST and word.isalpha():
            words[i] = word
    return dict(sorted(words.items()))


def _marks(model: dict[str, Any], vocabulary: dict[str, int]) -> tuple[str, str]:
    """(prefix of continuations, prefix of beginnings); either may be empty."""
    if model.get("type") in {"WordPiece", "WordLevel"}:
        return str(model.get("continuing_subword_prefix") or ""), ""
    return "", max("Ġ▁", key=lambda mark: sum(piece.startswith(mark) for piece in vocabulary))


def nearest_words(
    pieces: Sequence[int] | NDArray[np.int64],
    words: Sequence[int] | NDArray[np.int64],
    table: NDArray[np.float32],
    count: int,
) -> Neighbours:
    """For each piece the words of highest cosine, itself left out, similarity above 0 only.

    Args:
        pieces: P ids to find neighbours for.
        words: W ids to choose from.
        table: (V, H) embedding rows.
        count: most neighbours of a piece.
    """
    of, among = np.asarray(pieces, dtype=np.int64), np.unique(np.asarray(words, dtype=np.int64))
    count = min(count, max(len(among) - 1, 0))
    found = np.zeros((len(of), count), dtype=np.int64)
    counts = np.zeros(len(of), dtype=np.int64)
    candidates = _unit(table[among]).T
    for start in range(0, len(of) if count else 0, BLOCK):
        block = of[start : start + BLOCK]
        cosine = _unit(table[block]) @ candidates
        own = np.searchsorted(among, block).clip(max=len(among) - 1)
        itself = among[own] == block
        cosine[np.flatnonzero(itself), own[itself]] = -1.0
        best, positive = _largest(cosine, count)
        found[start : start + BLOCK] = among[best]
        counts[start : start + BLOCK] = positive
    return Neighbours({int(piece): row for row, piece in enumerate(of)}, found, counts)


def _largest(cosine: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(columns of the largest values, largest first; how many of them are above 0)."""
    columns = np.argpartition(cosine, -count, axis=1)[:, -count:]
    values = np.take_along_axis(cosine, columns, axis=1)
    # Equal values in column order, so that the result does not depend on the partition.
    order = np.lexsort((columns, -values), axis=1)
    return np.take_along_axis(columns, order, axis=1), (values > 0).sum(axis=1)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays, and is similar to nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
