"""In the measuring process: from a text to its label, the tokenizer's time taken apart."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import Corrupt
from squeeze.targets import reading, sessions
from squeeze.targets.inputs import draw_lengths
from squeeze.targets.ort import guarded
from squeeze.targets.subjects import TOKENIZER
from squeeze.targets.usage import preemptions
from squeeze.targets.worker import WARM_SHARE, WARM_TOLERANCE, WARM_WINDOW

__all__ = ["STEPS", "answer"]

STEPS = ("tokenize", "run", "label")
"""Text to arrays; the session's call; logits to the name of the largest."""
BLOCK_CALLS = 20
LEAST_BLOCKS = 10  # what an interval over blocks needs, and a few more

Call = Callable[[str], tuple[str, list[int]]]


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer texts one by one, in blocks of short and long texts alike, until there are enough calls.

    Args:
        request: ``bundle``, a folder; ``texts``, at least one; one model; what a session is opened with;
            ``seed``, ``min_runs``, ``min_seconds`` and ``max_seconds``.
    """
    folder, texts = Path(request["bundle"]), list(request["texts"])
    path = Path(request["models"][0]["path"])
    names = reading.labels(folder / reading.LABELS)
    reader = reading.tokenizer(folder / TOKENIZER, names.max_length)
    call = _call(path, reader, sessions.open_model(path, request), names.labels)
    encoded = [reader.encode(text) for text in texts]
    lengths = [len(each.ids) for each in encoded]
    with guarded(path, "cannot be run"):
        labels = Counter(call(text)[0] for text in texts)
        warm = _warm_up(call, texts, request["max_seconds"] * WARM_SHARE)
        before = preemptions()
        blocks, drawn = _blocks(call, texts, lengths, request)
    return {
        "blocks_ns": blocks,
        "widths": [[lengths[place] for place in block] for block in drawn],
        "labels": dict(labels),
        "cut": sum(bool(each.overflowing) for each in encoded),
        "preemptions": preemptions() - before,
        "warm": warm,
    }


def _call(path: Path, reader: Any, session: Any, names: Sequence[str]) -> Call:
    """One text to its label, with nanoseconds of each of `STEPS`."""
    clock = time.perf_counter_ns

    def call(text: str) -> tuple[str, list[int]]:
        begun = clock()
        values = reading.inputs([reader.encode(text)])
        tokenized = clock()
        logits = session.run(None, values)[0]
        run = clock()
        if logits.shape != (1, len(names)):
            raise Corrupt(
                f"{path}: gives {logits.shape[-1]} outputs, {reading.LABELS} has {len(names)} labels"
            )
        label = names[int(logits[0].argmax())]
        return label, [tokenized - begun, run - tokenized, clock() - run]

    return call


def _warm_up(call: Call, texts: Sequence[str], most_seconds: float) -> bool:
    """Whether two windows of calls of one text, the middle one by length, agreed in time."""
    from squeeze.core.stats import steady

    middle = sorted(texts, key=len)[len(texts) // 2]
    end = time.perf_counter() + most_seconds
    seconds: list[float] = []
    while time.perf_counter() < end:
        seconds.append(sum(call(middle)[1]) / 1e9)
        if steady(seconds, WARM_WINDOW, WARM_TOLERANCE):
            return True
    return False


def _blocks(
    call: Call, texts: Sequence[str], lengths: Sequence[int], request: Mapping[str, Any]
) -> tuple[list[list[list[int]]], list[list[int]]]:
    """Nanoseconds of each step of each call of each block, and which texts were drawn."""
    generator = np.random.default_rng(request["seed"])
    by_length = sorted(range(len(texts)), key=lengths.__getitem__)
    calls = max(1, min(BLOCK_CALLS, -(-request["min_runs"] // LEAST_BLOCKS)))
    end = time.perf_counter() + request["max_seconds"]
    blocks: list[list[list[int]]] = []
    drawn: list[list[int]] = []
    gc.disable()
    while not blocks or (not _enough(blocks, request) and time.perf_counter() < end):
        # Places in the order of length take the part of lengths: a block has short and long texts alike.
        places = draw_lengths(range(len(texts)), calls, 1, generator).ravel().tolist()
        drawn.append([by_length[place] for place in places])
        blocks.append([call(texts[place])[1] for place in drawn[-1]])
    gc.enable()
    return blocks, drawn


def _enough(blocks: Sequence[Sequence[Sequence[int]]], request: Mapping[str, Any]) -> bool:
    runs = sum(map(len, blocks))
    spent = sum(sum(steps) for block in blocks for steps in block)
    return bool(runs >= request["min_runs"] and spent >= request["min_seconds"] * 1e9)
