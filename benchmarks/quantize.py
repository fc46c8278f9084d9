"""Students rounded to few bits: macro-F1 by scheme and method, torch against ONNX Runtime.

    python -m benchmarks.quantize runs/students --sets sst2

Needs the students of benchmarks.students. Every student is rounded by every scheme: as it is (`ptq`), and
after as many epochs against its teacher, against its former self, or on labels alone.
What such an epoch costs is measured by benchmarks.qat_cost.
What is done lies below --out and is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Jobs, Results, cli, write
from benchmarks.datasets import SETS, chosen
from benchmarks.quality import macro_f1
from benchmarks.students import SHAPES, student_name
from benchmarks.workers import Job, Pool
from squeeze import pipeline
from squeeze.artifact import Artifact, digest_files, digest_json, write_json
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.targets.ort import open_session

__all__ = ["METHODS", "SCHEMES", "Plan", "config_of", "inputs", "main", "quantize", "work_in"]

SCHEMES = ("int8-dynamic", "int8-static", "int4-weight")
METHODS = ("ptq", "teacher", "student", "labels")
DONE = "result.json"


@dataclass(frozen=True)
class Plan:
    """What every model has in common.

    Attributes:
        runs: folder of benchmarks.students.
        out: folder of the quantized models.
        shape: of the students.
        epochs: of the training.
        learning_rate: its peak step size.
        rows: training texts; None: all.
        extra: further keys of [quantize].
    """

    runs: Path
    out: Path
    shape: str
    epochs: int
    learning_rate: float
    rows: int | None
    extra: Mapping[str, Any]


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    sets: Annotated[str, typer.Option(help="Which sets.")] = "actionable_help,crisislex_t6,sst2",
    shape: Annotated[str, typer.Option(help="Which students: tiny or small.")] = "tiny",
    seeds: Annotated[str, typer.Option(help="Seeds of the students.")] = "0,1,2",
    schemes: Annotated[str, typer.Option(help="Which schemes.")] = ",".join(SCHEMES),
    methods: Annotated[str, typer.Option(help="Which methods.")] = ",".join(METHODS),
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Peak step size.")] = 1e-4,
    rows: Annotated[int | None, typer.Option(help="Training texts, for a quick try.")] = None,
    quantize_keys: Annotated[
        str, typer.Option("--quantize", metavar="JSON", help="Further keys of [quantize].")
    ] = "{}",
    jobs: Jobs = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the models.")] = Path("runs/quantize"),
    results: Results = RESULTS,
) -> None:
    """Round, train and measure; writes quantize-SET.json."""
    chosen(shape, SHAPES, "--shape")
    plan = Plan(runs, out, shape, epochs, learning_rate, rows, json.loads(quantize_keys))
    ways = [
        (scheme, method)
        for scheme in chosen(schemes, SCHEMES, "--schemes")
        for method in chosen(methods, METHODS, "--methods")
    ]
    numbers = [int(seed) for seed in seeds.split(",")]
    for which in chosen(sets, tuple(SETS), "--sets"):
        made = _run(jobs, [Job(_name(seed, *way), quantize, (plan, which, seed, *way))
                           for seed in numbers for way in ways])  # fmt: skip
        found = {
            scheme: {
                method: [made[_name(seed, scheme, method)] for seed in numbers]
                for named, method in ways
                if named == scheme
            }
            for scheme in dict.fromkeys(scheme for scheme, _ in ways)
        }
        record = {name: value for name, value in vars(plan).items() if name not in ("runs", "out")}
        write(results, f"quantize-{which}", {"set": which, **record, "schemes": found})


def _name(seed: int, scheme: str, method: str) -> str:
    return f"{scheme}-{method}-{seed}"


def _run(jobs: int, work: list[Job]) -> dict[str, Any]:
    with shown() as progress, Pool(jobs) as pool:
        made, failures = pool.run("models", work, progress)
    if failures:
        raise StageFailed("\n".join(f"{name}: {why}" for name, why in failures.items()))
    return made


def quantize(plan: Plan, which: str, seed: int, scheme: str, method: str) -> dict[str, Any]:
    """Worker: one student, rounded, trained and held against its graph."""
    made = inputs(plan, which, seed)
    config = config_of(plan, made["encoder"].manifest["config"], seed, scheme, method)
    folder = plan.out / student_name(which, plan.shape, seed) / f"{scheme}-{method}-{_digest(config, made)}"
    if (folder / DONE).is_file():  # written last
        found: dict[str, Any] = json.loads((folder / DONE).read_text(encoding="utf-8"))
        return found
    from squeeze.stages.quantize.run import run

    result = run(config, made, work_in(folder, plan))
    record = {"seed": seed, **result.plain(), "onnx": _in_runtime(folder / "out", made)}
    write_json(folder / DONE, record)
    return record


def inputs(plan: Plan, which: str, seed: int) -> dict[str, Artifact]:
    """What a student was made of, and the student; with fewer training texts where that is asked for."""
    made = pipeline.open_run(plan.runs / student_name(which, plan.shape, seed))
    found = {name: made[name] for name in ("dataset", "teacher", "encoder")}
    return found if plan.rows is None else {**found, "dataset": _fewer(plan, found["dataset"], which)}


def _fewer(plan: Plan, whole: Artifact, which: str) -> Artifact:
    from squeeze.data import dataset
    from squeeze.distillation.inputs import subsample

    folder = plan.out / f"{which}-{plan.rows}-{whole.digest[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    data = subsample(dataset.load(whole.path), plan.rows or 0, seed=0)
    for name, split in data.splits.items():
        dataset.write_split(folder, name, split.texts, split.labels.tolist())
    dataset.write_unlabelled(folder, data.unlabelled)
    files = digest_files(folder)
    return Artifact("dataset", folder, digest_json(files), {**whole.manifest, "files": files})


def config_of(plan: Plan, student: Mapping[str, Any], seed: int, scheme: str, method: str) -> Any:
    """The student's own text; the loss is that of its last phase, or that of the labels."""
    from squeeze.stages.quantize.stage import QuantizeConfig

    section: dict[str, Any] = {"scheme": scheme, "augment": student["distil"]["augment"], **plan.extra}
    if method == "ptq":
        section["method"] = "ptq"
    else:
        labels = method == "labels"
        phase = {
            "name": "qat",
            "epochs": plan.epochs,
            "learning_rate": plan.learning_rate,
            "losses": [{"name": "cross_entropy" if labels else "logit_mse"}],
            "data": "labelled" if labels else "all",
        }
        section |= {"against": method, "phases": [phase]}
    return QuantizeConfig.parse({"seed": seed, "task": student["task"], "quantize": section})


def _digest(config: Any, made: Mapping[str, Artifact]) -> str:
    """So other settings never find what these have left."""
    return digest_json([config.plain(), *(found.digest for found in made.values())])[:12]


def work_in(folder: Path, plan: Plan) -> Work:
    """A stage's folders below one, with the students' cache of answers."""
    parts = {name: folder / name for name in ("out", "scratch")}
    for place in parts.values():
        place.mkdir(parents=True, exist_ok=True)
    return Work(**parts, cache=plan.runs / ".cache", threads=usable_cores(), progress=Silent())


def _in_runtime(folder: Path, made: Mapping[str, Artifact]) -> dict[str, Any]:
    """Macro-F1 of the ONNX file on each test, and how many labels it shares with torch."""
    from safetensors.numpy import load_file

    from squeeze.data import dataset
    from squeeze.distillation.config import PREDICTIONS
    from squeeze.models import tokens
    from squeeze.models.storage import load_student

    path = _exported(folder)
    student, said = load_student(folder), load_file(folder / PREDICTIONS)
    length = min(made["encoder"].manifest["config"]["task"]["max_length"], student.shape.positions)
    tokenizer = tokens.make_tokenizer(tokens.read_spec(folder), length)
    found = {}
    for name, split in dataset.load(made["dataset"].path).splits.items():
        if name == "train":
            continue
        logits = _logits(path, tokens.encode(tokenizer, split.texts))
        found[name] = {
            "macro_f1": macro_f1(logits, split.labels),
            "agreement": float((logits.argmax(1) == said[name].argmax(1)).mean()),
            "max_abs": float(abs(logits - said[name]).max()),
        }
    return {"size_bytes": path.stat().st_size, "splits": found}


def _exported(folder: Path) -> Path:
    """The quantized file of a model, as the export stage makes it."""
    from squeeze.graphs import lean
    from squeeze.models.storage import load_student
    from squeeze.quantization import storage
    from squeeze.quantization.forms import convert, recipe_of

    found = storage.load(folder)
    assert found is not None
    whole, small = folder.parent / "model.onnx", folder.parent / "model.quantized.onnx"
    lean.export(load_student(folder), whole, lean.OPSET)
    convert(found.record.scheme, whole, small, recipe_of(found))
    return small


def _logits(path: Path, encoded: Any) -> Any:
    """One text a call, as on the device."""
    import numpy as np

    session = open_session(path, threads=usable_cores())
    rows = []
    for row in range(len(encoded)):
        ids = encoded[row].astype(np.int64)[None]
        rows.append(session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0])
    return np.concatenate(rows)


if __name__ == "__main__":
    cli(main)
