"""The lean fp32 graph against the same computation from Hugging Face's modules, timed in turns.

    python -m benchmarks.graph

Both graphs hold the same weights and give the same logits, which is checked. Random weights will
do: they do not change how long anything takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, Results, cli, speedup, write
from squeeze.cli.output import shown
from squeeze.errors import ParityFailed
from squeeze.progress import Progress
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.ort import open_session
from squeeze.targets.subjects import Subject

__all__ = ["OPSET", "gap", "main", "student"]

SHAPES: Mapping[str, tuple[int, int, int, int]] = {"3x384": (3, 384, 12, 1536), "4x256": (4, 256, 4, 1024)}
"""Layers, hidden width, heads, feed-forward neurons."""
VOCABULARY = 30_522
TOLERANCE = 1e-4
OPSET = 20


def main(
    lengths: Annotated[str, typer.Option(help="Tokens a text, each measured on its own.")] = "16,27,64,128",
    min_runs: Annotated[int, typer.Option(help="Timed calls of each graph at least.")] = 400,
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls of each graph at least.")] = 3.0,
    results: Results = RESULTS,
) -> None:
    """Measure both graphs; writes graph.json."""
    settings = {
        int(length): Settings(sequence=int(length), min_runs=min_runs, min_seconds=seconds)
        for length in lengths.split(",")
    }
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        found = {name: _shape(name, Path(folder), settings, progress) for name in SHAPES}
    write(results, "graph", {"shapes": found})


def student(name: str) -> Any:
    """A random student of one of the shapes, in evaluation mode."""
    from benchmarks.exports import random_student
    from squeeze.models.embedding import EmbeddingShape

    layers, hidden, heads, ffn = SHAPES[name]
    return random_student(VOCABULARY, EmbeddingShape(width=hidden), hidden // heads, layers, heads, ffn)


def _shape(name: str, folder: Path, settings: Mapping[int, Settings], progress: Progress) -> dict[str, Any]:
    from benchmarks.exports import hugging_face
    from squeeze.graphs import lean as graph
    from squeeze.models.conversion import write_bert

    progress.log(f"{name}: writing both graphs")
    made = student(name)
    lean, plain = folder / f"{name}-lean.onnx", folder / f"{name}-plain.onnx"
    graph.export(made, lean, OPSET)
    hugging_face(write_bert(made, ("a", "b", "c"), 0), plain)
    apart = gap(lean, plain, VOCABULARY)
    subjects = [Subject(path, path.name, vocabulary=VOCABULARY, lengths=None) for path in (lean, plain)]
    rows = {str(length): _length(subjects, each, progress) for length, each in settings.items()}
    return {"max_abs_difference": apart, "lengths": rows}


def gap(lean: Path, plain: Path, vocabulary: int) -> float:
    """Largest difference of the logits on a padded batch.

    Raises:
        ParityFailed: the two graphs do not compute the same.
    """
    ids = np.random.default_rng(0).integers(1, vocabulary, size=(4, 24))
    mask = (np.arange(24) < np.array([[24], [20], [9], [3]])).astype(np.int64)
    values = {"input_ids": ids, "attention_mask": mask}
    ours, theirs = (open_session(path, threads=1).run(["logits"], values)[0] for path in (lean, plain))
    apart = float(np.abs(ours - theirs).max())
    if apart > TOLERANCE:
        raise ParityFailed(f"{lean.name} and {plain.name} differ by {apart:.3g}, more than {TOLERANCE:g}")
    return apart


def _length(subjects: list[Subject], settings: Settings, progress: Progress) -> dict[str, Any]:
    lean, plain = measure(subjects, settings, progress)
    return {
        "ratio": speedup(plain, lean),
        "lean_p50_ms": lean.p50.plain(),
        "plain_p50_ms": plain.p50.plain(),
        "lean_bytes": lean.size_bytes,
        "plain_bytes": plain.size_bytes,
        "notes": list(dict.fromkeys((*lean.notes, *plain.notes))),
    }


if __name__ == "__main__":
    cli(main)
