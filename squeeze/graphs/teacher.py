"""A teacher of a run as an ONNX file, and its calls in PyTorch where no file of it can be made."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from squeeze.graphs import lean
from squeeze.models import conversion
from squeeze.models.teacher import load_classifier
from squeeze.runtime import usable_memory

__all__ = ["calls_ms", "export", "weight_bytes"]

MOST_BYTES = 2_000_000_000  # of an ONNX file in one piece
COPIES = 6  # of the weights, which loading and exporting hold at once; 5.4 measured for BERT-base


def weight_bytes(folder: Path) -> int:
    """Size of a teacher's weights on disk."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def export(folder: Path, path: Path) -> int | None:
    """Write the fp32 ONNX file of a teacher.

    Args:
        folder: of one member, as the teacher stage has written it.
        path: where the file goes.

    Returns:
        The size of its vocabulary; None where no file can be made, or not in the memory that is free.
    """
    size = weight_bytes(folder)
    if size > MOST_BYTES or size * COPIES > usable_memory():
        return None
    encoder = conversion.read(_load(folder))
    try:
        lean.export(encoder, path, lean.OPSET)
    except torch.onnx.OnnxExporterError:
        return None
    return encoder.shape.vocabulary


def calls_ms(folder: Path, lengths: Sequence[int], batch: int, threads: int, seed: int) -> list[float]:
    """Time calls of the teacher as it is, in this process, on random pieces.

    Args:
        folder: as `export`.
        lengths: tokens of each call.
        batch: texts a call.
        threads: that PyTorch may use meanwhile.
        seed: of the pieces.

    Returns:
        Milliseconds of each call.
    """
    model, generator = _load(folder), np.random.default_rng(seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [_call_ms(model, length, batch, generator) for length in lengths]
    finally:
        torch.set_num_threads(before)


def _load(folder: Path) -> Any:
    """Its labels stand in the order of its outputs."""
    names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    labels = tuple(names[str(place)] for place in range(len(names)))
    return load_classifier(folder, labels, untrained_head=False)


def _call_ms(model: Any, length: int, batch: int, generator: np.random.Generator) -> float:
    """One call after another one, which brings the weights into the caches."""
    ids = torch.from_numpy(generator.integers(model.config.vocab_size, size=(batch, length)))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        for _ in range(2):
            before = time.perf_counter_ns()
            model(input_ids=ids, attention_mask=mask)
    return (time.perf_counter_ns() - before) / 1e6
