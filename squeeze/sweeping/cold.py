"""From nothing to a first answer: fresh processes with and without the model in the page cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from squeeze.core.stats import quantile
from squeeze.progress import Progress
from squeeze.sweeping.asking import answer, reads_text
from squeeze.sweeping.options import SweepOptions
from squeeze.sweeping.records import Cold, Start
from squeeze.targets import pages
from squeeze.targets.cold import STEPS
from squeeze.targets.measurement import Estimate
from squeeze.targets.subjects import TOKENIZER, Subject, external_weights

__all__ = ["cold", "summary"]

State = Literal["cold", "warm"]
KEPT = 0.01  # of the files; less in memory makes no start warm
UNKNOWN = "the page cache of this system cannot be told to forget a file: warm starts only"


def cold(subject: Subject, text: str, options: SweepOptions, progress: Progress) -> Cold:
    """Start processes in pairs, one cold and one warm, in random order.

    A first start is not counted. It finds out how many ids the model takes, and brings Python, the libraries
    and their compiled modules into memory: cold is the model with its tokenizer, not the whole system.

    Args:
        subject: the model; one of a bundle answers a text, another gets made-up inputs of the first length.
        text: what a bundle answers.
        options: threads, repeats, seed.
        progress: told of each start.

    Raises:
        SqueezeError: the model cannot be run.
    """
    folder = subject.path.parent if subject.form and reads_text(subject.path.parent) else None
    files = [subject.path, *external_weights(subject.path), *([folder / TOKENIZER] if folder else ())]
    known: dict[str, Any] = {"bundle": folder and str(folder.resolve()), "text": text}
    known["lengths"] = options.sequence[0] and [options.sequence[0]]
    asked = {
        **known,
        "models": [{"path": str(subject.path.resolve()), "bound": _bound(subject, known, options)}],
    }
    starts = []
    order = tuple(_order(options, able=pages.can_drop()))
    with progress.task("start", len(order)) as advance:
        for state in order:
            held = _prepare(files, state)
            steps = answer("cold", subject, options, **asked, spawned_ns=time.monotonic_ns())["steps"]
            starts.append(Start(state=state, steps_ms=steps, resident_bytes=held))
            advance(1, note=state)
    return summary(files, starts, options.confidence)


def summary(files: Sequence[Path], starts: Sequence[Start], confidence: float) -> Cold:
    """Figures of starts that were made.

    Args:
        files: whose pages were dropped before the cold ones.
        starts: one of each state after the other, in pairs, or warm ones only.
        confidence: of the intervals.
    """
    by_state = {
        state: [each for each in starts if each.state == state]
        for state in ("cold", "warm")
        if any(each.state == state for each in starts)
    }
    size = sum(path.stat().st_size for path in files)
    paired = zip(by_state.get("cold", ()), by_state["warm"], strict=False)
    ratios = [one.total_ms / other.total_ms for one, other in paired]
    return Cold(
        files=tuple(path.name for path in files),
        file_bytes=size,
        starts=tuple(starts),
        figures={
            state: {
                step: _estimate([_step(each, step) for each in found], confidence)
                for step in (*STEPS, "total")
            }
            for state, found in by_state.items()
        },
        ratio=_estimate(ratios, confidence) if ratios else None,
        notes=tuple(_notes(by_state.get("cold", ()), size)),
    )


def _notes(found: Sequence[Start], size: int) -> Iterator[str]:
    if not found:
        yield UNKNOWN
        return
    kept = [each.resident_bytes for each in found if each.resident_bytes > size * KEPT]
    if kept:
        yield (
            f"{median(kept) / 1e6:.3g} of {size / 1e6:.3g} MB stayed in the page cache before {len(kept)} of "
            f"{len(found)} cold starts (another process holds the files?): these were not cold"
        )


def _bound(subject: Subject, known: dict[str, Any], options: SweepOptions) -> int:
    """How many ids the model takes, from a start that is not counted."""
    return int(answer("cold", subject, options, **known, spawned_ns=time.monotonic_ns())["bound"])


def _order(options: SweepOptions, *, able: bool) -> Iterator[State]:
    """Pairs of states, each in random order."""
    generator = np.random.default_rng(options.seed)
    for _ in range(options.repeats):
        if able:
            yield from ("cold", "warm") if generator.random() < 0.5 else ("warm", "cold")
        else:
            yield "warm"


def _prepare(files: Sequence[Path], state: State) -> int:
    """Bring the page cache into a state; returns how many bytes of the files it holds then."""
    for path in files:
        if state == "cold":
            pages.drop(path)
        else:
            pages.fill(path)
    return sum(pages.resident(path) for path in files) if pages.can_drop() else 0


def _step(start: Start, step: str) -> float:
    return start.total_ms if step == "total" else start.steps_ms[step]


def _estimate(values: Sequence[float], confidence: float) -> Estimate:
    return Estimate(**quantile(values, 0.5, confidence).plain())
