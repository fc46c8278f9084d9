"""How often the gate is wrong: models against copies of themselves, and against models that are truly slower.

    python -m benchmarks.gate_trials --aa 300 --slow10 100 --slow5 40

Every trial is one whole comparison as `squeeze bench --baseline` makes it. A/A: a model against a copy of
its own file, held to p50<=1.02x; in every third a busy process is started on the measuring core midway.
Power: a model of 11 layers against one of 10, and of 21 against 20, held to the same limit; how much slower
they are in truth is measured for a long time first. All weights are random, which changes no latency. The
result is written after each trial, and a second run goes on where the first one was cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, read, write
from squeeze.bench import BenchOptions, bench, judge, parse_budget
from squeeze.cli.output import shown
from squeeze.core.rounds import ratio
from squeeze.core.stats import Quantile
from squeeze.progress import Progress, Silent
from squeeze.targets import paired
from squeeze.targets.cpu import Settings
from squeeze.targets.subjects import Subject

__all__ = ["BUDGET", "KINDS", "MODELS", "main"]

NAME = "gate-trials"
BUDGET = "p50<=1.02x"
VOCABULARY = 2_000
HOG = "import os\nos.sched_setaffinity(0, {{{core}}})\nwhile os.getppid() == {parent}:\n    pass\n"
"""It ends with whoever started it, so that a cut run leaves nothing busy behind."""
HOG_AFTER_S = 4.0
"""Midway of a comparison that is decided at the first look."""


@dataclass(frozen=True)
class Model:
    """One random encoder and the length of its texts.

    Attributes:
        layers: how many.
        width: hidden; heads have 32 numbers, and there are four times as many neurons.
        tokens: of every text.
        form: fp32 or int8-dynamic.
    """

    layers: int
    width: int
    tokens: int
    form: str = "fp32"

    @property
    def name(self) -> str:
        """What the result calls it."""
        return f"{self.form}-{self.layers}x{self.width}-{self.tokens}"


MODELS = (
    Model(2, 128, 32, "int8-dynamic"),
    Model(2, 128, 32),
    Model(3, 384, 32, "int8-dynamic"),
    Model(3, 384, 32),
    Model(6, 256, 64, "int8-dynamic"),
)
"""Of the A/A trials, in turns."""


@dataclass(frozen=True)
class Kind:
    """One kind of trial.

    Attributes:
        within: time limit of a comparison, in seconds.
        pair: baseline and model; None for a model and its copy.
    """

    within: float
    pair: tuple[Model, Model] | None = None


KINDS: Mapping[str, Kind] = {
    "aa": Kind(30.0),
    "slow10": Kind(20.0, (Model(10, 128, 16), Model(11, 128, 16))),
    "slow5": Kind(60.0, (Model(20, 128, 16), Model(21, 128, 16))),
}


def main(
    aa: Annotated[int, typer.Option(help="Trials of a model against its copy.")] = 300,
    slow10: Annotated[int, typer.Option(help="Trials of 11 layers against 10.")] = 100,
    slow5: Annotated[int, typer.Option(help="Trials of 21 layers against 20.")] = 40,
    truth: Annotated[
        float, typer.Option(help="Seconds that tell how much slower they are in truth.")
    ] = 120.0,
    results: Results = RESULTS,
) -> None:
    """Run what is missing of so many trials; writes gate-trials.json after each."""
    record = _earlier(results)
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        files = _Files(Path(folder), progress)
        for name, count in {"slow10": slow10, "slow5": slow5}.items():
            if count and name not in record["truth"]:
                record["truth"][name] = _truth(KINDS[name], files, truth, progress)
                write(results, NAME, record)
        for name, count in {"slow10": slow10, "slow5": slow5, "aa": aa}.items():
            for number in range(len(record["trials"][name]), count):
                record["trials"][name].append(_trial(name, number, files))
                progress.log(f"{name} {number + 1} of {count}: {record['trials'][name][-1]}")
                write(results, NAME, record)


def _earlier(results: Path) -> dict[str, Any]:
    """What an earlier run has found, without its head."""
    path = results / f"{NAME}.json"
    if not path.is_file():
        return {"budget": BUDGET, "truth": {}, "trials": {name: [] for name in KINDS}}
    found = read(path)
    return {key: found[key] for key in ("budget", "truth", "trials")}


class _Files:
    """Model files, each written when it is first asked for."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress

    def of(self, model: Model) -> Path:
        """The file of a model."""
        from benchmarks.exports import random_student
        from squeeze.graphs import int8, lean
        from squeeze.models.embedding import EmbeddingShape

        path = self.folder / f"{model.name}.onnx"
        if path.is_file():
            return path
        self.progress.log(f"writing {path.name}")
        fp32 = self.folder / "fp32.onnx"
        table = EmbeddingShape(width=model.width)
        student = random_student(VOCABULARY, table, 32, model.layers, model.width // 32, 4 * model.width)
        lean.export(student, fp32, lean.OPSET)
        if model.form == "fp32":
            fp32.replace(path)
        else:
            int8.quantize(fp32, path)
        return path

    def copy(self, model: Model) -> Path:
        """A copy of that file."""
        path = self.folder / f"{model.name}-copy.onnx"
        if not path.is_file():
            shutil.copyfile(self.of(model), path)
        return path


def _trial(name: str, number: int, files: _Files) -> dict[str, Any]:
    """One comparison and its verdict."""
    kind = KINDS[name]
    base = kind.pair[0] if kind.pair else MODELS[number % len(MODELS)]
    model = files.of(kind.pair[1]) if kind.pair else files.copy(base)
    hog = kind.pair is None and number % 3 == 2
    options = BenchOptions(baseline=files.of(base), sequence=base.tokens, within=kind.within, seed=number)
    budget = parse_budget(BUDGET)
    started = time.monotonic()
    with _hog(after_s=HOG_AFTER_S if hog else None):
        report = bench([model], options, Silent(), [budget])
    seconds = time.monotonic() - started
    judgement = judge(report, [budget])
    assert report.rounds is not None
    return {
        "model": base.name,
        "hog": hog,
        "verdict": judgement.verdict,
        "seconds": round(seconds, 2),
        "rounds": report.rounds.count,
        "ended": report.rounds.ended,
        "ratio": report.comparisons[0].ratios["p50"].plain(),
        "p50_ms": report.measurements[0].p50.value,
        "note": judgement.checks[0].note,
    }


@contextmanager
def _hog(after_s: float | None) -> Iterator[None]:
    """A busy process on the measuring core, some seconds from now, until the end."""
    started: list[subprocess.Popen[bytes]] = []
    core = sorted(os.sched_getaffinity(0))[-1]

    def start() -> None:
        started.append(subprocess.Popen([sys.executable, "-c", HOG.format(core=core, parent=os.getpid())]))

    timer = Timer(after_s or 0.0, start)
    if after_s is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if after_s is not None:
            timer.join()
        for process in started:
            process.kill()
            process.wait()


def _truth(kind: Kind, files: _Files, seconds: float, progress: Progress) -> dict[str, Any]:
    """How many times slower the model is, measured for the whole time."""
    assert kind.pair is not None
    never = paired.Question(1, 0, other=Quantile(value=1.0, low=None, high=None))
    subjects = [Subject(files.of(each), each.name, vocabulary=VOCABULARY) for each in kind.pair]
    settings = Settings(sequence=kind.pair[0].tokens, within=seconds, starts=1)
    (base, model), rounds = paired.measure(subjects, settings, progress, (never,))
    found = ratio(model.rounds(), base.rounds(), 0.5, 0.95)
    return {
        "baseline": base.name,
        "model": model.name,
        "ratio": found.plain(),
        "rounds": rounds.count,
        "notes": list(model.notes),
    }


if __name__ == "__main__":
    cli(main)
