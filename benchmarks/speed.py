"""Students against BERT-base and their own teacher: one thread, batch 1, the set's own lengths, in turns.

    python -m benchmarks.speed runs/students

Every model of a set is timed in one process, block by block in random order. A ratio is the median
over blocks of the ratio of the blocks' medians, with its exact interval.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, Results, cli, speedup, write
from benchmarks.datasets import SETS, chosen
from benchmarks.students import SHAPES, student_name
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.cli.output import shown
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import Subject, find, vocabulary_size

__all__ = ["main"]

TEACHER, BERT = "teacher fp32", "BERT-base fp32"
FORMS = {"int8-dynamic": "int8", "fp32": "fp32"}


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    sets: Annotated[str, typer.Option(help="Which sets; each is a measurement of its own.")] = "sst2",
    seed: Annotated[int, typer.Option(help="Which student of a set.")] = 0,
    min_runs: Annotated[int, typer.Option(help="Timed calls of each model at least.")] = 400,
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls of each model at least.")] = 5.0,
    results: Results = RESULTS,
) -> None:
    """Measure latencies and their ratios; writes speed-SET.json."""
    settings = Settings(
        min_runs=min_runs, min_seconds=seconds, max_seconds=max(300.0, 10 * seconds), seed=seed
    )
    for which in chosen(sets, tuple(SETS), "--sets"):
        made = {shape: pipeline.open_run(runs / student_name(which, shape, seed)) for shape in SHAPES}
        with tempfile.TemporaryDirectory() as folder, shown() as progress:
            progress.log(f"{which}: writing the reference graphs")
            subjects = _subjects(made, Path(folder))
            measured = measure(subjects, settings, progress)
        write(results, f"speed-{which}", _record(which, seed, made, measured))


def _subjects(made: Mapping[str, Mapping[str, Artifact]], folder: Path) -> list[Subject]:
    """Students first: their lengths are those that all models are timed at."""
    students = [
        replace(each, name=f"{shape} {FORMS[str(each.form)]}")
        for shape, artifacts in made.items()
        for each in find(artifacts["bundle"].path, "all")
    ]
    teacher = _teacher(made) / "members" / "0"
    return [*students, *_references(teacher, folder)]


def _teacher(made: Mapping[str, Mapping[str, Artifact]]) -> Path:
    return next(iter(made.values()))["teacher"].path


def _references(teacher: Path, folder: Path) -> list[Subject]:
    from benchmarks.exports import bert_base, hugging_face
    from squeeze.models.huggingface import transformers

    auto = transformers().AutoModelForSequenceClassification
    model = auto.from_pretrained(teacher, local_files_only=True)
    graphs = {TEACHER: model, BERT: bert_base(model.config.num_labels)}
    pieces = vocabulary_size(teacher / "tokenizer.json")
    subjects = []
    for number, (name, each) in enumerate(graphs.items()):
        path = folder / f"{number}.onnx"
        hugging_face(each, path)
        subjects.append(Subject(path=path, name=name, vocabulary=pieces))
    return subjects


def _record(
    which: str, seed: int, made: Mapping[str, Mapping[str, Artifact]], measured: Sequence[Measurement]
) -> dict[str, Any]:
    by_name = {each.name: each for each in measured}
    references = (BERT, TEACHER)
    return {
        "set": which,
        "seed": seed,
        "lengthening": _lengthening(made),
        "models": {name: _figures(each) for name, each in by_name.items()},
        "ratios": {
            f"{name} against {reference}": speedup(by_name[reference], each)
            for name, each in by_name.items()
            for reference in references
            if name not in references
        },
    }


def _figures(measured: Measurement) -> dict[str, Any]:
    """The figures, and the blocks' medians, from which every ratio can be computed again."""
    medians = [round(float(np.median(block)), 4) for block in measured.blocks()]
    return {**measured.without_samples().plain(), "block_medians_ms": medians}


def _lengthening(made: Mapping[str, Mapping[str, Artifact]]) -> float:
    """How many times longer the validation texts are for the students than for the teacher.

    All models are timed at the students' lengths; where a trimmed vocabulary re-segments, that
    flatters the students by at most this factor, and verdicts are made after dividing by it.
    """
    from squeeze.data import dataset
    from squeeze.models import tokens

    artifacts = next(iter(made.values()))
    texts = dataset.load(artifacts["dataset"].path).splits["validation"].texts
    longest = int(artifacts["bundle"].manifest["config"]["task"]["max_length"])
    spec = tokens.read_spec(_teacher(made) / "members" / "0")
    whole = tokens.encode(tokens.make_tokenizer(spec, longest), texts).lengths
    return float(np.mean(artifacts["bundle"].result["lengths"]) / whole.mean())


if __name__ == "__main__":
    cli(main)
