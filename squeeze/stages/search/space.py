"""Which students may be chosen: named spaces, their dimensions, and one candidate of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from pydantic import ValidationError

from squeeze.distillation.config import EmbeddingSection, StudentSection
from squeeze.errors import ProfileError
from squeeze.models.shapes import EncoderShape
from squeeze.schema import Frozen
from squeeze.stages.search.stage import Choice, SearchSection

__all__ = [
    "DIMENSIONS",
    "SPACES",
    "Candidate",
    "Space",
    "all_of",
    "embedding_of",
    "extremes",
    "fitting",
    "sample",
    "settings",
    "size",
    "space_of",
]

Space = Mapping[str, tuple[Choice, ...]]

DIMENSIONS = ("layers", "heads", "ffn", "hidden", "embedding", "pieces")

# AutoDistil's heads are 64 wide whatever the hidden width is, while its cost formulas count
# hidden / 12 a head (METHODS of the paper's code): the nets are larger than the paper says. Here a
# carved head keeps its teacher's size, and every cost is counted on the real widths.
SPACES: Mapping[str, Space] = {
    "carve-tiny": {
        "layers": (2, 3, 4),
        "heads": (1, 2, 3, 4, 6),
        "ffn": (96, 192, 288, 384, 576, 768),
        "hidden": (0,),
        "embedding": ("product-32", "product-48", "product-64", "product-96"),
        "pieces": (8_000, 11_000, 14_000, 18_000),
    },
    "carve-small": {
        "layers": (3, 4, 5, 6),
        "heads": (2, 3, 4, 6, 8),
        "ffn": (192, 288, 384, 576, 768, 1152),
        "hidden": (0,),
        "embedding": ("product-64", "product-96", "product-128", "factorised-96"),
        "pieces": (11_000, 14_000, 18_000, 0),
    },
    "tiny": {
        "layers": (4, 5, 6, 7),
        "heads": (7, 8, 9, 10),
        "ffn": (2.0, 2.5, 3.0, 3.5),
        "hidden": (128, 160, 192, 224),
        "embedding": ("dense",),
        "pieces": (0,),
    },
    "small": {
        "layers": (9, 10, 11, 12),
        "heads": (7, 8, 9, 10),
        "ffn": (2.5, 3.0, 3.5, 4.0),
        "hidden": (256, 288, 320, 352),
        "embedding": ("dense",),
        "pieces": (0,),
    },
    "base": {
        "layers": (9, 10, 11, 12),
        "heads": (9, 10, 11, 12),
        "ffn": (2.5, 3.0, 3.5, 4.0),
        "hidden": (544, 576, 608, 640),
        "embedding": ("dense",),
        "pieces": (0,),
    },
}
"""Choices by dimension. `ffn`: neurons, or as a fraction the share of the hidden width; 0 stands for
the teacher's hidden width and for all pieces; `embedding`: kind and its sub-vectors or rank.
`tiny`, `small`, `base`: the sub-spaces of AutoDistil (Xu et al. 2022)."""


class Candidate(Frozen):
    """One point of a space."""

    layers: int
    heads: int
    ffn: int | float
    hidden: int
    embedding: str
    pieces: int

    @property
    def name(self) -> str:
        """Short and unique within a space.

        >>> Candidate(layers=3, heads=4, ffn=384, hidden=0, embedding="product-96", pieces=14000).name
        'L3-A4-F384-H0-product-96-V14000'
        """
        return f"L{self.layers}-A{self.heads}-F{self.ffn:g}-H{self.hidden}-{self.embedding}-V{self.pieces}"


def space_of(search: SearchSection) -> Space:
    """The named space, with the dimensions that the profile lists itself."""
    own = {name: getattr(search, name) for name in DIMENSIONS}
    named = SPACES[search.space]
    return {name: tuple(own[name]) if own[name] is not None else named[name] for name in DIMENSIONS}


def size(space: Space) -> int:
    """How many candidates there are."""
    return prod(len(space[name]) for name in DIMENSIONS)


def fitting(space: Space, teacher: EncoderShape, *, carved: bool) -> Space:
    """The choices that can be made of this teacher.

    Args:
        space: all choices.
        teacher: the first teacher.
        carved: a carved student has no more of anything than its teacher.

    Raises:
        ProfileError: nothing is left of a dimension.
    """
    most = {
        "layers": len(teacher.layers),
        "heads": min(layer.heads for layer in teacher.layers),
        "ffn": min(layer.ffn for layer in teacher.layers),
        "hidden": teacher.hidden,
    }
    left = dict(space)
    for name, limit in most.items() if carved else ():
        # A float counts neurons as a share of a hidden width that is itself a choice: checked one by one.
        left[name] = tuple(value for value in space[name] if isinstance(value, float) or int(value) <= limit)
        if not left[name]:
            raise ProfileError(
                f"[search] {name}: {', '.join(map(str, space[name]))}; the teacher has {limit}",
                hint='choose another space, give the list, or take [student] init = "random"',
            )
    return left


def sample(space: Space, rng: np.random.Generator) -> Candidate:
    """One candidate at random."""
    return Candidate.model_validate(
        {name: space[name][rng.integers(len(space[name]))] for name in DIMENSIONS}
    )


def all_of(space: Space) -> list[Candidate]:
    """Every candidate, in a fixed order."""
    each = product(*(space[name] for name in DIMENSIONS))
    return [Candidate.model_validate(dict(zip(DIMENSIONS, values, strict=True))) for values in each]


def extremes(space: Space) -> list[Candidate]:
    """The extreme candidates: all of them lie between these, but for forms of the table and hidden widths."""
    ends = {name: _ends(space[name]) for name in ("layers", "heads", "ffn", "pieces")}
    rest = {name: tuple(dict.fromkeys(space[name])) for name in ("hidden", "embedding")}
    return all_of({**ends, **rest})


def _ends(values: Sequence[Choice]) -> tuple[Choice, ...]:
    return tuple(dict.fromkeys((min(values, key=float), max(values, key=float))))


def settings(candidate: Candidate, base: StudentSection, hidden: int) -> StudentSection:
    """The `[student]` section of a candidate.

    Args:
        candidate: what was chosen.
        base: the profile's section, which says all that the space does not.
        hidden: the teacher's hidden width.

    Raises:
        ProfileError: no student can be made so.
    """
    width = candidate.hidden or hidden
    neurons = candidate.ffn if isinstance(candidate.ffn, int) else round(candidate.ffn * width)
    pieces = (
        {"trim": True, "pieces": candidate.pieces} if candidate.pieces else {"trim": False, "pieces": None}
    )
    changes: dict[str, Any] = {
        "layers": candidate.layers,
        "heads": candidate.heads,
        "ffn": neurons,
        "hidden": None if width == hidden else width,
        "embedding": embedding_of(candidate.embedding).plain(),
        "vocabulary": {**base.vocabulary.plain(), **pieces},
    }
    try:
        return StudentSection.parse({**base.plain(), **changes})
    except ValidationError as error:  # a share of a width that leaves no neuron, or too many
        raise ProfileError(
            f"[search]: {candidate.name} is no student ({error.errors()[0]['msg']})"
        ) from error


def embedding_of(text: str) -> EmbeddingSection:
    """`dense`, `product-SUBVECTORS` or `factorised-RANK` as a section.

    Raises:
        ProfileError: it is none of these.
    """
    kind, _, number = text.partition("-")
    keys = {"dense": None, "product": "subvectors", "factorised": "rank"}
    known = kind in keys and bool(number) == (keys[kind] is not None)
    if not known or not re.fullmatch("[0-9]{0,6}", number):
        raise ProfileError(
            f"[search] embedding: {text!r} is unknown", hint="dense, product-SUBVECTORS or factorised-RANK"
        )
    try:
        return EmbeddingSection.parse({"kind": kind, **({keys[kind]: int(number)} if number else {})})
    except ValidationError as error:
        limit = error.errors()[0]["msg"]
        raise ProfileError(f"[search] embedding: {text!r}: {keys[kind]}: {limit}") from error
