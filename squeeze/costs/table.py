"""The cost table: latencies of probes on one machine, what the parts cost, and predictions from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from squeeze.costs.model import LIMITS, Probe, bends, features, fit, spilled, weights
from squeeze.costs.request import CostRequest, Form, Stem, inside
from squeeze.models.shapes import EmbeddingShape, EncoderShape
from squeeze.schema import Frozen

__all__ = ["VERSION", "CostTable", "Figures", "Prices", "price"]

VERSION: Final = 4
"""Of the document and of the way it is measured; part of the key under which a table is kept."""


class Figures(Frozen):
    """One probe in one form, as it was measured."""

    probe: int = Field(ge=0)
    """place in the table's probes"""
    form: Form
    ms: tuple[float, ...]
    """by length of the request"""


class Prices(Frozen):
    """What the parts cost on one hidden width in one form, in milliseconds; see squeeze/costs/model.py."""

    hidden: int
    form: Form
    bases: tuple[tuple[float, ...], ...]
    """by stem of this width in the request's order, by length"""
    steps: tuple[tuple[float, ...], ...]
    """by length, by unknown in the order of `features`"""
    limit: float | None
    """millions of weights that the caches hold; None: none was found"""
    spill: tuple[float, ...]
    """by length, of a million weights beyond the limit"""
    worst: float
    """largest relative error on a probe of this width: below what a new student will see"""


class CostTable(Frozen):
    """What every part of a student costs on one machine.

    It answers inside of what it was measured for and raises ValueError elsewhere: latency leaves the
    straight line where caches end and kernels change, so a figure from outside would look
    like the others and be worth less.
    """

    kind: Literal["cost-table"] = "cost-table"
    version: Literal[4] = VERSION
    request: CostRequest
    threads: int = Field(ge=1)
    environment: Mapping[str, Any]
    """machine, system and libraries, and the settings of the measurement"""
    probes: tuple[Probe, ...]
    figures: tuple[Figures, ...]
    prices: tuple[Prices, ...]
    notes: tuple[str, ...] = ()
    """why the figures may not be trusted"""

    @property
    def worst(self) -> float:
        """Largest relative error on a probe."""
        return max(each.worst for each in self.prices)

    def latency_ms(self, shape: EncoderShape, form: str, length: int) -> float:
        """Predicted median latency of one text; see `latencies_ms`."""
        return float(self.latencies_ms(shape, form, (length,))[0])

    def latencies_ms(self, shape: EncoderShape, form: str, lengths: Sequence[int]) -> NDArray[np.float64]:
        """Predicted median latency of one text of each length, in milliseconds.

        Args:
            shape: a student of the space that was measured.
            form: "fp32" or "int8-dynamic".
            lengths: tokens, N of them.

        Returns:
            (N,) milliseconds; straight lines between the lengths that were measured.

        Raises:
            ValueError: something was not measured; what, its value and the limits are named.
        """
        self.request.refuse(shape)
        for length in lengths:
            inside("length", length, self.request.lengths)
        prices = self._prices(shape.hidden, form)
        parts = np.asarray(prices.steps) @ features(self.request, shape.layers)
        beyond = spilled(weights(shape), prices.limit)
        totals = self._base(prices, shape.embedding) + parts + beyond * np.asarray(prices.spill)
        found: NDArray[np.float64] = np.interp(lengths, self.request.lengths, totals)
        return found

    def _prices(self, hidden: int, form: str) -> Prices:
        for prices in self.prices:
            if (prices.hidden, prices.form) == (hidden, form):
                return prices
        known = ", ".join(f"{prices.hidden} {prices.form}" for prices in self.prices)
        raise ValueError(f"hidden width {hidden} in {form}: the table was measured for {known}")

    def _base(self, prices: Prices, embedding: EmbeddingShape) -> NDArray[np.float64]:
        """(lengths,) base of a table of pieces, between those of its kind that were measured."""
        kind, size = _kind(embedding)
        stems = [stem.embedding for stem in self.request.stems if stem.hidden == prices.hidden]
        known = {
            _kind(stem)[1]: base
            for stem, base in zip(stems, prices.bases, strict=True)
            if _kind(stem)[0] == kind
        }
        if not known:
            raise ValueError(
                f"embedding {embedding}: the table was measured for {', '.join(map(str, stems))}"
            )
        sizes = sorted(known)
        inside(f"{embedding.kind} embedding of size", size, sizes)
        return np.array(
            [np.interp(size, sizes, [known[s][n] for s in sizes]) for n in range(len(self.request.lengths))]
        )


def _kind(embedding: EmbeddingShape) -> tuple[tuple[str, int, int], int]:
    """What must agree, and the size that may lie between two measured ones: codes or rank of a row."""
    match embedding.kind:
        case "product":
            return (embedding.kind, embedding.width, embedding.codewords), embedding.subvectors
        case "factorised":
            return (embedding.kind, embedding.width, 0), embedding.rank
        case _:
            return (embedding.kind, embedding.width, 0), 0


def price(
    request: CostRequest, hidden: int, form: Form, probes: Sequence[Probe], ms: NDArray[np.float64]
) -> Prices:
    """Fit the parts of one hidden width in one form.

    Args:
        request: what was asked for.
        hidden: the width.
        form: the form.
        probes: P probes of this width.
        ms: (P, lengths) what they took.
    """
    stems: list[Stem] = [stem for stem in request.stems if stem.hidden == hidden]
    on_stem = np.array([[probe.stem == stem for stem in stems] for probe in probes], dtype=np.float64)
    rows = np.column_stack([on_stem, [features(request, probe.layers) for probe in probes]])
    held = np.array([weights(request.shape(probe.stem, probe.layers)) for probe in probes])
    bent = bends(request)
    bent = np.column_stack([np.zeros((len(bent), len(stems))), bent, np.zeros(len(bent))])
    limit, unknowns = _best(rows, held, ms, bent)
    errors = np.abs(unknowns @ _spilling(rows, held, limit).T / ms.T - 1)
    return Prices(
        hidden=hidden,
        form=form,
        bases=tuple(tuple(base) for base in unknowns[:, : len(stems)].T.tolist()),
        steps=tuple(tuple(steps) for steps in unknowns[:, len(stems) : -1].tolist()),
        limit=limit,
        spill=tuple(unknowns[:, -1].tolist()),
        worst=float(errors.max()),
    )


def _best(
    rows: NDArray[np.float64], held: NDArray[np.float64], ms: NDArray[np.float64], bent: NDArray[np.float64]
) -> tuple[float | None, NDArray[np.float64]]:
    """The limit of the caches that explains all lengths best, and the (lengths, unknowns) that go with it."""
    found: list[tuple[float, float | None, NDArray[np.float64]]] = []
    inner = np.linspace(held.min(), held.max(), LIMITS + 2)[1:-1]
    for limit in (None, *(float(each) for each in inner)):
        full = _spilling(rows, held, limit)
        unknowns = np.array([fit(full, column, bent) for column in ms.T])
        found.append((float(((unknowns @ full.T / ms.T - 1) ** 2).sum()), limit, unknowns))
    _, limit, unknowns = min(found, key=lambda each: each[0])
    return limit, unknowns


def _spilling(
    rows: NDArray[np.float64], held: NDArray[np.float64], limit: float | None
) -> NDArray[np.float64]:
    return np.column_stack([rows, [spilled(each, limit) for each in held]])
