"""Squeeze's distillation against TextBrewer's and torchdistill's: texts a second, memory, macro-F1.

    python -m benchmarks.training_peers ../shared/data --set sst2 --limit 2000

The same teacher, student, start, texts, tokens, batch, epochs, losses and step sizes for all. Every training
is a process of its own in the tool's environment, which is made below --environments from the pins in
benchmarks/peer_tools/ and kept. The peers have the teacher in the loop, as their examples do, and run twice:
with texts padded to 128 tokens, and to the longest of a batch. Squeeze is `squeeze run`, which fills an empty
cache of the teacher's answers first; that counts. Seeds come one after the other, all tools of a seed in
random order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from benchmarks.common import RESULTS, ROOT, DataRoot, Out, Results, StudentSet, TeacherSet, cli, write
from benchmarks.datasets import SETS, Recipe, chosen
from benchmarks.environments import POOLS, death, environment, variables, versions
from benchmarks.peak import together
from benchmarks.students import RUNS, teacher_folder
from benchmarks.training_files import LENGTH, Objective, Subject, judged, subject, trained
from squeeze.errors import MissingBackend, StageFailed
from squeeze.runtime import usable_cores
from squeeze.targets.subjects import TOKENIZER

__all__ = ["CONTESTANTS", "PINNED", "SQUEEZE", "Contestant", "Watched", "main", "watch", "word"]

SCRIPTS = Path(__file__).resolve().parent / "peer_tools"
SQUEEZE, TEXTBREWER, TORCHDISTILL = "squeeze", "textbrewer", "torchdistill"
PINNED: Mapping[str, tuple[str, ...]] = {
    TEXTBREWER: ("textbrewer", "torch", "transformers"),
    TORCHDISTILL: ("torchdistill", "torch", "transformers"),
}
"""Of each foreign environment, what its result depends on most."""
LOOK_S = 0.5
"""How often the memory of a training is looked at: each look takes some milliseconds of a core."""


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Attributes:
        name: in the results.
        tool: whose.
        padding: tokens that every text is padded to; None: as many as the longest of its batch has.
        aims: how many times as many texts a second squeeze is to see.
        example: whether the tool's own example for such a task pads like this.
    """

    name: str
    tool: str
    padding: int | None = None
    aims: tuple[float, ...] = ()
    example: bool = False


CONTESTANTS = (
    Contestant("squeeze", SQUEEZE),
    Contestant("TextBrewer, padded to 128", TEXTBREWER, LENGTH, (3.0,), example=True),
    Contestant("TextBrewer, dynamic padding", TEXTBREWER, None, (2.0,)),
    Contestant("torchdistill, padded to 128", TORCHDISTILL, LENGTH, (3.0,)),
    # Its sample configurations for GLUE collate with DataCollatorWithPadding: both aims are held against it.
    Contestant("torchdistill, dynamic padding", TORCHDISTILL, None, (2.0, 3.0), example=True),
)


@dataclass(frozen=True)
class Watched:
    """How a process went.

    Attributes:
        seconds: from its start to its end.
        peak_bytes: most that it and its children held together.
    """

    seconds: float
    peak_bytes: int


def main(
    data: DataRoot,
    which: Annotated[str, typer.Option("--set", help="Which set.")] = "sst2",
    limit: Annotated[int | None, typer.Option(help="Rows a split.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the texts.")] = Objective.epochs,
    seeds: Annotated[str, typer.Option(help="Seeds.")] = "0,1,2",
    threads: Annotated[int | None, typer.Option(help="Threads, and cores; all usable ones.")] = None,
    tools: Annotated[str, typer.Option(help="Which tools.")] = ",".join((SQUEEZE, TEXTBREWER, TORCHDISTILL)),
    teacher_set: TeacherSet = None,
    student_set: StudentSet = None,
    environments: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the tools' environments.")
    ] = Path("runs/peers"),
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Leave out padding to a fixed length.")] = False,
    kept: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Where the peers' students stay.")
    ] = None,
    out: Out = RUNS,
    results: Results = RESULTS,
) -> None:
    """Train with every tool in turns; writes training-peers-SET.json."""
    chosen(which, tuple(SETS), "--set")
    wanted = chosen(tools, (SQUEEZE, *PINNED), "--tools")
    cores = _pin(threads or usable_cores())
    pythons, failed = _pythons(environments, wanted)
    teacher = Path(teacher_folder(out, Recipe("teacher", data, extra=tuple(teacher_set or ())), which))
    recipe = Recipe("tiny", data, limit, tuple(student_set or ()))
    objective = replace(Objective(), epochs=epochs)
    runs: dict[str, list[dict[str, Any]]] = {each.name: [] for each in _wanted(wanted, dynamic=dynamic)}
    with tempfile.TemporaryDirectory() as folder:
        for seed in (int(text) for text in seeds.split(",")):
            of = subject(recipe, which, seed, teacher, out, Path(folder) / f"start-{seed}")
            for each in _in_turns(_wanted(wanted, dynamic=dynamic), seed):
                place = Path(folder) / f"{seed}-{CONTESTANTS.index(each)}"
                problem = failed.get(each.tool)
                found = problem or _one(each, of, objective, place, pythons[each.tool], cores)
                runs[each.name].append({"seed": seed, **found})
                if kept is not None and each.tool != SQUEEZE:
                    _keep(place / "student", of.teacher, kept / f"{which}-{word(each.name)}-{seed}")
                _show(each, runs[each.name][-1])
    settings = {"limit": limit, "training_texts": of.rows, "threads": cores, "objective": asdict(objective)}
    pins = {tool: versions(SCRIPTS / f"{tool}.txt", names) for tool, names in PINNED.items()}
    tools_found = {each.name: _row(each, runs[each.name]) for each in CONTESTANTS if each.name in runs}
    write(results, f"training-peers-{which}", {"set": which, **settings, "peers": pins, "tools": tools_found})


def _wanted(tools: Sequence[str], *, dynamic: bool) -> list[Contestant]:
    return [each for each in CONTESTANTS if each.tool in tools and not (dynamic and each.padding)]


def _in_turns(mine: Sequence[Contestant], seed: int) -> list[Contestant]:
    return [mine[place] for place in np.random.default_rng(seed).permutation(len(mine))]


def _pin(threads: int) -> int:
    """Stay on so many cores, as every process started from here then does; says how many they are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return threads


def _pythons(environments: Path, wanted: Sequence[str]) -> tuple[dict[str, Path], dict[str, dict[str, str]]]:
    """The Python of each tool, and why there is none; that of squeeze is this one."""
    found, failed = {SQUEEZE: Path(sys.executable)}, {}
    for tool in (each for each in PINNED if each in wanted):
        try:
            found[tool] = environment(environments / tool, SCRIPTS / f"{tool}.txt")
        except MissingBackend as error:
            failed[tool] = {"failed": error.message}
    return found, failed


def _one(
    each: Contestant, of: Subject, objective: Objective, place: Path, python: Path, threads: int
) -> dict[str, Any]:
    """One training from its start to its judgement; a tool that fails leaves its last line."""
    place.mkdir()
    try:
        if each.tool == SQUEEZE:
            return _squeeze(of, objective, place, python, threads)
        return _peer(each, of, objective, place, python, threads)
    except StageFailed as error:
        return {"failed": error.message}


def _peer(
    each: Contestant, of: Subject, objective: Objective, place: Path, python: Path, threads: int
) -> dict[str, Any]:
    """A training in the environment of a tool; see peer_tools/training.py for its plan."""
    plan = place / "plan.json"
    model = {"teacher": str(of.teacher), "student": str(of.transformers), "texts": str(of.texts)}
    said = {**model, "out": str(place), "seed": of.seed, "padding": each.padding, **asdict(objective)}
    plan.write_text(json.dumps(said), encoding="utf-8")
    seen = watch([python, SCRIPTS / f"train_{each.tool}.py", plan], place, threads, {})
    result = _read(place / "result.json")
    return _figures(result, seen, result["texts"], judged(place / "student", of))


def _squeeze(of: Subject, objective: Objective, place: Path, python: Path, threads: int) -> dict[str, Any]:
    """`squeeze run` from nothing: text, the teacher's word on held-out text, the student, its export."""
    sets = [word for text in of.sets(objective) for word in ("--set", text)]
    command = ["run", str(of.recipe.path), *sets, "--out", str(place / "runs")]
    script = [python, SCRIPTS / "train_squeeze.py", place / "result.json"]
    seen = watch([*script, *command], place, threads, {"PYTHONPATH": str(ROOT)})
    made = trained(place / "runs" / "squeeze")
    (phase,), filling = made.result["phases"], made.result["cache"]["seconds"]
    result = _read(place / "result.json")
    found = _figures(result, seen, phase["samples"], judged(made.path, of))
    without = phase["samples"] / (result["seconds"] - filling)
    return {**found, "filling_s": filling, "per_second_cache_filled": without}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _figures(result: Mapping[str, Any], seen: Watched, texts: int, macro_f1: float) -> dict[str, Any]:
    return {
        "texts": texts,
        "training_s": result["seconds"],
        "training_cpu_s": result["cpu_seconds"],
        "per_second": texts / result["seconds"],
        "validation_s": result["validation_seconds"],
        "process_s": seen.seconds,
        "peak_bytes": seen.peak_bytes,
        "macro_f1": macro_f1,
        "threads": result["threads"],
        "versions": result["versions"],
    }


def watch(command: Sequence[str | Path], folder: Path, threads: int, where: Mapping[str, str]) -> Watched:
    """Run a training to its end and look at its memory.

    Args:
        command: Python, script, arguments; whole paths.
        folder: where it runs, for some tools leave files there.
        threads: in every pool.
        where: environment variables beside those that every such process gets.

    Raises:
        StageFailed: it ended with an error.
    """
    around = variables({**dict.fromkeys(POOLS, str(threads)), **where})
    with tempfile.TemporaryFile() as told:
        started, peak = time.monotonic(), 0
        process = subprocess.Popen(list(map(str, command)), stdout=told, stderr=told, env=around, cwd=folder)
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, together(parent), _highest(process.pid))
            time.sleep(LOOK_S)
        seconds = time.monotonic() - started
        if process.returncode:
            told.seek(0)
            raise StageFailed(death(process.returncode, told.read().decode(errors="replace")))
    return Watched(seconds, peak)


def _highest(pid: int) -> int:
    """The kernel's own mark of a process, which misses no moment between two looks; 0 where there is none.

    Not `ru_maxrss`: that counts what this process held when it started the other one.
    """
    try:
        told = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in told.splitlines() if line.startswith("VmHWM")), 0)


def _row(each: Contestant, runs: list[dict[str, Any]]) -> dict[str, Any]:
    known = {"tool": each.tool, "padding": each.padding, "aims": each.aims, "example": each.example}
    return {**known, "runs": runs}


def word(name: str) -> str:
    """A contestant's name as one word of a folder's name."""
    return "-".join(name.replace(",", "").split())


def _keep(student: Path, teacher: Path, target: Path) -> None:
    """The student for transformers, and what cuts its text, for benchmarks.front's `--also`.

    Where there is none, none of an earlier try stays.
    """
    shutil.rmtree(target, ignore_errors=True)
    if not student.is_dir():
        return
    _two_kinds_of_tokens(student).save_pretrained(target)
    shutil.copyfile(teacher / TOKENIZER, target / TOKENIZER)


def _two_kinds_of_tokens(student: Path) -> Any:
    """The same model for exporters that try it on two segments; squeeze's students have one."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(student, local_files_only=True)
    table = model.get_submodule("bert.embeddings.token_type_embeddings")
    rows = table.weight.detach()[:1].repeat(2, 1)
    table.weight, table.num_embeddings = torch.nn.Parameter(rows), len(rows)
    model.config.type_vocab_size = len(rows)
    return model


def _show(each: Contestant, found: Mapping[str, Any]) -> None:
    if "failed" in found:
        typer.echo(f"seed {found['seed']}  {each.name:30s} {found['failed']}")
        return
    typer.echo(
        f"seed {found['seed']}  {each.name:30s} {found['per_second']:7.1f} texts/s  "
        f"{found['peak_bytes'] / 1e9:.2f} GB  macro-F1 {100 * found['macro_f1']:.1f}  "
        f"({found['training_s']:.0f} s of {found['process_s']:.0f})"
    )


if __name__ == "__main__":
    cli(main)
