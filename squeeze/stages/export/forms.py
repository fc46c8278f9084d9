"""The quantized forms, each made from the fp32 graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.data.dataset import Split
from squeeze.graphs import int4, int8, static
from squeeze.graphs.calibration import calibrate
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import Feed
from squeeze.models import tokens
from squeeze.quantization.storage import Quantization
from squeeze.stage import Work
from squeeze.stages.export.stage import ExportConfig, FormName

__all__ = ["Recipe", "calibrated", "convert", "feed", "recipe_of"]


@dataclass(frozen=True)
class Recipe:
    """How one form is made.

    Attributes:
        scales: steps of weights where they were trained; for int8-static also of every input.
        keep: sites that stay in float.
        weight_bits: 8 or 7, of int8 weights.
        table_bits: 8 or 4, of tables that are looked up.
        symmetric: int4 without zero-points, as it was trained; with them it is closer to what was not.
    """

    scales: Scales
    keep: tuple[str, ...] = ()
    weight_bits: int = 8
    table_bits: int = 8
    symmetric: bool = False


def recipe_of(found: Quantization) -> Recipe:
    """The form that the quantize stage trained or calibrated."""
    record = found.record
    return Recipe(found.scales, record.keep, record.weight_bits, record.table_bits, symmetric=True)


def convert(form: FormName, fp32: Path, target: Path, recipe: Recipe) -> None:
    """Write one quantized form.

    Args:
        form: any but fp32.
        fp32: the graph it is made from.
        target: where it goes.
        recipe: how.
    """
    scales, keep, bits, tables = recipe.scales, recipe.keep, recipe.weight_bits, recipe.table_bits
    match form:
        case "int8-dynamic":
            int8.quantize(fp32, target, scales, keep, bits, tables)
        case "int8-static":
            static.quantize(fp32, target, scales, keep, bits, tables)
        case "int4-weight":
            int4.quantize(fp32, target, keep, symmetric=recipe.symmetric, table_bits=tables)
        case "fp32":
            raise ValueError("fp32 is exported, not converted")


def calibrated(fp32: Path, config: ExportConfig, train: Split, tokenizer: Tokenizer, work: Work) -> Scales:
    """Steps of the products' inputs on some training texts, one text a call."""
    settings = config.export
    count = min(settings.calibration_texts, len(train))
    rows = np.random.default_rng(config.seed).choice(len(train), count, replace=False)
    encoded = tokens.encode(tokenizer, [train.texts[row] for row in sorted(rows)])

    with work.progress.task(f"calibrate ({settings.calibration})", count) as advance:

        def feeds() -> Iterator[Feed]:
            for row in range(count):
                yield feed(encoded[row])
                advance(1)

        return calibrate(fp32, feeds(), settings.calibration, work.threads)


def feed(row: NDArray[np.int32]) -> Feed:
    """One text of T tokens as a call's inputs, (1, T) each."""
    ids = row.astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
