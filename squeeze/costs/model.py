"""The additive model of a student's latency, and its fit to measured probes.

    latency = base + (first, if there is any whole layer)
                   + sum over whole layers (layer + attention(heads) + feed_forward(neurons))
                   + last_attention(heads) + last_feed_forward(neurons)
                   + spill x (weights of all layers beyond what the caches hold)

Base is the session call, the table and the head, with the last layer at its narrowest. The last layer
has costs of its own because it is computed for the first token only; the others are whole. A student of
one layer is faster than the rest of them let expect, and `first` is what it is spared: without that
unknown a first trial (fp32, 32 tokens) predicted students of two layers 8 % too fast, with it 1 %. A model
whose weights stay in the caches from call to call is faster than the sum of its parts in a large one.
Where the caches end is not asked of the machine, since they have other tenants: of some limits the one is
taken with which the probes are explained best.

Each cost is 0 at the first point of its grid, piecewise linear between the points and never falls. All
unknowns are therefore steps >= 0 and the model is linear in them: for each form and length on its own,
least squares of the relative errors without negative steps (Lawson and Hanson 1974) find them. Products
are nearly linear in their widths, so a weak pull towards straight costs keeps noise from moving a rise from
one step to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from squeeze.core.stats import levels
from squeeze.costs.request import CostRequest, Stem
from squeeze.models.shapes import EncoderShape, LayerShape
from squeeze.models.weights import layer_weights
from squeeze.schema import Frozen

__all__ = ["LIMITS", "Probe", "bends", "features", "fit", "levels", "spilled", "weights"]

COUNTS = 2
"""Unknowns of `features` before the steps."""
LIMITS = 12
"""Cache sizes that are tried, evenly spaced between the weights of the smallest and the largest probe."""
STIFFNESS = 0.1
"""Probes are good to about 3 % and slopes of one cost differ by about 30 %: a bend weighs their ratio."""


class Probe(Frozen):
    """An encoder that is measured."""

    stem: Stem
    layers: tuple[LayerShape, ...] = Field(min_length=1)


def features(request: CostRequest, layers: Sequence[LayerShape]) -> NDArray[np.float64]:
    """How often each unknown but the base is in a student.

    Returns:
        (2 + 2 (heads - 1) + 2 (neurons - 1),) for grids of so many points: whether there are whole layers,
        how many, the steps of attention and feed-forward in them, then those of the last layer.
    """
    *whole, last = (
        np.concatenate([_climbed(layer.heads, request.heads), _climbed(layer.ffn, request.neurons)])
        for layer in layers
    )
    steps = np.sum(whole, axis=0) if whole else np.zeros_like(last)
    return np.concatenate([[bool(whole), len(whole)], steps, last])


def weights(shape: EncoderShape) -> float:
    """Millions of values in the matrices of all layers."""
    layers = (layer_weights(shape, index) for index in range(len(shape.layers)))
    return sum(weight.values for layer in layers for weight in layer if weight.kind == "matrix") / 1e6


def spilled(held: float, limit: float | None) -> float:
    """Millions of values beyond a limit; none where there is no limit.

    >>> spilled(3.0, 2.0), spilled(1.0, 2.0), spilled(3.0, None)
    (1.0, 0.0, 0.0)
    """
    return 0.0 if limit is None else max(0.0, held - limit)


def _climbed(value: int, points: Sequence[int]) -> NDArray[np.float64]:
    """(points - 1,) share of each step of a grid that lies below a value."""
    edges = np.asarray(points, dtype=np.float64)
    return np.clip((value - edges[:-1]) / np.diff(edges), 0, 1)


def bends(request: CostRequest) -> NDArray[np.float64]:
    """The differences of neighbouring slopes, as rows on the unknowns of `features`.

    Returns:
        (bends, unknowns); a cost that is straight over its whole grid gives 0, and one whose slopes
        differ by as much as its mean slope gives its whole rise.
    """
    grids = (request.heads, request.neurons) * 2
    rows: list[NDArray[np.float64]] = []
    unknowns = COUNTS + sum(len(points) - 1 for points in grids)
    start = COUNTS
    for points in grids:
        scale = (points[-1] - points[0]) / np.diff(np.asarray(points, dtype=np.float64))
        for place in range(start, start + len(points) - 2):
            row = np.zeros(unknowns)
            row[place], row[place + 1] = scale[place - start], -scale[place + 1 - start]
            rows.append(row)
        start += len(points) - 1
    return np.array(rows).reshape(-1, unknowns)


def fit(
    rows: NDArray[np.float64], latencies: NDArray[np.float64], bent: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The unknowns that explain some latencies best.

    Args:
        rows: (P, U) how often each unknown is in each of P probes.
        latencies: (P,) measured, positive.
        bent: (K, U) rows of `bends`; they are held against the rises that a first fit without them finds.

    Returns:
        (U,) >= 0 in the unit of the latencies, least squares of prediction / latency - 1 and of the bends.
    """
    from scipy.optimize import nnls

    scaled, ones = rows / latencies[:, None], np.ones(len(latencies))
    found, _ = nnls(scaled, ones)
    rises = np.array([_rise(row, bent, found) for row in bent]).reshape(-1, 1)
    soft = STIFFNESS * bent / np.maximum(rises, latencies.min() * STIFFNESS)
    result, _ = nnls(np.vstack([scaled, soft]), np.concatenate([ones, np.zeros(len(bent))]))
    return np.asarray(result, dtype=np.float64)


def _rise(row: NDArray[np.float64], bent: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """How much the cost of a bend rises over its grid: bends that share a step are of one cost."""
    steps = row != 0
    while (grown := steps | (bent[(bent[:, steps] != 0).any(axis=1)] != 0).any(axis=0)).sum() > steps.sum():
        steps = grown
    return float(found[steps].sum())
