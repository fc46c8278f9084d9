"""The text a student learns from: the training set, text without labels, changed copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.data.augment import augment
from squeeze.data.dataset import Dataset
from squeeze.data.texts import joined
from squeeze.distillation.config import AugmentSection, PoolReport
from squeeze.models import tokens

__all__ = ["UNLABELLED", "Pool", "build"]

UNLABELLED = -1


@dataclass(frozen=True)
class Pool:
    """All texts of a distillation.

    Attributes:
        texts: labelled ones first, then unlabelled ones, then changed copies.
        labels: (N,) label numbers, or (N, K) numbers; -1 or NaN where only the teacher answers.
        report: how many came from where.
    """

    texts: Sequence[str]
    labels: NDArray[Any]
    report: PoolReport

    def rows(self, part: str) -> NDArray[np.int64]:
        """Row numbers of `all`, `labelled` or `unlabelled` text (changed copies have no label either)."""
        if part == "all":
            return np.arange(len(self.texts))
        return np.flatnonzero(_labelled(self.labels) == (part == "labelled"))


def _labelled(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether a row has a label."""
    return np.asarray(labels != UNLABELLED if labels.ndim == 1 else ~np.isnan(labels).any(axis=1))


def build(
    data: Dataset,
    tokenizer_json: dict[str, Any],
    table: NDArray[np.float32],
    settings: AugmentSection,
    max_length: int,
    seed: int,
) -> Pool:
    """Put the pool together.

    Args:
        data: labelled and unlabelled text.
        tokenizer_json: the teacher's, whose pieces are replaced by their neighbours.
        table: (V, E) the teacher's embedding, in which they are neighbours.
        settings: how copies are changed.
        max_length: where texts are cut.
        seed: of the changes.
    """
    train = data.splits["train"]
    # A copy keeps no label: a changed word may change the answer, and the teacher is asked anyway.
    copies = augment(train.texts, tokens.make_tokenizer(tokenizer_json, max_length), table, settings, seed)
    texts = joined(train.texts, data.unlabelled, copies.texts)
    unlabelled = UNLABELLED if train.labels.ndim == 1 else np.nan
    labels = np.full((len(texts), *train.labels.shape[1:]), unlabelled, dtype=train.labels.dtype)
    labels[: len(train.texts)] = train.labels
    report = PoolReport(
        labelled=len(train.texts),
        unlabelled=len(data.unlabelled),
        augmented=len(copies.texts),
        replaced_tokens=copies.replaced_tokens,
        dropped_tokens=copies.dropped_tokens,
        spliced_texts=copies.spliced_texts,
    )
    return Pool(texts, labels, report)
