"""What is quantized and how; light, so that profiles load without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from squeeze.core.rounding import LEAST_WIDTH, WEIGHT_BITS
from squeeze.errors import ProfileError
from squeeze.models.shapes import EncoderShape
from squeeze.models.weights import encoder_products

__all__ = ["Plan", "Scheme", "kept_sites", "sites"]

Scheme = Literal["int8-dynamic", "int8-static", "int4-weight"]


@dataclass(frozen=True)
class Plan:
    """How an encoder is quantized.

    Attributes:
        scheme: `int8-dynamic`: integer products, ranges of activations taken at run time; `int8-static`: the
            same with fixed symmetric ranges; `int4-weight`: weights in blocks of 32 inputs, which the
            runtime rounds to int8 by itself.
        weight_bits: 7 or 8, of int8 weights.
        table_bits: 8: tables with one step a column; 4: the table of pieces in blocks of 32 along its rows.
        learn_steps: whether steps are parameters of the training; else those of weights follow the weights,
            as those of int4 always do.
        keep: sites that stay float.
    """

    scheme: Scheme
    weight_bits: int = WEIGHT_BITS
    table_bits: int = 8
    learn_steps: bool = False
    keep: frozenset[str] = frozenset()


def sites(shape: EncoderShape) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of every product that is quantized, by its name in the graph and in its order.

    Products of fewer than 16 inputs or outputs stay float and are not listed.
    """
    return {
        product.name: product.size
        for product in encoder_products(shape, tokens=1)
        if product.stored and min(product.size) >= LEAST_WIDTH
    }


def kept_sites(wanted: Iterable[str], sites: Mapping[str, object]) -> frozenset[str]:
    """The sites that are meant, by name or by pattern (`layers.2.*`).

    Args:
        wanted: names and patterns.
        sites: all products that can be quantized, by name.

    Raises:
        ProfileError: a pattern meets none of them.

    >>> sorted(kept_sites(["*.up"], {"layers.0.up": 0, "layers.0.down": 0, "layers.1.up": 0}))
    ['layers.0.up', 'layers.1.up']
    """
    found: set[str] = set()
    for pattern in wanted:
        met = {site for site in sites if fnmatchcase(site, pattern)}
        if not met:
            raise ProfileError(
                f'[quantize] keep: "{pattern}" is no product that is quantized',
                hint=f"there are {', '.join(sites)}",
            )
        found |= met
    return frozenset(found)
