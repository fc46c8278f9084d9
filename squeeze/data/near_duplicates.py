"""Texts that nearly equal another: candidates by MinHash, verified by the Jaccard similarity of word pairs.

A text is cut at white space into words (Unicode NFKC, case folded, without marks at their ends; every link
is one and the same word). Its shingles are the pairs of neighbouring words. Two texts of at least
`LEAST_WORDS` words nearly equal each other when the Jaccard similarity of their shingles is at least
`THRESHOLD`: one word changed in the middle of eight leaves 5 of 9 shingles, 0.56.

Candidates come from MinHash (Broder 1997) with locality-sensitive hashing: `BANDS` bands of `WIDTH` values
find a pair of similarity s with probability 1 - (1 - s^WIDTH)^BANDS, 0.9995 at 0.56. Text without white
space between its words (Chinese, Japanese, Thai) has too few words to be compared.

The signatures are made by rensa (MIT licence), in Rust: benchmarks/near_duplicates.py compares it with
datasketch, and measures what is found and what is dropped wrongly.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from squeeze.data.wording import same_text
from squeeze.runtime import need

__all__ = ["LEAST_WORDS", "THRESHOLD", "groups", "shingles", "similar_rows", "similarity"]

LEAST_WORDS = 8
"""Texts with fewer words are not compared: one word of few is often all that differs on purpose."""
THRESHOLD = 0.5
"""Jaccard similarity from which two texts nearly equal each other."""
WIDTH, BANDS = 3, 40
ESTIMATE = 0.35
"""Estimated similarity below which a candidate is not verified; at 0.5 one sigma of the estimate is 0.05."""
MOST_TRIED = 20
"""Candidates of one text and band: texts of one template share a band by thousands, and any of them does."""
CHUNK, BATCH, RECENT = 1 << 16, 1 << 10, 64
"""Pairs, and texts, that are worked on at once; texts whose shingles are kept."""
SEED = 1
LINK = re.compile(r"^\W*(?:https?:|www\.)", re.IGNORECASE)
MARKS = re.compile(r"[\W_]*")

Shingles = frozenset[str]


def shingles(text: str) -> Shingles:
    """The pairs of neighbouring words of a text; none for a text of fewer than `LEAST_WORDS` words.

    >>> sorted(shingles("Please send WATER to us, http://t.co/x now thanks"))[:3]
    ['<link> now', 'now thanks', 'please send']
    """
    words = same_text(text).split()
    if len(words) < LEAST_WORDS:
        return frozenset()
    clean = ["<link>" if LINK.match(word) else _bare(word) for word in words]
    return frozenset(f"{left} {right}" for left, right in pairwise(clean))


def _bare(word: str) -> str:
    """A word without marks at its ends, unless it is nothing else.

    Each end is matched from outside: a search for marks before the end takes the square of their number.
    """
    first, last = _marks(word), len(word) - _marks(word[::-1])
    return word[first:last] or word


def _marks(word: str) -> int:
    """How many marks a word begins with."""
    match = MARKS.match(word)
    return match.end() if match else 0


def similarity(left: Shingles, right: Shingles) -> float:
    """Jaccard similarity of two sets, 0 where one is empty."""
    both = len(left & right)
    return both / (len(left) + len(right) - both) if both else 0.0


def similar_rows(rows: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """For each text that nearly equals one of the others: its position, and that of one such text.

    Args:
        rows: N texts.
        others: M texts.

    Raises:
        MissingBackend: rensa is not installed.
    """
    if not rows or not others:
        return {}
    known: dict[int, int] = {}
    for left, right in _near_pairs((*rows, *others), len(rows), lambda left, _: left in known):
        known[left] = right - len(rows)
    return dict(sorted(known.items()))


def groups(texts: Sequence[str], keys: Sequence[str]) -> NDArray[np.int64]:
    """(N,) for each text the first position of those that it is connected to, by near equality or one key.

    Args:
        texts: N texts.
        keys: one for each; texts with one key belong together.

    Raises:
        MissingBackend: rensa is not installed.
    """
    seen: dict[str, int] = {}
    first = [seen.setdefault(key, i) for i, key in enumerate(keys)]

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    for left, right in _near_pairs(texts, None, lambda left, right: root(left) == root(right)):
        one, other = root(left), root(right)
        first[max(one, other)] = min(one, other)
    return np.array([root(i) for i in range(len(texts))], dtype=np.int64)


def _near_pairs(
    texts: Sequence[str], border: int | None, settled: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """Pairs that nearly equal each other and are not settled yet.

    Args:
        texts: N texts.
        border: pairs lie on both sides of this position; None: any two are compared.
        settled: whether a pair need not be compared; it is asked again after every pair.
    """
    kept = lru_cache(maxsize=RECENT)(shingles)  # of few texts: shingles take far more memory than their text
    for left, right in _candidates(texts, border, settled):
        if not settled(left, right) and similarity(kept(texts[left]), kept(texts[right])) >= THRESHOLD:
            yield left, right


def _candidates(
    texts: Sequence[str], border: int | None, settled: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """Pairs that are worth verifying: (below the border, from it on), or any two where there is no border."""
    filled, signatures = _signatures(texts)
    cut = None if border is None else bisect_left(filled, border)
    if len(filled) < 2 or cut in {0, len(filled)}:
        return
    seen: set[int] = set()
    for band in range(BANDS):
        keys = signatures[:, band * WIDTH : (band + 1) * WIDTH]
        fresh = [
            (left, right)
            for left, right in _pairs(keys, cut)
            if left * len(filled) + right not in seen and not settled(filled[left], filled[right])
        ]
        seen.update(left * len(filled) + right for left, right in fresh)
        for start in range(0, len(fresh), CHUNK):
            both = np.array(fresh[start : start + CHUNK], dtype=np.int64)
            near = (signatures[both[:, 0]] == signatures[both[:, 1]]).mean(axis=1) >= ESTIMATE
            yield from ((filled[left], filled[right]) for left, right in both[near].tolist())


def _signatures(texts: Sequence[str]) -> tuple[list[int], NDArray[np.uint32]]:
    """Positions of the texts that have shingles, and (N, WIDTH * BANDS) their MinHash values."""
    filled: list[int] = []
    parts = [np.empty((0, WIDTH * BANDS), dtype=np.uint32)]
    for start in range(0, len(texts), BATCH):
        sets = {start + i: shingles(text) for i, text in enumerate(texts[start : start + BATCH])}
        tokens = {i: sorted(shingle) for i, shingle in sets.items() if shingle}
        if tokens:
            rensa = need("rensa", extra="train")
            filled += tokens
            matrix = rensa.RMinHash.digest_matrix_from_token_sets([*tokens.values()], WIDTH * BANDS, SEED)
            parts.append(np.array(matrix.to_rows(), dtype=np.uint32))
    return filled, np.concatenate(parts)


def _pairs(keys: NDArray[np.uint32], cut: int | None) -> Iterator[tuple[int, int]]:
    """Pairs of rows with one key, at most `MOST_TRIED` a row."""
    order = np.lexsort(keys.T)
    changes = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    edges = np.concatenate([[0], changes, [len(order)]])
    shared = np.flatnonzero(np.diff(edges) > 1)
    for start, end in zip(edges[shared].tolist(), edges[shared + 1].tolist(), strict=True):
        members = np.sort(order[start:end]).tolist()
        if cut is None:
            for place, right in enumerate(members):
                yield from ((left, right) for left in members[max(place - MOST_TRIED, 0) : place])
        else:
            held = bisect_left(members, cut)
            tried = members[held : held + MOST_TRIED]
            yield from ((left, right) for left in members[:held] for right in tried)
