"""From text to label with a bundle: what a user waits for, tokenizer included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import DataError, UsageError
from squeeze.progress import Progress
from squeeze.schema import is_text
from squeeze.sweeping.asking import answer, reads_text
from squeeze.sweeping.options import SweepOptions
from squeeze.sweeping.records import Texts
from squeeze.targets.measurement import LengthSummary
from squeeze.targets.noise import PREEMPTION_LIMIT
from squeeze.targets.quantiles import estimate
from squeeze.targets.subjects import Subject
from squeeze.targets.texts import STEPS

__all__ = ["BUILTIN", "builtin", "checked", "summary", "time_texts"]

BUILTIN = "builtin"
SHARES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95}
SHOWN = 60  # characters of a text that fit on one line


def builtin() -> tuple[str, ...]:
    """Messages of several lengths, written for this; speed only, they are nobody's data."""
    path = Path(__file__).with_name("texts.txt")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def checked(texts: Sequence[str], source: str) -> tuple[str, ...]:
    """Texts that a bundle can answer.

    Raises:
        DataError: none, or one that is empty or no UTF-8.
    """
    if not texts:
        raise DataError(f"{source}: no texts")
    for line, text in enumerate(texts, start=1):
        if not text.strip():
            raise DataError(f"{source}: line {line} is empty")
        if not is_text(text):
            raise DataError(f"{source}: line {line} is not UTF-8: {text[:SHOWN]!r}")
    return tuple(texts)


def time_texts(
    subject: Subject, texts: Sequence[str], source: str, options: SweepOptions, progress: Progress
) -> Texts:
    """Time texts one by one, with as many threads as the first of the options has.

    Args:
        subject: a form of a bundle.
        texts: as `checked` gives them.
        source: what reports say of their origin.
        options: threads, runs, seconds, seed.
        progress: told once.

    Raises:
        UsageError: no bundle.
        StageFailed: its labels, tokenizer and model do not fit together.
    """
    folder = subject.path.parent
    if subject.form is None or not reads_text(folder):
        raise UsageError(f"{subject.name}: --texts needs a bundle, with its tokenizer and labels")
    progress.log(
        f"timing {len(texts)} texts for up to {options.max_seconds:.0f} s; nothing is drawn meanwhile"
    )
    found = answer(
        "texts",
        subject,
        options,
        bundle=str(folder.resolve()),
        texts=list(texts),
        min_runs=options.min_runs,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
    )
    return summary(found, len(texts), source, options)


def summary(found: Mapping[str, Any], count: int, source: str, options: SweepOptions) -> Texts:
    """Figures of an answer of the measuring process.

    Args:
        found: see squeeze/targets/texts.py.
        count: texts.
        source: where they came from.
        options: what was asked for.
    """
    blocks = [np.array(block, dtype=np.float64) / 1e6 for block in found["blocks_ns"]]
    columns = dict(enumerate(STEPS))
    steps = {name: [block[:, column] for block in blocks] for column, name in columns.items()}
    steps["total"] = [block.sum(axis=1) for block in blocks]
    whole = np.concatenate(blocks)
    return Texts(
        source=source,
        texts=count,
        cut=found["cut"],
        runs=len(whole),
        sequence=LengthSummary.of([width for block in found["widths"] for width in block]),
        labels=found["labels"],
        figures={name: _figures(each, options.confidence) for name, each in steps.items()},
        tokenizer_share=float(whole[:, 0].sum() / whole.sum()),
        samples_ms={name: tuple(whole[:, column].tolist()) for column, name in columns.items()},
        block_widths=tuple(map(tuple, found["widths"])),
        preemptions=found["preemptions"],
        notes=tuple(_notes(found, len(whole), options)),
    )


def _figures(blocks: Sequence[NDArray[np.float64]], confidence: float) -> dict[str, Any]:
    lists = [block.tolist() for block in blocks]
    return {name: estimate(lists, share, confidence) for name, share in SHARES.items()}


def _notes(found: Mapping[str, Any], runs: int, options: SweepOptions) -> Iterator[str]:
    if found["preemptions"] > runs * PREEMPTION_LIMIT:
        yield f"another program took the core {found['preemptions']} times in {runs} calls"
    if not found["warm"]:
        yield "not steady when the warm-up ended; raise --max-seconds"
    if runs < options.min_runs:
        yield f"stopped after {runs} calls, before the {options.min_runs} that were asked for"
