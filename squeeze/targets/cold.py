"""In the measuring process: from its own start to a first answer, step by step.

The steps follow one another without a gap, so that they add up to the whole. Their clock is the system's
monotonic one, which parent and child share; the parent reads it just before it starts this process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import Corrupt
from squeeze.targets import sessions
from squeeze.targets.inputs import Feed, feed, first_that_runs, slots
from squeeze.targets.ort import guarded, installed, specs
from squeeze.targets.subjects import TOKENIZER

__all__ = ["STEPS", "answer"]

STEPS = ("process", "import", "tokenizer", "load", "inputs", "first")
"""Start of Python and its modules; ONNX Runtime's import; a bundle's tokenizer with its library; opening the
model; tokenizing the text, or making up inputs; the first inference with the choice of a label."""


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Milliseconds of each of `STEPS`, and how many ids the model takes.

    Args:
        request: ``spawned_ns``, the parent's clock; ``bundle``, a folder or None; ``text``; one model; what
            a session is opened with. A model whose ids are not known is tried with fewer and fewer, which
            spoils the figures: such an answer is good for its bound only.
    """
    stamps = [int(request["spawned_ns"]), time.monotonic_ns()]
    installed("onnxruntime")
    stamps.append(time.monotonic_ns())
    (wanted,) = request["models"]
    reader = None if request["bundle"] is None else _reader(Path(request["bundle"]))
    stamps.append(time.monotonic_ns())
    bound, more = first_that_runs(partial(_run, request, reader), wanted["bound"])
    stamps += more
    spent = np.diff(np.array(stamps, dtype=np.int64)) / 1e6
    return {"bound": bound, "steps": dict(zip(STEPS, spent.tolist(), strict=True))}


def _reader(bundle: Path) -> Any:
    from squeeze.targets import reading

    return reading.tokenizer(bundle / TOKENIZER, reading.labels(bundle / reading.LABELS).max_length)


def _run(request: Mapping[str, Any], reader: Any, bound: int) -> tuple[int, list[int]]:
    """Open, make inputs, run once; the clock after each."""
    path = Path(request["models"][0]["path"])
    session = sessions.open_model(path, request)
    stamps = [time.monotonic_ns()]
    values = _made_up(session, request, bound) if reader is None else _read(reader, request["text"])
    if sorted(values) != sorted(spec.name for spec in specs(session)):
        raise Corrupt(f"{path}: a bundle's model takes attention_mask, input_ids")
    stamps.append(time.monotonic_ns())
    with guarded(path, "cannot be run"):
        found = session.run(None, values)
    if reader is not None:
        found[0][0].argmax()
    stamps.append(time.monotonic_ns())
    return bound, stamps


def _read(reader: Any, text: str) -> Feed:
    from squeeze.targets import reading

    return dict(reading.inputs([reader.encode(text)]))


def _made_up(session: Any, request: Mapping[str, Any], bound: int) -> Feed:
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    filled = slots(specs(session), shapes, 1)
    return feed(filled, request["lengths"], bound, np.random.default_rng(request["seed"]))
