"""Where to cut a range before it is rounded to int8: histograms of magnitudes and thresholds on them.

Values beyond the threshold are clipped, values below it become multiples of threshold / 127. A low
threshold rounds finely and clips much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "METHODS",
    "SHARE",
    "Histogram",
    "Method",
    "collect",
    "entropy",
    "minmax",
    "mse",
    "percentile",
    "step",
]

BINS = 2048
LEVELS = 128
"""Magnitudes that symmetric int8 tells apart, 0 among them."""
SHARE = 0.9999
"""Of all values, what `percentile` does not clip."""

Method = Literal["minmax", "percentile", "entropy", "mse"]


@dataclass(frozen=True)
class Histogram:
    """How often magnitudes were seen.

    Attributes:
        counts: (N,) in bins of equal width from 0 to `reach`.
        reach: a power of two: when larger values come, bins are joined in pairs, and the order in which
            values come changes nothing. 0 while nothing but zeros was seen.
        largest: the largest magnitude.
    """

    counts: NDArray[np.int64]
    reach: float
    largest: float

    @property
    def width(self) -> float:
        """Of one bin."""
        return self.reach / len(self.counts)


def collect(seen: Histogram | None, values: NDArray[np.float32]) -> Histogram:
    """A histogram with further values in it.

    Args:
        seen: what there is; None: nothing yet.
        values: any shape, at least one, all finite.
    """
    seen = seen or Histogram(np.zeros(BINS, dtype=np.int64), 0.0, 0.0)
    magnitudes = np.abs(values, dtype=np.float64).ravel()
    largest = max(seen.largest, float(magnitudes.max()))
    reach = 2.0 ** np.ceil(np.log2(largest)) if largest else 0.0
    counts = _joined(seen, reach)
    places = (magnitudes * (len(counts) / (reach or 1.0))).astype(np.int64)
    counts += np.bincount(np.minimum(places, len(counts) - 1), minlength=len(counts))
    return Histogram(counts, reach, largest)


def _joined(seen: Histogram, reach: float) -> NDArray[np.int64]:
    """A histogram's counts in as many bins up to a larger reach."""
    bins = len(seen.counts)
    factor = min(bins, int(reach / seen.reach)) if seen.reach else 1
    counts = np.zeros(bins, dtype=np.int64)
    counts[: bins // factor] = seen.counts.reshape(-1, factor).sum(axis=1)
    return counts


def step(histogram: Histogram, method: Method) -> float:
    """The int8 step of a range by one of the METHODS; 1 where nothing but zeros was seen."""
    threshold = METHODS[method](histogram)
    return threshold / (LEVELS - 1) if threshold else 1.0


def minmax(histogram: Histogram) -> float:
    """The largest magnitude: nothing is clipped."""
    return histogram.largest


def percentile(histogram: Histogram, share: float = SHARE) -> float:
    """The lowest edge of a bin that a share of all values does not exceed."""
    reached = np.cumsum(histogram.counts) >= share * histogram.counts.sum()
    return _edge(histogram, int(np.argmax(reached)) + 1)


def mse(histogram: Histogram) -> float:
    """The edge at which the squared error of rounding and clipping is least, each bin at its middle."""
    seen = np.flatnonzero(histogram.counts)
    if not histogram.reach:
        return 0.0
    middles, counts = (seen.astype(np.float64) + 0.5) * histogram.width, histogram.counts[seen]
    edges = range(1, int(seen[-1]) + 2)
    losses = [float(counts @ _errors(middles, _edge(histogram, edge)) ** 2) for edge in edges]
    return _edge(histogram, edges[int(np.argmin(losses))])


def _errors(values: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.float64]:
    size = threshold / (LEVELS - 1)
    found: NDArray[np.float64] = np.minimum(np.rint(values / size), LEVELS - 1) * size - values
    return found


def entropy(histogram: Histogram) -> float:
    """The edge at which the clipped distribution is told best by 128 levels (least KL divergence).

    After Migacz, "8-bit inference with TensorRT" (GTC 2017): for every threshold the distribution with
    all that is clipped in its last bin is compared with the one below the threshold that is left when
    bins are joined to 128 levels and each level is spread evenly over its bins that are not empty.
    """
    if not histogram.reach:
        return 0.0
    edges = range(LEVELS, len(histogram.counts) + 1)
    counts = histogram.counts.astype(np.float64)
    losses = [_divergence(counts, edge) for edge in edges]
    return _edge(histogram, edges[int(np.argmin(losses))])


def _divergence(counts: NDArray[np.float64], edge: int) -> float:
    """KL of the distribution clipped at an edge from its 128 levels; infinite where they have a gap."""
    clipped = counts[:edge].copy()
    clipped[-1] += counts[edge:].sum()
    starts = np.arange(LEVELS) * edge // LEVELS
    filled = counts[:edge] > 0
    sums, members = np.add.reduceat(counts[:edge], starts), np.add.reduceat(filled.astype(np.int64), starts)
    level = np.repeat(sums / np.maximum(members, 1), np.diff(starts, append=edge))
    spread = np.where(filled, level, 0.0)
    seen = clipped > 0
    if (spread[seen] == 0).any():
        return float("inf")
    p, q = clipped[seen] / clipped.sum(), spread[seen] / spread.sum()
    return float((p * np.log(p / q)).sum())


def _edge(histogram: Histogram, edge: int) -> float:
    """The upper end of the bins below an edge; the last one ends where the values do."""
    return min(edge * histogram.width, histogram.largest)


METHODS: Mapping[Method, Callable[[Histogram], float]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}
