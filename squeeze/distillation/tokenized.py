"""The text in the student's pieces: its vocabulary, and the pool in the numbers of student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.data.dataset import Dataset
from squeeze.distillation.config import VocabularyReport, VocabularySection
from squeeze.errors import ProfileError
from squeeze.models import tokens, vocabulary
from squeeze.models.tokens import Encodings

__all__ = [
    "TokenizedPool",
    "Vocabulary",
    "choose_vocabulary",
    "existing_vocabulary",
    "tokenize_pool",
    "vocabulary_report",
]


@dataclass(frozen=True)
class Vocabulary:
    """The student's pieces.

    Attributes:
        tokenizer_json: the tokenizer, as its file has it.
        kept: (pieces,) the teacher's number of each.
        uses: (pieces,) how often the task's text uses each.
    """

    tokenizer_json: dict[str, Any]
    kept: NDArray[np.int64]
    uses: NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedPool:
    """The pool as the student reads it.

    Attributes:
        vocabulary: the student's.
        tokenizer: cuts at the longest input that student and teacher both read.
        encoded: the pool in the student's numbers.
        aligned: the same pieces in the first teacher's numbers.
    """

    vocabulary: Vocabulary
    tokenizer: Tokenizer
    encoded: Encodings
    aligned: Encodings

    @property
    def pad(self) -> int:
        """Number of the student's padding piece."""
        return tokens.pad_id(self.vocabulary.tokenizer_json)


def tokenize_pool(
    texts: Sequence[str], vocabulary: Vocabulary, max_length: int, scratch: Path | None = None
) -> TokenizedPool:
    """Read the texts of the pool, cut at so many tokens; the numbers lie in the folder, or in memory."""
    tokenizer = tokens.make_tokenizer(vocabulary.tokenizer_json, max_length)
    encoded = tokens.encode(tokenizer, texts, scratch)
    return TokenizedPool(vocabulary, tokenizer, encoded, encoded.renumber(vocabulary.kept))


def choose_vocabulary(
    tokenizer_json: dict[str, Any], texts: Sequence[str], settings: VocabularySection, rows: int
) -> Vocabulary:
    """Keep all pieces, or those that the text and the language at large need.

    Args:
        tokenizer_json: the teacher's.
        texts: the task's text; never validation or test.
        settings: what to keep.
        rows: of the teacher's table, which may be longer than its tokenizer.
    """
    kept = np.arange(rows, dtype=np.int64)
    if settings.trim:
        counts = vocabulary.count(_uncut(tokenizer_json), texts)
        trimmed = _trim(tokenizer_json, counts, settings)
        tokenizer_json, kept = trimmed.tokenizer, np.array(trimmed.kept, dtype=np.int64)
    return Vocabulary(tokenizer_json, kept, _uses(tokenizer_json, texts, len(kept)))


def existing_vocabulary(
    tokenizer_json: dict[str, Any], rows: int, teacher: dict[str, Any], texts: Sequence[str]
) -> Vocabulary:
    """The vocabulary of a student that has one, numbered as its teacher numbers it.

    Args:
        tokenizer_json: the student's.
        rows: of the student's table, which may be longer than its tokenizer.
        teacher: the teacher's tokenizer.json.
        texts: the task's text.

    Raises:
        ProfileError: the student has a piece that the teacher does not know.
    """
    own, known = (_uncut(one).get_vocab() for one in (tokenizer_json, teacher))
    kept = np.arange(rows, dtype=np.int64)
    for piece, number in own.items():
        if piece not in known:
            raise ProfileError(
                f"the student's piece {piece!r} is none of the teacher's",
                hint="both need one tokenizer: give the teacher that the student was made of",
            )
        kept[number] = known[piece]
    return Vocabulary(tokenizer_json, kept, _uses(tokenizer_json, texts, rows))


def vocabulary_report(teacher: dict[str, Any], student: Vocabulary, data: Dataset) -> VocabularyReport:
    """What the student's vocabulary does to the text, beside the teacher's tokenizer.json."""
    full = _uncut(teacher)
    trim = vocabulary.Trim(student.tokenizer_json, tuple(student.kept.tolist()))
    train = vocabulary.coverage(full, trim, data.splits["train"].texts)
    test = vocabulary.coverage(full, trim, data.splits["test"].texts)
    return VocabularyReport(
        pieces=full.get_vocab_size(),
        kept=len(student.kept),
        train_resegmented=train.resegmented,
        test_resegmented=test.resegmented,
        test_texts_touched=test.touched,
        unknown_before=test.unknown_before,
        unknown_after=test.unknown_after,
    )


def _uncut(tokenizer_json: dict[str, Any]) -> Tokenizer:
    return tokens.make_tokenizer(tokenizer_json, max_length=1 << 20)


def _trim(
    tokenizer_json: dict[str, Any], counts: NDArray[np.int64], settings: VocabularySection
) -> vocabulary.Trim:
    least = settings.min_count
    if settings.pieces is not None:
        return vocabulary.fill(tokenizer_json, counts, settings.pieces, min_count=least)
    wanted = vocabulary.choose(tokenizer_json, counts, frequent=settings.frequent, min_count=least)
    return vocabulary.trim(tokenizer_json, wanted)


def _uses(tokenizer_json: dict[str, Any], texts: Sequence[str], pieces: int) -> NDArray[np.int64]:
    """How often the texts use each piece, those that frame every text included."""
    tokenizer = _uncut(tokenizer_json)
    uses = np.zeros(pieces, dtype=np.int64)
    counts = vocabulary.count(tokenizer, texts)[:pieces]
    uses[: len(counts)] = counts
    np.add.at(uses, tokenizer.encode("").ids, len(texts))
    return uses
