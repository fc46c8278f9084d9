"""The quantized forms, each made from the fp32 graph."""

from __future__ import annotations

from collections.abc import Iterator
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
from squeeze.stage import Work
from squeeze.stages.export.stage import ExportConfig, ExportSection, FormName

__all__ = ["calibrated", "convert", "feed"]


def convert(form: FormName, fp32: Path, target: Path, scales: Scales, settings: ExportSection) -> None:
    """Write one quantized form.

    Args:
        form: any but fp32.
        fp32: the graph it is made from.
        target: where it goes.
        scales: steps of weights where they were trained; for int8-static also of every input.
        settings: bits and blocks.
    """
    bits = settings.weight_bits
    match form:
        case "int8-dynamic":
            int8.quantize(fp32, target, scales, weight_bits=bits)
        case "int8-static":
            static.quantize(fp32, target, scales, weight_bits=bits)
        case "int4-weight":
            int4.quantize(fp32, target, block=settings.int4_block, table_bits=settings.table_bits)
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
