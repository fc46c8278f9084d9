"""Steps of activations for a model that was never rounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.data.dataset import Split
from squeeze.graphs.calibration import calibrate
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import Feed
from squeeze.models import tokens
from squeeze.stage import Work
from squeeze.stages.export.stage import ExportConfig

__all__ = ["calibrated", "feed", "training_feeds"]


def calibrated(fp32: Path, config: ExportConfig, train: Split, tokenizer: Tokenizer, work: Work) -> Scales:
    """Steps of the products' inputs on some training texts, one text a call."""
    texts, method = training_feeds(config, train, tokenizer), config.export.calibration

    with work.progress.task(f"calibrate ({method})", len(texts)) as advance:

        def feeds() -> Iterator[Feed]:
            for each in texts:
                yield each
                advance(1)

        return calibrate(fp32, feeds(), method, work.threads)


def training_feeds(config: ExportConfig, train: Split, tokenizer: Tokenizer) -> list[Feed]:
    """The training texts that ranges are taken from, one a call."""
    count = min(config.export.calibration_texts, len(train))
    rows = np.random.default_rng(config.seed).choice(len(train), count, replace=False)
    encoded = tokens.encode(tokenizer, [train.texts[row] for row in sorted(rows)])
    return [feed(encoded[row]) for row in range(count)]


def feed(row: NDArray[np.int32]) -> Feed:
    """One text of T tokens as a call's inputs, (1, T) each."""
    ids = row.astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
