"""The quantized forms of a graph, each made from its fp32 file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squeeze.core.rounding import WEIGHT_BITS
from squeeze.graphs import int4, int8, static
from squeeze.graphs.int4 import BLOCK
from squeeze.graphs.scales import Scales
from squeeze.quantization.plan import Scheme
from squeeze.quantization.storage import Quantization

__all__ = ["Recipe", "convert", "recipe_of"]


@dataclass(frozen=True)
class Recipe:
    """How one form is made.

    Attributes:
        scales: steps of weights where they were trained; for int8-static also of every input.
        keep: sites that stay in float.
        weight_bits: 7 or 8, of int8 weights.
        table_bits: 8 or 4, of tables that are looked up.
        block: inputs that share a step of int4 weights.
    """

    scales: Scales
    keep: tuple[str, ...] = ()
    weight_bits: int = WEIGHT_BITS
    table_bits: int = 8
    block: int = BLOCK


def recipe_of(found: Quantization) -> Recipe:
    """The form that the quantize stage trained or calibrated."""
    record = found.record
    return Recipe(found.scales, record.keep, record.weight_bits, record.table_bits)


def convert(scheme: Scheme, fp32: Path, target: Path, recipe: Recipe) -> None:
    """Write one quantized form.

    Args:
        scheme: which.
        fp32: the graph it is made from.
        target: where it goes.
        recipe: how.
    """
    scales, keep, bits, tables = recipe.scales, recipe.keep, recipe.weight_bits, recipe.table_bits
    match scheme:
        case "int8-dynamic":
            int8.quantize(fp32, target, scales, keep, bits, tables)
        case "int8-static":
            static.quantize(fp32, target, scales, keep, bits, tables)
        case "int4-weight":
            int4.quantize(fp32, target, keep, block=recipe.block, table_bits=tables)
