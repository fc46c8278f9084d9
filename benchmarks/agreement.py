"""Do `squeeze bench` and others agree on how long a call takes? Eight models, two witnesses.

    taskset -c 1 python -m benchmarks.agreement

The first witness is a plain loop around `session.run` in a process of its own, the second ONNX Runtime's own
profiler; see benchmarks/witness.py. Every round visits all models in random order; at a model, the bench, the
loop and the profiled loop follow one another in random order, each in fresh processes on the same core, with
the same file, options and lengths. So a round gives one ratio, and the rounds its interval.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, ROOT, Results, cli, ratio, write
from benchmarks.graph import OPSET
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.progress import Progress, Silent
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.ort import config
from squeeze.targets.subjects import Subject

__all__ = ["MODELS", "Made", "main"]

VOCABULARY = 8_000
WARMUP = 5
CALLS = 12  # of a witness at least
TIMEOUT_S = 120.0
SIDES = ("bench", "loop", "profiled")


@dataclass(frozen=True)
class Made:
    """A student with random weights, and how it is fed.

    Attributes:
        layers: of the encoder.
        hidden: width.
        heads: of attention.
        ffn: feed-forward neurons.
        form: fp32 or int8.
        tokens: of each text.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    form: str
    tokens: int

    def __str__(self) -> str:
        """As the report names it."""
        return f"{self.layers}x{self.hidden}/{self.ffn} {self.form}, {self.tokens} tokens"


MODELS = (
    Made(2, 128, 2, 256, "fp32", 16),
    Made(3, 384, 4, 384, "int8", 27),
    Made(4, 256, 4, 1024, "int8", 64),
    Made(3, 384, 12, 1536, "fp32", 27),
    Made(4, 256, 4, 1024, "fp32", 128),
    Made(6, 384, 12, 1536, "int8", 128),
    Made(6, 768, 12, 3072, "fp32", 48),
    Made(6, 768, 12, 3072, "fp32", 112),
)


def main(
    rounds: Annotated[int, typer.Option(help="Ratios of each model; 6 or more for an interval.")] = 9,
    seconds: Annotated[float, typer.Option(help="Seconds of calls of each side in a round at least.")] = 0.6,
    max_seconds: Annotated[float, typer.Option(help="Most seconds of the bench in a round.")] = 3.0,
    results: Results = RESULTS,
) -> None:
    """Time all models with all sides; writes agreement.json."""
    settings = Settings(min_seconds=seconds, max_seconds=max_seconds, starts=1)
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        paths = _write(Path(folder), progress)
        found = _rounds(paths, settings, rounds, progress)
    write(
        results,
        "agreement",
        {"rounds": rounds, "models": {str(made): _record(found[made]) for made in MODELS}},
    )


def _write(folder: Path, progress: Progress) -> dict[Made, Path]:
    """The files; models that differ in their form only have files of their own."""
    from benchmarks.exports import random_student
    from squeeze.graphs import int8
    from squeeze.graphs import lean as graph
    from squeeze.models.embedding import EmbeddingShape

    paths = {}
    with progress.task("write", len(MODELS)) as advance:
        for number, made in enumerate(MODELS):
            shape = (made.hidden // made.heads, made.layers, made.heads, made.ffn)
            student = random_student(VOCABULARY, EmbeddingShape(width=made.hidden), *shape)
            plain = folder / f"{number}.onnx"
            graph.export(student, plain, OPSET)
            paths[made] = plain
            if made.form == "int8":
                paths[made] = folder / f"{number}.int8.onnx"
                int8.quantize(plain, paths[made])
            advance(1, note=str(made))
    return paths


def _rounds(
    paths: Mapping[Made, Path], settings: Settings, rounds: int, progress: Progress
) -> dict[Made, list[dict[str, Any]]]:
    """What every side said in every round, by model."""
    generator = np.random.default_rng(0)
    found: dict[Made, list[dict[str, Any]]] = defaultdict(list)
    with progress.task("rounds", rounds * len(MODELS)) as advance:
        for number in range(rounds):
            for place in generator.permutation(len(MODELS)):
                made = MODELS[place]
                sides = _sides(made, paths[made], settings, seed=number)
                said: dict[str, Any] = {}
                for side in generator.permutation(SIDES).tolist():
                    said |= sides[side]()
                found[made].append(said)
                advance(1, note=str(made))
    return dict(found)


def _sides(made: Made, path: Path, settings: Settings, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "bench": partial(_bench, made, path, settings, seed),
        "loop": partial(_witness, made, path, settings, seed, profile=False),
        "profiled": partial(_witness, made, path, settings, seed, profile=True),
    }


def _bench(made: Made, path: Path, settings: Settings, seed: int) -> dict[str, Any]:
    """As `squeeze bench MODEL --seq N` measures it."""
    asked = Settings(**{**vars(settings), "sequence": made.tokens, "seed": seed})
    (found,) = measure([Subject(path, path.name, vocabulary=VOCABULARY)], asked, Silent())
    return {"bench": found.samples_ms, "preemptions": found.preemptions}


def _witness(made: Made, path: Path, settings: Settings, seed: int, *, profile: bool) -> dict[str, Any]:
    """What a process without squeeze says."""
    request = {
        "path": str(path),
        "config": config(),
        "cores": sorted(os.sched_getaffinity(0))[-1:],
        "tokens": made.tokens,
        "vocabulary": VOCABULARY,
        "warmup": WARMUP,
        "calls": CALLS,
        "seconds": settings.min_seconds,
        "profile": profile,
        "seed": seed,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.witness"],
        input=json.dumps(request),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise StageFailed(f"{made}: the witness died: {(done.stderr.strip() or 'silent').splitlines()[-1]}")
    answer = json.loads(done.stdout)
    if profile:
        return {"profiled_loop": answer["loop"], "profiler": answer["profiler"]}
    return {"loop": answer["loop"], "loop_preemptions": answer["preemptions"]}


def _record(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians of each side in each round, and the ratios between sides."""
    sides = ("bench", "loop", "profiler", "profiled_loop")
    samples = {side: [said[side] for said in rounds] for side in sides}
    return {
        "p50_ms": {side: float(np.median(np.concatenate(blocks))) for side, blocks in samples.items()},
        "medians_ms": {
            side: [round(float(np.median(block)), 5) for block in blocks] for side, blocks in samples.items()
        },
        "bench_to_loop": ratio(samples["bench"], samples["loop"]),
        "bench_to_profiler": ratio(samples["bench"], samples["profiler"]),
        "profiled_loop_to_profiler": ratio(samples["profiled_loop"], samples["profiler"]),
        "profiled_loop_to_loop": ratio(samples["profiled_loop"], samples["loop"]),
        "preemptions": [said["preemptions"] for said in rounds],
        "loop_preemptions": [said["loop_preemptions"] for said in rounds],
        "runs": [len(block) for block in samples["bench"]],
        "loop_runs": [len(block) for block in samples["loop"]],
    }


if __name__ == "__main__":
    cli(main)
