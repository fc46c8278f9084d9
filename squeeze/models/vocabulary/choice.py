"""Choose the pieces that are worth an embedding row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.data.batches import parts
from squeeze.models.vocabulary.families import Spec, control, family

__all__ = ["choose", "count", "plain"]


def choose(
    spec: Spec, counts: Mapping[int, int] | NDArray[np.integer[Any]], *, frequent: int, min_count: int = 1
) -> frozenset[int]:
    """Ids to keep: those that the task's text uses, the most frequent ones of the language, all specials.

    What is frequent in general is told by the order of the vocabulary itself: id order for WordPiece, merge
    rank for BPE, score for Unigram. Single characters are not among these, since `trim` keeps them anyway.

    Args:
        spec: parsed `tokenizer.json`.
        counts: uses of each old id, as a mapping or (ids,) array such as `count` gives.
        frequent: how many general pieces to keep, >= 0, whether the task's text uses them or not.
        min_count: uses from which a piece counts as used, >= 1.
    """
    used = counts.items() if isinstance(counts, Mapping) else enumerate(counts.tolist())
    always = control(spec)
    general = [index for index in family(spec).ranked(spec["model"]) if index not in always]
    task = {index for index, uses in used if uses >= max(min_count, 1)}
    return frozenset(task | always | set(general[:frequent]))


def count(tokenizer: Tokenizer, texts: Sequence[str]) -> NDArray[np.int64]:
    """How often each id occurs, special tokens around the text and padding left out, nothing truncated.

    Returns:
        (largest id + 1,).
    """
    size = max(tokenizer.get_vocab().values(), default=-1) + 1
    counts = np.zeros(size, dtype=np.int64)
    bare = plain(tokenizer)
    for part in parts(texts):
        encoded = bare.encode_batch_fast(part, add_special_tokens=False)
        ids = np.array([index for row in encoded for index in row.ids], dtype=np.int64)
        counts += np.bincount(ids, minlength=size)
    return counts


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither pads nor truncates."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy
