"""Which characters can be reached by segmentations that drift apart."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

__all__ = ["entangled"]


def entangled(
    fragile: AbstractSet[str], bodies: Collection[str], heads: AbstractSet[str] = frozenset()
) -> set[str]:
    """The fragile characters and all that a chain of pieces ties to them.

    Two characters are tied when one piece holds both. Text falls into runs of tied characters; no piece
    crosses from one run into the next, so every segmentation has a boundary there, and what happens in
    one run cannot disturb another.

    Args:
        fragile: characters that some pieces hold but that cannot stand alone.
        bodies: the pieces, as the characters that they cover.
        heads: characters that occur nowhere but at the start of a piece, such as the metaspace. In front
            of them every segmentation has a boundary anyway, so they tie nothing, unless fragile.

    >>> sorted(entangled({"x"}, ["ax", "ab", "cd", "b"]))
    ['a', 'b', 'x']
    """
    ties = [set(body) - (heads - fragile) for body in bodies if len(body) > 1] if fragile else []
    reached = set(fragile)
    while True:
        found = {char for tie in ties if not tie.isdisjoint(reached) for char in tie} - reached
        if not found:
            return reached
        reached |= found
