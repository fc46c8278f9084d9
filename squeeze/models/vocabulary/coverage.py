"""What a trim costs on real text."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer

from squeeze.data.batches import parts
from squeeze.models.vocabulary.choice import plain
from squeeze.models.vocabulary.families import family
from squeeze.models.vocabulary.trimming import Trim
from squeeze.schema import Frozen

__all__ = ["Coverage", "coverage"]


class Coverage(Frozen):
    """How well a trimmed vocabulary covers a set of texts; every share and rate is 0..1."""

    pieces: int
    """Size of the new vocabulary."""
    tokens_kept: float
    """Share of the old vocabulary that stayed."""
    texts: int
    """Texts measured."""
    tokens: int
    """Tokens of these texts before the trim, without special tokens."""
    tokens_after: int
    """Tokens after it: more, since dropped pieces fall into several."""
    resegmented: float
    """Share of the old tokens whose piece was dropped."""
    touched: float
    """Share of the texts with at least one such token."""
    unknown_before: float
    """Share of unknown tokens before."""
    unknown_after: float
    """Share of unknown tokens after; more tokens with as many unknown make it a little smaller."""


def coverage(old: Tokenizer, new: Trim, texts: Iterable[str]) -> Coverage:
    """Compare a tokenizer with its trim on texts, nothing truncated or padded.

    Args:
        old: the tokenizer that was trimmed.
        new: the trim of the same tokenizer.
        texts: any number; of none every share is 0.
    """
    rows = list(texts)
    before = _encode(plain(old), rows)
    after = _encode(plain(Tokenizer.from_str(json.dumps(new.tokenizer))), rows)
    kept = set(new.kept)
    lost = [sum(index not in kept for index in row) for row in before]
    unknown = family(new.tokenizer).unknown(new.tokenizer["model"])
    unknown_before = None if unknown is None else new.kept[unknown]
    tokens, tokens_after = sum(map(len, before)), sum(map(len, after))
    return Coverage(
        pieces=len(new.kept),
        tokens_kept=_share(len(new.kept), old.get_vocab_size(with_added_tokens=True)),
        texts=len(rows),
        tokens=tokens,
        tokens_after=tokens_after,
        resegmented=_share(sum(lost), tokens),
        touched=_share(sum(n > 0 for n in lost), len(rows)),
        unknown_before=_share(_occurrences(before, unknown_before), tokens),
        unknown_after=_share(_occurrences(after, unknown), tokens_after),
    )


def _encode(tokenizer: Tokenizer, rows: list[str]) -> list[list[int]]:
    encode = tokenizer.encode_batch_fast
    return [row.ids for part in parts(rows) for row in encode(part, add_special_tokens=False)]


def _occurrences(rows: list[list[int]], index: int | None) -> int:
    return sum(row.count(index) for row in rows if index is not None)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
