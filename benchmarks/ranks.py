"""How well a score orders models: rank correlation over all, and choices among those of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["agreement", "combined", "correlation", "near"]

DRAWS = 2_000  # of the bootstrap
Floats = NDArray[np.float64]


def correlation(score: Sequence[float], quality: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Kendall's tau-b and Spearman's rho with 95 % intervals, and the p of tau = 0.

    Intervals are percentiles over resampled models; p is exact up to 33 models without ties. A score
    that is the same for all models orders none: all of it is None.

    >>> found = correlation([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5])
    >>> round(found["tau"]["value"], 3), round(found["p"], 4)
    (0.867, 0.0167)
    """
    x, y = np.asarray(score, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if len(set(x)) < 2 or len(set(y)) < 2:
        empty = {"value": None, "low": None, "high": None}
        return {"tau": empty, "rho": empty, "p": None}
    return {
        "tau": _interval(x, y, lambda a, b: float(stats.kendalltau(a, b).statistic), seed),
        "rho": _interval(x, y, lambda a, b: float(stats.spearmanr(a, b).statistic), seed),
        "p": float(stats.kendalltau(x, y).pvalue),
    }


def agreement(
    score: Sequence[float], quality: Sequence[float], size: Sequence[float], within: float
) -> dict[str, Any]:
    """Of pairs of models of about one size, how often the better one scores higher; ties count half.

    Args:
        score: by model, higher is better.
        quality: by model; pairs of equal quality are left out.
        size: by model, above 0.
        within: largest difference of size, as a share of the smaller one.

    >>> agreement([1, 2, 0], [0.8, 0.9, 0.5], [100, 104, 300], within=0.1)
    {'pairs': 1, 'right': 1.0}
    """
    x, y, n = (np.asarray(values, dtype=np.float64) for values in (score, quality, size))
    first, second = np.triu_indices(len(x), 1)
    near = np.abs(n[first] - n[second]) <= within * np.minimum(n[first], n[second])
    kept = near & (y[first] != y[second])
    signs = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    right = float(((signs[kept] + 1) / 2).mean()) if kept.any() else None
    return {"pairs": int(kept.sum()), "right": right}


def combined(scores: Sequence[Mapping[str, float]], weights: Mapping[str, float]) -> list[float]:
    """The weighted sum of standardised scores, by model: what a search calls worth.

    >>> combined([{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 5.0}], {"a": 2.0, "b": 1.0})
    [-2.0, 2.0]
    """
    total = np.zeros(len(scores))
    for name, weight in weights.items():
        values = np.array([each[name] for each in scores])
        total += weight * (values - values.mean()) / (values.std() or 1.0)
    return [float(value) for value in total]


def near(size: Sequence[float], place: int, within: float) -> list[int]:
    """Places of the other models of about the size of one of them.

    >>> near([100, 109, 92, 150], 0, within=0.1)
    [1, 2]
    """
    return [
        other
        for other, value in enumerate(size)
        if other != place and abs(value - size[place]) <= within * min(value, size[place])
    ]


def _interval(x: Floats, y: Floats, measure: Callable[[Floats, Floats], float], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        rows = rng.integers(len(x), size=len(x))
        if len(set(x[rows])) > 1 and len(set(y[rows])) > 1:  # else there is nothing to order
            drawn.append(measure(x[rows], y[rows]))
    low, high = (float(value) for value in np.quantile(drawn, (0.025, 0.975)))
    return {"value": measure(x, y), "low": low, "high": high}
