"""Unigram: the segmentation with the highest sum of scores (Viterbi; Kudo 2018, arXiv:1804.10959).

A character that no single-character piece covers may be passed as unknown, at the lowest score of the
vocabulary less 10 (as `tokenizers` and SentencePiece do). What stays besides the wanted pieces, and why:

- Every single character, the metaspace among them, and every byte piece with `byte_fallback`.
- One piece with the lowest score, because the price of an unknown character hangs on it.
- A character is *fragile* when it occurs in a piece but not alone. Every piece stays that holds a
  character entangled with a fragile one (`entanglement.entangled`).

Argument. Scores do not change, so a best path whose pieces all stay is still a best path; of several, the
search takes the first, which is still the first. For the unknown: every path has boundaries where runs
of entangled characters end, so the best path is the best path of each run. In the run of a fragile
character all pieces stay and nothing changes. In any other run either all characters stand alone, and
nothing is unknown before or after, or the character lies in no piece, and is unknown both times.

Special tokens ("<s>") are cut out before the model sees a text. They and the byte pieces ("<0x0A>") are
spelled with characters that need not stand alone; this makes none fragile, since all of them stay and a
"<" that only they hold is overlapped by no other piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from squeeze.models.vocabulary.entanglement import entangled

__all__ = ["BYTE", "closed", "pieces", "ranked", "rebuilt", "unknown"]

Model = Mapping[str, Any]
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # the pieces that byte_fallback spells unknown characters with


def pieces(model: Model) -> dict[int, str]:
    """Every piece by its id, which is its place in the list."""
    return {index: piece for index, (piece, _) in enumerate(model["vocab"])}


def unknown(model: Model) -> int | None:
    """Id of the unknown token; None where the model has none."""
    found: int | None = model.get("unk_id")
    return found


def ranked(model: Model) -> list[int]:
    """Ids from frequent to rare: by score, a log-probability, from high to low; ties by id.

    Single characters and byte pieces are left out: they stay anyway.
    """
    text = [
        (-score, index)
        for index, (piece, score) in enumerate(model["vocab"])
        if len(piece) > 1 and not _is_byte(model, piece)
    ]
    return [index for _, index in sorted(text)]


def closed(model: Model, wanted: AbstractSet[int], text: Mapping[int, str]) -> set[int]:
    """The wanted ids and all that re-segmentation needs (see the module's argument).

    Args:
        model: the `model` section.
        wanted: ids that stay in any case.
        text: the pieces that ordinary text is made of, by id: all but the special tokens.
    """
    scores = [score for _, score in model["vocab"]]
    spelling = {index for index, piece in text.items() if _is_byte(model, piece)}
    bodies = {piece for index, piece in text.items() if index not in spelling}
    singles = {body for body in bodies if len(body) == 1}
    fragile = {char for body in bodies for char in body} - singles
    heads = {body[0] for body in bodies if body} - {char for body in bodies for char in body[1:]}
    endangered = entangled(fragile, bodies, heads)
    stay = {index for index, piece in text.items() if len(piece) == 1 or not endangered.isdisjoint(piece)}
    cheapest = {scores.index(min(scores))} if scores else set()
    return set(wanted) | spelling | stay | cheapest


def rebuilt(model: Model, renumber: Mapping[int, int]) -> dict[str, Any]:
    """The `model` section with the pieces of `renumber` (old id to new id, in new order) alone."""
    vocab = model["vocab"]
    kept = [vocab[index] for index in renumber if index < len(vocab)]
    unk = unknown(model)
    return {**model, "unk_id": None if unk is None else renumber[unk], "vocab": kept}


def _is_byte(model: Model, piece: str) -> bool:
    return bool(model.get("byte_fallback")) and BYTE.fullmatch(piece) is not None
