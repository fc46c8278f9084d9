"""The kinds of tokenizer that can be trimmed, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from squeeze.errors import ProfileError
from squeeze.models.vocabulary import bpe, unigram, wordpiece

__all__ = ["FAMILIES", "Family", "Spec", "control", "family", "kind", "text_pieces"]

Spec = Mapping[str, Any]
"""The parsed content of a `tokenizer.json`."""


@dataclass(frozen=True)
class Family:
    """One kind of tokenizer; every function takes the `model` section first."""

    pieces: Callable[[Spec], dict[int, str]]
    """Every piece by its id."""
    unknown: Callable[[Spec], int | None]
    """Id of the unknown token, if there is one."""
    ranked: Callable[[Spec], list[int]]
    """Ids of the pieces that may go, from frequent to rare."""
    closed: Callable[[Spec, AbstractSet[int], Mapping[int, str]], set[int]]
    """Wanted ids and all that re-segmentation needs, given also the pieces that ordinary text is made of."""
    rebuilt: Callable[[Spec, Mapping[int, int]], dict[str, Any]]
    """The section after the trim, given old id to new id in new order."""


FAMILIES = {
    "BPE": Family(bpe.pieces, bpe.unknown, bpe.ranked, bpe.closed, bpe.rebuilt),
    "Unigram": Family(unigram.pieces, unigram.unknown, unigram.ranked, unigram.closed, unigram.rebuilt),
    "WordPiece": Family(
        wordpiece.pieces, wordpiece.unknown, wordpiece.ranked, wordpiece.closed, wordpiece.rebuilt
    ),
}


def kind(spec: Spec) -> str:
    """The type of the model; old files do not name it, then its keys tell."""
    model = spec["model"]
    if model.get("type"):
        return str(model["type"])
    if "merges" in model:
        return "BPE"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def family(spec: Spec) -> Family:
    """How to trim this tokenizer.

    Raises:
        ProfileError: no method for its type; the message names it and the supported ones.
    """
    found = FAMILIES.get(kind(spec))
    if found is None:
        raise ProfileError(
            f"tokenizer.json: a {kind(spec)} vocabulary cannot be trimmed, only {', '.join(FAMILIES)}",
            hint="keep the whole vocabulary",
        )
    return found


def control(spec: Spec) -> set[int]:
    """Ids that stay whatever happens: added tokens, the unknown token, those that frame and pad a text."""
    added = {int(token["id"]) for token in spec.get("added_tokens") or ()}
    padding = spec.get("padding")
    unk = family(spec).unknown(spec["model"])
    return (
        added
        | _framing(spec.get("post_processor"))
        | ({int(padding["pad_id"])} if padding else set())
        | (set() if unk is None else {unk})
    )


def text_pieces(spec: Spec) -> dict[int, str]:
    """The pieces that ordinary text is made of.

    Special tokens are cut out of a text before the model sees it, unless they ask for word borders
    (`single_word`): then their letters may come to the model as well.
    """
    how = family(spec)
    special = {
        int(token["id"])
        for token in spec.get("added_tokens") or ()
        if token.get("special") and not token.get("single_word")
    }
    old, unk = how.pieces(spec["model"]), how.unknown(spec["model"])
    return {index: piece for index, piece in old.items() if index not in special and index != unk}


def _framing(processor: Spec | None) -> set[int]:
    """Ids that a post-processor puts around a text."""
    if not processor:
        return set()
    inner = [_framing(part) for part in processor.get("processors", ())]
    template = [set(token["ids"]) for token in processor.get("special_tokens", {}).values()]
    ends = {processor[key][1] for key in ("cls", "sep") if key in processor}
    return ends.union(*inner, *template)
