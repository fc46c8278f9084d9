"""Cut a tokenizer down to a set of pieces and renumber everything that names an id."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import ProfileError
from squeeze.models.vocabulary.choice import choose
from squeeze.models.vocabulary.families import Spec, control, family, text_pieces

__all__ = ["Trim", "fill", "trim"]


@dataclass(frozen=True)
class Trim:
    """A smaller tokenizer and where its embedding rows come from."""

    tokenizer: dict[str, Any]
    """Content of the new `tokenizer.json`; ids are 0..n-1 in the old order."""
    kept: tuple[int, ...]
    """Old id of every new id, so the new embedding is `table[list(kept)]`, (n, width)."""


def trim(spec: Spec, wanted: AbstractSet[int]) -> Trim:
    """Keep the wanted pieces and what they need; all other text is re-segmented, never lost.

    Besides the wanted ids stay: added, unknown, padding and framing tokens, single characters, bytes, what
    BPE merges pass through, and pieces that single characters cannot replace. Normalizer,
    pre-tokenizer, decoder, truncation and all options are passed on as they are.

    Args:
        spec: parsed `tokenizer.json` with a WordPiece, BPE or Unigram model; not changed.
        wanted: old ids to keep, such as `choose` gives.

    Raises:
        ProfileError: the model type is not supported, or an id is not in the vocabulary.

    >>> vocab = {"[UNK]": 0, "a": 1, "##a": 2, "##b": 3, "##aa": 4, "##ab": 5}
    >>> model = {"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    >>> small = trim({"model": model}, {5})
    >>> small.kept
    (0, 1, 2, 3, 5)
    >>> small.tokenizer["model"]["vocab"]["##ab"]
    4
    """
    how = family(spec)
    model = spec["model"]
    always = control(spec)
    old = how.pieces(model)
    _refuse_strangers(spec, set(old), wanted | always)
    stay = how.closed(model, wanted | always, text_pieces(spec))
    # Added tokens outside the model's vocabulary come last: there the loader numbers them by itself.
    kept = (*sorted(stay & set(old)), *sorted(stay - set(old)))
    renumber = {index: new for new, index in enumerate(kept)}
    return Trim(_renumbered(spec, how.rebuilt(model, renumber), renumber), kept)


def fill(spec: Spec, counts: NDArray[np.integer[Any]], pieces: int, *, min_count: int = 1) -> Trim:
    """The trim of a wanted size: what the task uses, then as many frequent pieces as there is room for.

    Args:
        spec: parsed `tokenizer.json`.
        counts: (ids,) uses of each old id by the task's text.
        pieces: size of the new vocabulary. What the task and closure need is kept even above it.
        min_count: uses from which a piece counts as used.
    """

    def trimmed(frequent: int) -> Trim:
        return trim(spec, choose(spec, counts, frequent=frequent, min_count=min_count))

    # The size rises with the number of frequent pieces, so the largest that fits is found by halving.
    low, high = 0, max(pieces, 0)
    while low < high:
        middle = (low + high + 1) // 2
        if len(trimmed(middle).kept) <= pieces:
            low = middle
        else:
            high = middle - 1
    return trimmed(low)


def _refuse_strangers(spec: Spec, known: AbstractSet[int], named: AbstractSet[int]) -> None:
    added = {int(token["id"]) for token in spec.get("added_tokens") or ()}
    strangers = sorted(named - known - added)
    if strangers:
        raise ProfileError(
            f"tokenizer.json: the vocabulary has no id {strangers[0]}; {len(known | added)} ids are known"
            + (f", {len(strangers)} asked for are not" if len(strangers) > 1 else ""),
            hint="padding, post_processor and the kept ids must name pieces of this tokenizer",
        )


def _renumbered(spec: Spec, model: dict[str, Any], renumber: Mapping[int, int]) -> dict[str, Any]:
    """The file with its new model section; every other place that names an id follows."""
    new = {**spec, "model": model}
    if spec.get("added_tokens"):
        new["added_tokens"] = [{**token, "id": renumber[token["id"]]} for token in spec["added_tokens"]]
    if spec.get("padding"):
        new["padding"] = {**spec["padding"], "pad_id": renumber[spec["padding"]["pad_id"]]}
    if spec.get("post_processor"):
        new["post_processor"] = _reframed(spec["post_processor"], renumber)
    return new


def _reframed(processor: Spec, renumber: Mapping[int, int]) -> dict[str, Any]:
    """A post-processor with its ids renumbered: TemplateProcessing, Bert- and RobertaProcessing, Sequence."""
    new = dict(processor)
    for key in ("cls", "sep"):
        if key in processor:
            new[key] = [processor[key][0], renumber[processor[key][1]]]
    if "special_tokens" in processor:
        new["special_tokens"] = {
            name: {**token, "ids": [renumber[index] for index in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    if "processors" in processor:
        new["processors"] = [_reframed(part, renumber) for part in processor["processors"]]
    return new
