"""Figures as a line of characters, for a terminal: how a measurement went over time, how its samples lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCKS", "SIGNS", "histogram", "readable", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
SIGNS = ".:-=+*#@"
"""the same eight heights where the terminal's encoding has no blocks"""
LEAST_SPAN = 0.1  # of the lowest value: what differs by less than this draws no full height


def readable(encoding: str | None) -> str:
    """The characters that an encoding can write.

    Args:
        encoding: of the terminal; None is taken for UTF-8.

    >>> readable("utf-8") == BLOCKS, readable("ascii") == SIGNS
    (True, True)
    """
    try:
        BLOCKS.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return SIGNS
    return BLOCKS


def sparkline(values: Sequence[float], width: int = 24, heights: str = BLOCKS) -> str:
    """Values in their order, the lowest at the bottom.

    The top is the highest value, or a tenth above the lowest where all lie closer together, so that a steady
    measurement looks flat and not like noise blown up.

    Args:
        values: at least one, all above 0; more than ``width`` are put together by their median.
        width: characters at most.
        heights: from low to high.

    >>> sparkline([1.0, 1.01, 1.0, 2.0], heights="123")
    '1113'
    """
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    shown = np.array([np.median(part) for part in parts])
    low = float(shown.min())
    return _drawn((shown - low) / max(float(shown.max()) - low, LEAST_SPAN * low), heights)


def histogram(
    values: Sequence[float], span: tuple[float, float], width: int = 24, heights: str = BLOCKS
) -> str:
    """How many values lie where; a bin with none is blank, one with few is still seen.

    Args:
        values: at least one; those outside the span are left out.
        span: lower and upper end of the line, the upper one above the lower one.
        width: characters, each of them one bin.
        heights: from low to high.

    >>> histogram([1.0, 1.1, 1.2, 3.9], (1.0, 4.0), width=3, heights="123")
    '3 2'
    """
    counts, _ = np.histogram(np.asarray(values, dtype=np.float64), bins=width, range=span)
    most = max(int(counts.max()), 1)
    drawn = _drawn(counts / most, heights)
    return "".join(sign if count else " " for sign, count in zip(drawn, counts, strict=True))


def _drawn(shares: NDArray[np.float64], heights: str) -> str:
    """One character for each share of the full height, 0..1."""
    return "".join(heights[min(int(share * len(heights)), len(heights) - 1)] for share in shares)
