"""Byte-pair encoding: symbols are merged by a ranked list (Sennrich et al. 2016, arXiv:1508.07909).

A word starts as its characters, each with the continuing prefix but the first, the last with the
end-of-word suffix; at every step the adjacent pair of the lowest rank is merged, the leftmost first. What
stays besides the wanted pieces, and why:

- Every single symbol, in all its forms, and every byte piece with `byte_fallback`. A character is unknown
  when it has no symbol and no bytes, so exactly the same characters are unknown before and after.
- The symbols on the way from the characters of a kept piece to the piece (its *canonical path*).
- With `ignore_merges` a word that is a piece is taken whole, even where its characters are unknown: such
  a piece stays when its characters cannot spell it.

A merge stays when both parts and its result stay, in the old order.

Argument for text whose old tokens all stay. No merge crosses the border of a final token, so the
merges within it are those of the token alone: its canonical path, which stays. At each step the old
choice is still there and nothing of a lower rank was added, so it is the new choice too; at the end no
merge is left, as none was left among more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from squeeze.models.vocabulary.unigram import BYTE
from squeeze.models.vocabulary.wordpiece import pieces, unknown

__all__ = ["closed", "pieces", "ranked", "rebuilt", "unknown"]

Model = Mapping[str, Any]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Rules:
    """What decides how a word is merged."""

    vocab: Mapping[str, int]
    merges: tuple[Pair, ...]
    ranks: Mapping[Pair, int]
    prefix: str
    suffix: str
    byte_fallback: bool

    def joined(self, pair: Pair) -> str:
        """The piece that a merge makes; the prefix of the second part goes."""
        return pair[0] + pair[1][len(self.prefix) :]


def ranked(model: Model) -> list[int]:
    """Ids from frequent to rare: by the rank of the first merge that makes the piece.

    Merges are learned from frequent to rare. Pieces that no merge makes (single symbols, which stay
    anyway) are left out.
    """
    rules = _rules(model)
    made = dict.fromkeys(rules.joined(pair) for pair in rules.merges)
    return [rules.vocab[piece] for piece in made if piece in rules.vocab]


def closed(model: Model, wanted: AbstractSet[int], text: Mapping[int, str]) -> set[int]:
    """The wanted ids and all that merging needs (see the module's argument).

    Args:
        model: the `model` section.
        wanted: ids that stay in any case.
        text: the pieces that ordinary text is made of, by id: all but the special tokens.
    """
    rules = _rules(model)
    old = pieces(model)
    kept = set(wanted) | {index for index, piece in text.items() if _basic(rules, piece)}
    if model.get("ignore_merges"):
        kept |= {index for index, piece in text.items() if not _spelled(rules, piece)}
    parents = _parents(rules)
    paths = [_path(rules, parents, old[index]) for index in kept if index in old]
    return kept | {rules.vocab[piece] for path in paths for piece in path}


def rebuilt(model: Model, renumber: Mapping[int, int]) -> dict[str, Any]:
    """The `model` section with the pieces of `renumber` (old id to new id) and the merges among them."""
    old = pieces(model)
    vocab = {old[index]: new for index, new in renumber.items() if index in old}
    rules = _rules(model)
    merges = [
        written  # in the form it came in: "a b" or ["a", "b"]
        for written, pair in zip(model["merges"], rules.merges, strict=True)
        if pair[0] in vocab and pair[1] in vocab and rules.joined(pair) in vocab
    ]
    return {**model, "vocab": vocab, "merges": merges}


def _rules(model: Model) -> Rules:
    merges = tuple(_pair(written) for written in model["merges"])
    return Rules(
        vocab=model["vocab"],
        merges=merges,
        ranks={pair: rank for rank, pair in enumerate(merges)},
        prefix=model.get("continuing_subword_prefix") or "",
        suffix=model.get("end_of_word_suffix") or "",
        byte_fallback=bool(model.get("byte_fallback")),
    )


def _pair(written: str | list[str]) -> Pair:
    first, second = written.split(" ") if isinstance(written, str) else written
    return first, second


def _readings(rules: Rules, piece: str) -> Iterator[tuple[str, bool, bool]]:
    """Every way to read a piece: the characters it covers, does it continue a word, does it end one."""
    for continues in {False, bool(rules.prefix) and piece.startswith(rules.prefix)}:
        for ends in {False, bool(rules.suffix) and piece.endswith(rules.suffix)}:
            start = len(rules.prefix) if continues else 0
            body = piece[start : len(piece) - len(rules.suffix) if ends else None]
            if body:
                yield body, continues, ends


def _symbols(rules: Rules, body: str, *, continues: bool, ends: bool) -> list[str]:
    """What a word, or a part of one, starts as."""
    symbols = [rules.prefix * (continues or place > 0) + char for place, char in enumerate(body)]
    return [*symbols[:-1], symbols[-1] + rules.suffix * ends]


def _basic(rules: Rules, piece: str) -> bool:
    """Whether a piece is a single symbol or a byte."""
    is_byte = rules.byte_fallback and BYTE.fullmatch(piece) is not None
    return is_byte or any(len(body) == 1 for body, _, _ in _readings(rules, piece))


def _spelled(rules: Rules, word: str) -> bool:
    """Whether each symbol of a whole word is known, by itself or by its bytes."""
    return all(
        symbol in rules.vocab
        or (rules.byte_fallback and all(f"<0x{byte:02X}>" in rules.vocab for byte in symbol.encode()))
        for symbol in _symbols(rules, word, continues=False, ends=True)
    )


def _path(rules: Rules, parents: Mapping[str, list[Pair]], piece: str) -> set[str]:
    """The symbols from which a piece is merged, itself included.

    Where merging its characters does not give the piece, no ordinary text does either, but byte pieces
    might: then every way to make it counts.
    """
    if piece not in parents:
        return {piece}
    found: set[str] = set()
    for body, continues, ends in _readings(rules, piece):
        symbols = _symbols(rules, body, continues=continues, ends=ends)
        if all(symbol in rules.vocab for symbol in symbols):
            seen, final = _merged(rules, symbols)
            found |= seen if final == [piece] else set()
    return found or _ancestors(parents, piece)


def _merged(rules: Rules, symbols: list[str]) -> tuple[set[str], list[str]]:
    """Merge to the end: every symbol on the way, and those that are left."""
    seen = set(symbols)
    while True:
        pairs = list(pairwise(symbols))
        options = [(rules.ranks[pair], place) for place, pair in enumerate(pairs) if pair in rules.ranks]
        if not options:
            return seen, symbols
        _, place = min(options)
        new = rules.joined(pairs[place])
        seen.add(new)
        symbols = [*symbols[:place], new, *symbols[place + 2 :]]


def _parents(rules: Rules) -> Mapping[str, list[Pair]]:
    """For every piece that merges make, the pairs that make it."""
    parents: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in rules.merges:
        parents[rules.joined(pair)].append(pair)
    return dict(parents)


def _ancestors(parents: Mapping[str, list[Pair]], piece: str) -> set[str]:
    found: set[str] = set()
    waiting = [piece]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += [part for pair in parents.get(current, []) for part in pair]
    return found
