"""Figures in words. Shares come in percent, times in ms, sizes in units of 1,000,000 bytes."""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "ABSENT",
    "LONGEST",
    "count",
    "cut",
    "megabytes",
    "milliseconds",
    "percent",
    "plain",
    "readable",
    "seconds",
    "signed",
    "things",
    "times",
]

ABSENT = "-"
LONGEST = 2_000
"""Characters of any one text on the page; names and notes of a sound run are far shorter."""
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What HTML forbids, and lone surrogates, which UTF-8 cannot write."""


def readable(value: Any) -> Any:
    """A value as it may stand on a page; markup that we made ourselves passes as it is."""
    if hasattr(value, "__html__") or not isinstance(value, str):
        return value
    return UNREADABLE.sub("\ufffd", cut(value, LONGEST))


def cut(text: str, length: int) -> str:
    """A text of at most this many characters.

    >>> cut("flooded street", 8)
    'flooded…'
    """
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def percent(value: float | None) -> str:
    """A share in percent.

    >>> percent(0.8679), percent(None)
    ('86.8', '-')
    """
    return ABSENT if value is None else f"{100 * value:.1f}"


def plain(value: float | None) -> str:
    """A figure without a unit, to three digits.

    >>> plain(0.51234), plain(None)
    ('0.512', '-')
    """
    return ABSENT if value is None else f"{value:.3f}"


def milliseconds(value: float | None) -> str:
    """A time with three digits that count.

    >>> milliseconds(3.66867), milliseconds(58.92), milliseconds(1234.5)
    ('3.67', '58.9', '1,234')
    """
    if value is None:
        return ABSENT
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def megabytes(value: float | None) -> str:
    """Bytes in units of 1,000,000.

    >>> megabytes(4_949_288)
    '4.95'
    """
    return ABSENT if value is None else f"{value / 1e6:,.{1 if value >= 1e7 else 2}f}"


def count(value: int | None) -> str:
    """A number of things."""
    return ABSENT if value is None else f"{value:,}"


def things(number: int, name: str) -> str:
    """A number with what is counted.

    >>> things(1, "text"), things(2, "text")
    ('1 text', '2 texts')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def times(value: float) -> str:
    """A ratio.

    >>> times(18.36), times(1.523)
    ('18', '1.5')
    """
    return f"{value:,.{0 if value >= 10 else 1}f}"


def seconds(value: float | None) -> str:
    """A duration.

    >>> seconds(0.158), seconds(562.2), seconds(8000)
    ('0.16 s', '9 min 22 s', '2 h 13 min')
    """
    if value is None:
        return ABSENT
    if value < 60:
        return f"{value:.{0 if value >= 10 else 2}f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def signed(value: float, digits: int = 1) -> str:
    """A change with its sign; none at nothing.

    >>> signed(0.42), signed(-1.0), signed(0.01)
    ('+0.4', '-1.0', '0.0')
    """
    said = f"{abs(value):,.{digits}f}"
    if not float(said.replace(",", "")):
        return said
    return f"{'+' if value > 0 else '-'}{said}"
