"""Half of a student's heads and neurons cut by every method: macro-F1 before and after recovery, and speed.

    python -m benchmarks.prune runs/students --sets trec6 --shape small

Needs the students of benchmarks.students. All methods cut the same model by the same share, and recover by
the phases that the student was made with. The masked model is held against the sliced one, and of one
seed every model is exported, timed in turns, and held against what the cost table predicts.
What is done lies below --out and is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Jobs, Results, cli, write
from benchmarks.datasets import SETS, chosen
from benchmarks.students import SHAPES, student_name
from benchmarks.workers import Job, Pool
from squeeze import pipeline
from squeeze.artifact import Artifact, digest_json, write_json
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.progress import Progress, Silent
from squeeze.runtime import usable_cores
from squeeze.stage import Work
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.subjects import Subject

__all__ = ["METHODS", "cut", "main"]

METHODS = ("random", "magnitude", "taylor", "learned")
FORM, WHOLE = "int8-dynamic", "whole"
DONE = "result.json"


@dataclass(frozen=True)
class Plan:
    """What every cut has in common.

    Attributes:
        runs: folder of benchmarks.students.
        out: folder of the cut models.
        shape: of the students.
        share: of heads and of neurons that is cut.
        epochs: of each phase of recovery; None: as many as the student's phases have.
        recover: methods whose models recover; the others are judged as they are cut.
        extra: further keys of [prune].
    """

    runs: Path
    out: Path
    shape: str
    share: float
    epochs: int | None
    recover: tuple[str, ...]
    extra: Mapping[str, Any]


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    sets: Annotated[str, typer.Option(help="Which sets.")] = "trec6,sst2",
    shape: Annotated[str, typer.Option(help="Which students: tiny or small.")] = "small",
    seeds: Annotated[str, typer.Option(help="Seeds of the students.")] = "0,1,2",
    methods: Annotated[str, typer.Option(help="Which methods.")] = ",".join(METHODS),
    share: Annotated[float, typer.Option(help="Share of heads and of neurons to cut.")] = 0.5,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each phase of recovery.")] = None,
    recover: Annotated[str, typer.Option(help="Methods whose models recover; empty: none.")] = ",".join(
        METHODS
    ),
    prune: Annotated[str, typer.Option(metavar="JSON", help="Further keys of [prune].")] = "{}",
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls of each model; 0: no timing.")] = 5.0,
    jobs: Jobs = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cut models.")] = Path("runs/prune"),
    results: Results = RESULTS,
) -> None:
    """Cut and measure; writes prune-SET.json."""
    chosen(shape, SHAPES, "--shape")
    recovering = chosen(recover, METHODS, "--recover") if recover else ()
    plan = Plan(runs, out, shape, share, epochs, recovering, json.loads(prune))
    names, numbers = chosen(methods, METHODS, "--methods"), [int(seed) for seed in seeds.split(",")]
    for which in chosen(sets, tuple(SETS), "--sets"):
        work = [
            Job(f"{which}-{seed}-{method}", cut, (plan, which, seed, method))
            for seed in numbers
            for method in names
        ]
        with shown() as progress, Pool(jobs) as pool:
            made, failures = pool.run("cuts", work, progress)
            if failures:
                raise StageFailed("\n".join(f"{name}: {why}" for name, why in failures.items()))
            timed = _speed(plan, which, numbers[0], names, seconds, progress) if seconds else None
        found = {method: [made[f"{which}-{seed}-{method}"] for seed in numbers] for method in names}
        record = {
            "set": which,
            "shape": shape,
            "share": share,
            "epochs": epochs,
            "recover": recovering,
            "prune": plan.extra,
        }
        write(results, f"prune-{which}", {**record, "methods": found, "speed": timed})


def cut(plan: Plan, which: str, seed: int, method: str) -> dict[str, Any]:
    """Worker: one student cut by one method."""
    made, config, folder = _cut_of(plan, which, seed, method)
    if (folder / DONE).is_file():  # written last
        found: dict[str, Any] = json.loads((folder / DONE).read_text(encoding="utf-8"))
        return found
    from squeeze.stages.prune.run import run

    parts = {name: folder / name for name in ("out", "scratch")}
    for place in parts.values():
        place.mkdir(parents=True, exist_ok=True)
    work = Work(**parts, cache=plan.runs / ".cache", threads=usable_cores(), progress=Silent())
    result = run(config, {name: made[name] for name in ("dataset", "teacher", "encoder")}, work)
    record = {"seed": seed, "difference": _difference(folder, made["dataset"].path), **result.plain()}
    write_json(folder / DONE, record)
    return record


def _config(plan: Plan, student: Mapping[str, Any], seed: int, method: str) -> Any:
    """The student's own text and phases, over again."""
    from squeeze.stages.prune.stage import PruneConfig

    phases = [
        {**phase, **({} if plan.epochs is None else {"epochs": plan.epochs})}
        for phase in student["distil"]["phases"]
    ]
    section = {
        "method": method,
        "share": plan.share,
        "augment": student["distil"]["augment"],
        "phases": phases if method in plan.recover else [],
        **plan.extra,
    }
    return PruneConfig.parse({"seed": seed, "task": student["task"], "prune": section})


def _cut_of(plan: Plan, which: str, seed: int, method: str) -> tuple[Mapping[str, Artifact], Any, Path]:
    """What one cut is made of, its settings and its folder: the name has a digest of both.

    So other settings never find what these have left there.
    """
    made = pipeline.open_run(plan.runs / student_name(which, plan.shape, seed))
    config = _config(plan, made["encoder"].manifest["config"], seed, method)
    made_of = digest_json(
        [config.plain(), *(made[name].digest for name in ("dataset", "teacher", "encoder"))]
    )
    whole = plan.out / f"{student_name(which, plan.shape, seed)}-{plan.share:g}"
    return made, config, whole / f"{method}-{made_of[:12]}"


def _difference(folder: Path, data: Path) -> float:
    """Largest difference of any logit between the masked and the sliced model, on the validation text."""
    import numpy as np

    from squeeze.data import dataset
    from squeeze.models import slicing, tokens
    from squeeze.models.inference import logits
    from squeeze.models.storage import load_student

    base, start = folder / "scratch" / "base", folder / "scratch" / "start"
    whole, small = load_student(base), load_student(start)
    note = json.loads((start / "cut.json").read_text(encoding="utf-8"))
    kept = slicing.Kept(*(_tuples(note[name]) for name in ("layers", "heads", "neurons")))
    gates = slicing.gates(whole.shape, kept)
    spec = tokens.read_spec(base)
    encoded = tokens.encode(
        tokens.make_tokenizer(spec, whole.shape.positions), dataset.load(data).splits["validation"].texts
    )
    masked, sliced = (
        logits(model, encoded, tokens.pad_id(spec), whole.shape.labels)
        for model in (lambda ids, mask: whole.observe(ids, mask, gates=gates).logits, small)
    )
    return float(np.abs(masked - sliced).max())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _speed(
    plan: Plan, which: str, seed: int, methods: Sequence[str], seconds: float, progress: Progress
) -> dict[str, Any]:
    """Bytes, measured and predicted latency of the whole student and of every cut one, at one length."""
    import numpy as np

    from squeeze.costs.measure import cost_table
    from squeeze.costs.request import CostRequest
    from squeeze.models.storage import load_student

    made = pipeline.open_run(plan.runs / student_name(which, plan.shape, seed))
    folders = {WHOLE: made["encoder"].path}
    folders |= {method: _cut_of(plan, which, seed, method)[2] / "out" for method in methods}
    length = int(np.median(made["bundle"].result["lengths"]))
    models = {name: load_student(folder) for name, folder in folders.items()}
    paths = {name: _exported(model, plan.out / f"{which}-{name}") for name, model in models.items()}
    request = CostRequest.spanning([model.shape for model in models.values()], [length])
    table = cost_table(request, plan.runs / ".cache", 1, progress)
    pieces = models[WHOLE].shape.vocabulary
    subjects = [Subject(path=path, name=name, vocabulary=pieces) for name, path in paths.items()]
    settings = Settings(min_seconds=seconds, max_seconds=max(300.0, 10 * seconds), sequence=length, seed=seed)
    measured = {each.name: each for each in measure(subjects, settings, progress)}
    return {
        "form": FORM,
        "length": length,
        "models": {
            name: {
                "size_bytes": paths[name].stat().st_size,
                "parameters": sum(value.numel() for value in model.parameters()),
                "predicted_ms": table.latency_ms(model.shape, FORM, length),
                "measured": measured[name].without_samples().plain(),
            }
            for name, model in models.items()
        },
    }


def _exported(model: Any, folder: Path) -> Path:
    """The int8 file of a student."""
    from squeeze.graphs import int8, lean

    folder.mkdir(parents=True, exist_ok=True)
    whole, small = folder / "model.onnx", folder / "model.int8.onnx"
    lean.export(model, whole, lean.OPSET)
    int8.quantize(whole, small)
    return small


if __name__ == "__main__":
    cli(main)
