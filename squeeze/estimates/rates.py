"""How fast a device is at each kind of node, fitted to what was measured there.

    call = overhead of a call + sum over nodes of
           (overhead of its kind + max(operations / rate, bytes / bandwidth))

the roofline of Williams, Waterman and Patterson 2009 with a cost for every node. Its maximum says that
reading and computing overlap; where they do not, the two are added instead, and a fit takes what explains the
samples better. All unknowns are positive; least squares of log(predicted / measured) find them, with a soft
limit on what one bad sample may pull (soft L1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from squeeze.estimates.work import KINDS, PRODUCTS, Kind, Part
from squeeze.schema import Frozen

__all__ = ["Rate", "Rates", "fit", "predict"]

MOST: Final = 1e12
"""Of any rate and overhead; beyond it a sum would not be a number."""
SOFT: Final = 0.1
"""Relative error from which a sample counts less than its square."""
START: Final = {"call_us": 5.0, "node_us": 2.0, "gops": 20.0, "gbytes": 10.0}
"""Where the search begins; a bandwidth that never limits anything stays there."""
ANCHOR: Final = 0.02
"""Weak pull of every unknown to its start, in powers of e, so that those which no sample tells stay put."""


class Rate(Frozen):
    """One kind of node."""

    node_us: float = Field(ge=0, le=MOST)
    """overhead of a node, in microseconds"""
    gops: float | None = Field(default=None, ge=1 / MOST, le=MOST)
    """operations, in thousand millions a second; None: counted by bytes alone"""
    gbytes: float = Field(ge=1 / MOST, le=MOST)
    """bytes read and written, in thousand millions a second"""


class Rates(Frozen):
    """A whole device."""

    call_us: float = Field(ge=0, le=MOST)
    """overhead of a call, in microseconds"""
    overlap: bool = True
    """whether reading and computing overlap, so that the longer of the two counts and not their sum"""
    kinds: Mapping[Kind, Rate]
    """every kind of squeeze/estimates/work.py"""


def predict(rates: Rates, parts: Sequence[Part]) -> float:
    """Milliseconds of one call.

    >>> same = Rate(node_us=1.0, gops=2.0, gbytes=1.0)
    >>> predict(Rates(call_us=10.0, kinds={"product": same}), [Part("product", work=4e6, bytes=1e6)])
    2.011
    """
    total_us = rates.call_us
    for part in parts:
        rate = rates.kinds[part.kind]
        working = part.work / rate.gops if rate.gops else 0.0
        reading = part.bytes / rate.gbytes
        both = max(working, reading) if rates.overlap else working + reading
        total_us += part.nodes * rate.node_us + both / 1e3
    return total_us / 1e3


def fit(calls: Sequence[Sequence[Part]], ms: NDArray[np.float64], weights: NDArray[np.float64]) -> Rates:
    """The rates that explain some calls best, reading and computing overlapped or not.

    Args:
        calls: N calls as their parts; kinds that no call has get the rates of "simple".
        ms: (N,) measured milliseconds, positive.
        weights: (N,) how much each counts.
    """
    tried = [_search(calls, ms, weights, overlap=overlap) for overlap in (True, False)]
    return min(tried, key=lambda each: each[0])[1]


def _search(
    calls: Sequence[Sequence[Part]], ms: NDArray[np.float64], weights: NDArray[np.float64], *, overlap: bool
) -> tuple[float, Rates]:
    """What is left unexplained, and the rates."""
    from scipy.optimize import least_squares

    table = _Table(calls, overlap=overlap)
    start = table.start()

    def residuals(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = weights * np.log(table.predicted(np.exp(logs)) / ms)
        return np.concatenate([errors, ANCHOR * (logs - start)])

    found = least_squares(residuals, start, loss="soft_l1", f_scale=SOFT, method="trf", max_nfev=200)
    return float(found.cost), table.rates(np.exp(found.x))


class _Table:
    """All parts of all calls as columns, for a search that evaluates them thousands of times.

    Unknowns: microseconds of a call, then of a node by kind, then thousand millions a second of bytes by kind
    and of operations by kind of product.
    """

    def __init__(self, calls: Sequence[Sequence[Part]], *, overlap: bool) -> None:
        self.overlap = overlap
        self.count = len(calls)
        rows = [(at, part) for at, parts in enumerate(calls) for part in parts]
        self.seen: list[Kind] = [kind for kind in KINDS if any(part.kind == kind for _, part in rows)]
        self.products: list[Kind] = [kind for kind in self.seen if kind in PRODUCTS]
        self.call = np.array([at for at, _ in rows])
        self.kind = np.array([self.seen.index(part.kind) for _, part in rows])
        self.product = np.array(
            [self.products.index(part.kind) if part.kind in self.products else 0 for _, part in rows]
        )
        self.nodes = np.array([part.nodes for _, part in rows], dtype=np.float64)
        self.work = np.array([part.work for _, part in rows])
        self.bytes = np.array([part.bytes for _, part in rows])

    def start(self) -> NDArray[np.float64]:
        """Logarithms of the unknowns at the beginning."""
        kinds, products = len(self.seen), len(self.products)
        values = [START["call_us"], *[START["node_us"]] * kinds, *[START["gbytes"]] * kinds]
        return np.log([*values, *[START["gops"]] * products])

    def predicted(self, unknowns: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) milliseconds."""
        call_us, node_us, gbytes, gops = self._split(unknowns)
        working = self.work / gops[self.product] if len(gops) else np.zeros_like(self.work)
        reading = self.bytes / gbytes[self.kind]
        both = np.maximum(working, reading) if self.overlap else working + reading
        each_us = self.nodes * node_us[self.kind] + both / 1e3
        total: NDArray[np.float64] = call_us + np.bincount(self.call, each_us, minlength=self.count)
        return total / 1e3

    def rates(self, unknowns: NDArray[np.float64]) -> Rates:
        """The unknowns by name; kinds that were not seen are as fast as sums."""
        call_us, node_us, gbytes, gops = self._split(unknowns)
        found: dict[Kind, Rate] = {
            kind: Rate(
                node_us=float(node_us[at]),
                gbytes=float(gbytes[at]),
                gops=float(gops[self.products.index(kind)]) if kind in self.products else None,
            )
            for at, kind in enumerate(self.seen)
        }
        spare = found.get("simple", Rate(node_us=START["node_us"], gbytes=START["gbytes"]))
        every = {kind: found.get(kind, spare) for kind in KINDS}
        return Rates(call_us=float(call_us), overlap=self.overlap, kinds=every)

    def _split(
        self, unknowns: NDArray[np.float64]
    ) -> tuple[np.float64, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        kinds = len(self.seen)
        return (
            unknowns[0],
            unknowns[1 : 1 + kinds],
            unknowns[1 + kinds : 1 + 2 * kinds],
            unknowns[1 + 2 * kinds :],
        )
