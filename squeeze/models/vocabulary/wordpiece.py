"""WordPiece: greedy longest match, left to right; a word that gets stuck is unknown as a whole.

A piece is either initial ("play") or, with the prefix, continuing ("##ing"). What stays besides the
wanted pieces, and why that is enough:

- Every single character, as "c" and as "##c". A piece is *splittable* when its own spelling in single
  characters is in the vocabulary. Pieces that are not splittable stay.
- A character is *fragile* when it occurs in a continuing piece but has no "##c". The trimmed path may
  then arrive in front of it by another way than the old path did, and get stuck. So every piece stays that
  holds a character entangled with a fragile one (`entanglement.entangled`, over the continuing pieces).

Argument. Call w a word and take the old path. If its first piece stays, the new path starts with it too
(it is the longest match among more pieces). If it was dropped, it is splittable and holds no entangled
character, and the new first piece is a shorter beginning of it. Behind the first piece only continuing
pieces matter, each within one run of entangled characters, so both paths have a boundary wherever a run
ends. Within the run of a fragile character all pieces stay: both paths are equal there. In any other run
every character has its "##c", or lies in no continuing piece at all: both paths get through, or both are
stuck. So w is unknown to the new vocabulary exactly when it is to the old one. A path of pieces that all
stay is still the longest match at every step, so it does not change.

The vocabularies of Google's BERT models and those that `tokenizers` trains have no fragile character
but in vocabularies that somebody cut by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from squeeze.models.vocabulary.entanglement import entangled

__all__ = ["closed", "pieces", "ranked", "rebuilt", "unknown"]

Model = Mapping[str, Any]
RESERVED = re.compile(r"\[unused\d+\]")  # rows that BERT's authors left empty for their users


def pieces(model: Model) -> dict[int, str]:
    """Every piece by its id."""
    return {index: piece for piece, index in model["vocab"].items()}


def unknown(model: Model) -> int | None:
    """Id of the unknown token; None where the vocabulary lacks it."""
    found: int | None = model["vocab"].get(model.get("unk_token"))
    return found


def ranked(model: Model) -> list[int]:
    """Ids from frequent to rare: id order, since WordPiece vocabularies are written in that order.

    Single characters (they stay anyway) and the reserved rows of BERT are left out.
    """
    prefix = _prefix(model)
    return [
        index
        for index, piece in sorted(pieces(model).items())
        if len(_body(piece, prefix)) > 1 and not RESERVED.fullmatch(piece)
    ]


def closed(model: Model, wanted: AbstractSet[int], text: Mapping[int, str]) -> set[int]:
    """The wanted ids and all that re-segmentation needs (see the module's argument).

    Args:
        model: the `model` section.
        wanted: ids that stay in any case.
        text: the pieces that ordinary text is made of, by id: all but the special tokens.
    """
    prefix = _prefix(model)
    starts = {piece for piece in text.values() if len(piece) == 1}
    inner = {_body(piece, prefix) for piece in text.values() if _continues(piece, prefix)}
    singles = {body for body in inner if len(body) == 1}
    fragile = {char for body in inner for char in body} - singles
    endangered = entangled(fragile, inner)

    def stays(piece: str) -> bool:
        body = _body(piece, prefix)
        if _continues(piece, prefix):
            splittable = singles.issuperset(body)
        else:
            splittable = body[:1] in starts and singles.issuperset(body[1:])
        return len(body) == 1 or not splittable or not endangered.isdisjoint(body)

    return set(wanted) | {index for index, piece in text.items() if stays(piece)}


def rebuilt(model: Model, renumber: Mapping[int, int]) -> dict[str, Any]:
    """The `model` section with the pieces of `renumber` (old id to new id) alone."""
    old = pieces(model)
    return {**model, "vocab": {old[index]: new for index, new in renumber.items() if index in old}}


def _prefix(model: Model) -> str:
    prefix: str = model.get("continuing_subword_prefix") or ""
    return prefix


def _continues(piece: str, prefix: str) -> bool:
    """Whether a piece can follow another one; a piece that is the bare prefix cannot."""
    return len(piece) > len(prefix) and piece.startswith(prefix)


def _body(piece: str, prefix: str) -> str:
    """The characters of the word that a piece covers."""
    return piece[len(prefix) :] if _continues(piece, prefix) else piece
