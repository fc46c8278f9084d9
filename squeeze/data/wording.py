"""How problems with data are put into words: few row numbers, the nearest right name, one error for all."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from squeeze.errors import DataError

__all__ = ["SHOWN", "combine", "listing", "nearest", "rows_text", "same_text", "shown"]

LONGEST = 60
"""How many characters of a name a message shows."""
SHOWN = 5
"""How many row numbers or names a message shows before it only counts."""
AT_ONCE = 256
"""Characters of a word that are normalized at once: to order marks takes the square of their number. A longer
word may miss its other Unicode form where two pieces meet."""


def rows_text(rows: Sequence[int]) -> str:
    """Row numbers as they stand in a message.

    >>> rows_text([7]), rows_text([2, 3, 5, 8, 13, 21, 34])
    ('row 7', 'rows 2, 3, 5, 8, 13 (+2 more)')
    """
    return f"{'row' if len(rows) == 1 else 'rows'} {listing(str(row) for row in rows)}"


def shown(name: str) -> str:
    """A name in quotes, cut where it is long.

    >>> shown("label"), len(shown("x" * 1000))
    ("'label'", 63)
    """
    return repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}…")


def listing(names: Iterable[str]) -> str:
    """The first few names, then how many more there are."""
    every = list(names)
    more = f" (+{len(every) - SHOWN} more)" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def same_text(text: str) -> str:
    """The form in which two texts are compared.

    >>> same_text("  HELP  me ") == same_text("help me")
    True
    """
    words = (
        "".join(unicodedata.normalize("NFKC", word[at : at + AT_ONCE]) for at in range(0, len(word), AT_ONCE))
        for word in text.split()
    )
    return " ".join(" ".join(words).casefold().split())


def nearest(name: str, valid: Iterable[str]) -> str:
    r"""A remark naming the valid name that looks most like this one, or nothing.

    >>> nearest("reqest", ["request", "offer"]), nearest("zzz", ["request"])
    (" (nearest: 'request')", '')
    >>> nearest("caf\u00e9", ["cafe\u0301"])
    " (looks like 'cafe\\u0301', and is spelled 'caf\\xe9')"
    """
    names = [choice[:LONGEST] for choice in valid]
    name = name[:LONGEST]
    twins = [choice for choice in names if choice != name and _looks(choice) == _looks(name)]
    if twins:
        return f" (looks like {twins[0]!a}, and is spelled {name!a})"
    by_folded = {choice.strip().casefold(): choice for choice in names}
    found = get_close_matches(name.strip().casefold(), by_folded, n=1, cutoff=0.6)
    return f" (nearest: {by_folded[found[0]]!r})" if found else ""


def _looks(name: str) -> str:
    """The name without what cannot be seen: Unicode form, and signs of no width such as a byte order mark."""
    plain = unicodedata.normalize("NFKC", name)
    return "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")


def combine(problems: Sequence[str], hint: str = "") -> DataError:
    """One error for all problems; a single one is its own first line."""
    if len(problems) == 1:
        return DataError(problems[0], hint=hint)
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return DataError(f"[data]: {len(problems)} problems, nothing was trained{lines}", hint=hint)
