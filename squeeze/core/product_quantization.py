"""Product quantization: a big table as one byte for each piece of a row.

Each row is cut into M pieces of H/M values; each piece is replaced by the number of the nearest of
K <= 256 codewords of that position (Jegou, Douze & Schmid 2011, doi:10.1109/TPAMI.2010.57). The table
then costs V*M bytes for codes and K*H values for codebooks. Here the rows may be weighted, by how often
each token occurs, so that what is used most is kept best.

Shapes: V rows, H columns, M sub-vectors, K codewords.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PQ", "decode", "explained", "fit", "foretold"]

Float32: TypeAlias = NDArray[np.float32]
ITERATIONS = 12  # Lloyd steps
CHUNK = 4096  # rows at a time: 4096 x 256 distances are 4 MiB, which stays in cache


class PQ(NamedTuple):
    """A quantized table."""

    codes: NDArray[np.uint8]
    """(V, M) codeword of each piece."""
    codebooks: Float32
    """(M, K, H/M) codewords."""


def fit(
    table: NDArray[np.floating[Any]],
    subvectors: int,
    codewords: int = 256,
    weights: ArrayLike | None = None,
    seed: int = 0,
    iterations: int = ITERATIONS,
) -> PQ:
    """Learn codebooks and codes by weighted k-means, started by k-means++ (Arthur & Vassilvitskii 2007).

    Args:
        table: (V, H) values.
        subvectors: M; must divide H.
        codewords: K, 1..256; with fewer distinct pieces than that some codewords are never used.
        weights: (V,) >= 0, not all 0; None counts every row the same. A row of weight 0 gets codes
            but has no say.
        seed: of the start; the same seed gives the same result.
        iterations: Lloyd steps; each one lowers the weighted error or leaves it.

    >>> pq = fit(np.array([[0.0, 1.0], [0.0, 5.0], [4.0, 1.0], [4.0, 5.0]]), subvectors=2, codewords=2)
    >>> decode(*pq).tolist()
    [[0.0, 1.0], [0.0, 5.0], [4.0, 1.0], [4.0, 5.0]]
    """
    rows, width = _refuse(table, subvectors, codewords)
    weight = _weights(weights, rows)
    pieces = table.astype(np.float32).reshape(rows, subvectors, width)
    codes = np.empty((rows, subvectors), dtype=np.uint8)
    codebooks = np.empty((subvectors, codewords, width), dtype=np.float32)
    for m in range(subvectors):
        rng = np.random.default_rng([seed, m])
        # Distances come from a matrix product, which loses what is small beside a common offset.
        offset = np.average(pieces[:, m], axis=0, weights=weight)
        centres, codes[:, m] = _kmeans(pieces[:, m] - offset, weight, codewords, iterations, rng)
        codebooks[m] = centres + offset
    return PQ(codes, codebooks)


def foretold(
    table: NDArray[np.floating[Any]],
    subvectors: int,
    codewords: int = 256,
    weights: ArrayLike | None = None,
    seed: int = 0,
    rows: int = 8192,
    positions: int = 12,
) -> float:
    """About the share of variance that `fit` would keep, from a part of the work.

    Every position has codebooks of its own, so some of them speak for all; codewords are learned from
    some rows and judged on all of them.

    Args:
        table: (V, H) values.
        subvectors: M; must divide H.
        codewords: K, 1..256.
        weights: as in `fit`.
        seed: as in `fit`; it also draws the rows.
        rows: most rows to learn from.
        positions: most positions to look at, evenly spaced.

    Returns:
        What `explained` gives for the rows as they would be stored, all rows alike.
    """
    count, width = _refuse(table, subvectors, codewords)
    weight = _weights(weights, count)
    some = np.sort(np.random.default_rng(seed).permutation(count)[:rows])
    if not weight[some].any():  # rows that count are rare and none was drawn
        some = np.arange(count)
    lost = total = 0.0
    for m in np.unique(np.linspace(0, subvectors - 1, min(positions, subvectors)).round().astype(int)):
        piece = table[:, m * width : (m + 1) * width].astype(np.float32)
        piece = piece - piece.mean(axis=0)
        rng = np.random.default_rng([seed, int(m)])
        centres, _ = _kmeans(piece[some], weight[some], codewords, ITERATIONS, rng)
        lost += float(_assign(piece, centres)[1].sum(dtype=np.float64))
        total += float(np.square(piece).sum(dtype=np.float64))
    return 1 - lost / total if total else 1.0


def decode(codes: NDArray[np.uint8], codebooks: Float32) -> Float32:
    """Rebuild the table.

    Args:
        codes: (V, M).
        codebooks: (M, K, H/M).

    Returns:
        (V, H).
    """
    picked = codebooks[np.arange(codes.shape[1]), codes]  # (V, M, H/M)
    return picked.reshape(len(codes), -1)


def explained(
    table: NDArray[np.floating[Any]], decoded: NDArray[np.floating[Any]], weights: ArrayLike | None = None
) -> float:
    """Share of the table's variance that is kept: 1 exact, 0 no better than the mean row.

    Args:
        table: (V, H) values.
        decoded: (V, H) their approximation.
        weights: (V,) >= 0, not all 0; None counts every row the same.

    >>> explained(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))
    0.5
    """
    weight = _weights(weights, len(table)).astype(np.float64)
    parts = [slice(start, start + CHUNK) for start in range(0, len(table), CHUNK)]
    mean = sum(weight[part] @ table[part] for part in parts) / weight.sum()
    lost = sum(weight[part] @ _squares(table[part], decoded[part]) for part in parts)
    total = sum(weight[part] @ _squares(table[part], mean) for part in parts)
    if total == 0:
        return 1.0 if lost == 0 else 0.0
    return float(1 - lost / total)


def _squares(exact: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Sum of squared differences by row."""
    found: NDArray[np.float64] = np.square(exact.astype(np.float64) - other).sum(axis=1)
    return found


def _refuse(table: NDArray[np.floating[Any]], subvectors: int, codewords: int) -> tuple[int, int]:
    """Rows of a table and values of one of their pieces, or an error that says what does not fit."""
    rows, width = table.shape
    if subvectors < 1 or width % subvectors:
        raise ValueError(f"subvectors must divide the width {width}, got {subvectors}")
    if not 1 <= codewords <= 256:
        raise ValueError(f"codewords must be 1..256, got {codewords}")
    return rows, width // subvectors


def _weights(weights: ArrayLike | None, rows: int) -> Float32:
    """(V,) float weights of mean 1; refuse what cannot weigh."""
    if weights is None:
        return np.ones(rows, dtype=np.float32)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (rows,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise ValueError(f"need {rows} finite weights, none negative and not all 0, got shape {given.shape}")
    scaled: Float32 = (given / given.mean()).astype(np.float32)
    return scaled


def _kmeans(
    points: Float32, weight: Float32, codewords: int, iterations: int, rng: np.random.Generator
) -> tuple[Float32, NDArray[np.uint8]]:
    """Weighted Lloyd iteration: (K, D) codewords and the (V,) nearest of them to each point."""
    centres = _plus_plus(points, weight, codewords, rng)
    for _ in range(iterations):
        nearest, error = _assign(points, centres)
        centres = _means(points, weight, nearest, centres)
        _reseed(centres, points, weight, nearest, error)
    return centres, _assign(points, centres)[0]


def _assign(points: Float32, centres: Float32) -> tuple[NDArray[np.uint8], Float32]:
    """(V,) nearest centre of each point, the lower number if equal, and its squared distance."""
    nearest = np.empty(len(points), dtype=np.uint8)
    closest = np.empty(len(points), dtype=np.float32)
    offset = np.square(centres).sum(axis=1)
    slope = np.ascontiguousarray(-2 * centres.T)
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        distance = points[part] @ slope  # |x - c|^2 - |x|^2 once the offset is added
        distance += offset
        chosen = distance.argmin(axis=1)
        nearest[part] = chosen
        closest[part] = np.take_along_axis(distance, chosen[:, None], axis=1)[:, 0]
    closest += np.einsum("nd,nd->n", points, points)
    return nearest, closest.clip(min=0)


def _means(points: Float32, weight: Float32, nearest: NDArray[np.uint8], centres: Float32) -> Float32:
    """(K, D) weighted mean of each centre's points; a centre without weight stays where it is."""
    mass = np.bincount(nearest, weights=weight, minlength=len(centres))
    sums = np.stack(
        [
            np.bincount(nearest, weights=weight * column, minlength=len(centres))
            for column in np.ascontiguousarray(points.T)
        ],
        axis=1,
    )
    moved = sums / np.where(mass > 0, mass, 1)[:, None]
    return np.where(mass[:, None] > 0, moved, centres).astype(np.float32)


def _reseed(
    centres: Float32, points: Float32, weight: Float32, nearest: NDArray[np.uint8], error: Float32
) -> None:
    """Move each centre without weight onto one of the points that cost most, in place."""
    empty = np.flatnonzero(np.bincount(nearest, weights=weight, minlength=len(centres)) == 0)
    if not empty.size:
        return
    cost = weight * error
    worst = np.argsort(-cost, kind="stable")[: len(empty)]
    worst = worst[cost[worst] > 0]
    centres[empty[: len(worst)]] = points[worst]


def _plus_plus(points: Float32, weight: Float32, codewords: int, rng: np.random.Generator) -> Float32:
    """(K, D) starting centres, each drawn with chance weight x squared distance to those before it."""
    centres = np.empty((codewords, points.shape[1]), dtype=np.float32)
    distance = np.full(len(points), 1.0, dtype=np.float32)
    for k in range(codewords):
        chance = np.cumsum(weight * distance, dtype=np.float64)
        if chance[-1] == 0:  # every weighted point is a centre already
            chance = np.cumsum(weight, dtype=np.float64)
        drawn = int(np.searchsorted(chance, rng.random() * chance[-1], side="right"))
        centres[k] = points[min(drawn, len(points) - 1)]
        apart = points - centres[k]
        gap = np.einsum("nd,nd->n", apart, apart)
        distance = gap if k == 0 else np.minimum(distance, gap)
    return centres
