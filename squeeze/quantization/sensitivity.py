"""Which products suffer from being rounded, and how many have to stay float."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from squeeze.quantization.encoder import FakeQuantized

__all__ = ["divergence", "float_sites", "ranked"]

Logits = NDArray[np.float32]


def divergence(float_logits: Logits, logits: Logits) -> float:
    """KL(float || rounded) of the answers, mean over texts, in nats.

    >>> divergence(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32))
    0.0
    """
    p, q = (log_softmax(rows.astype(np.float64), axis=1) for rows in (float_logits, logits))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def ranked(model: FakeQuantized, answers: Callable[[], Logits]) -> dict[str, float]:
    """KL of the answers when one product alone is rounded, by site, largest first.

    Args:
        model: in evaluation mode.
        answers: its logits on validation text, as it stands.
    """
    with model.quantizing(()):
        whole = answers()
    found: dict[str, float] = {}
    for site in model.products:
        with model.quantizing({site}):
            found[site] = divergence(whole, answers())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def float_sites(
    order: Sequence[str], lost: Callable[[frozenset[str]], float], floor: float
) -> frozenset[str]:
    """The fewest of the most sensitive products that have to stay float.

    One more at a time, in their order: what is lost need not fall with every one.

    Args:
        order: sites, the most sensitive first.
        lost: primary score that is lost when these sites stay float and all others are rounded.
        floor: the most that may be lost.

    Returns:
        None where nothing is lost without; all of them where nothing else helps.

    >>> sorted(float_sites(["a", "b", "c"], lambda kept: 0.02 - 0.01 * len(kept), floor=0.005))
    ['a', 'b']
    """
    for count in range(len(order)):
        kept = frozenset(order[:count])
        if lost(kept) <= floor:
            return kept
    return frozenset(order)
