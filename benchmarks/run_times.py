"""How far the time that `squeeze init` predicts is from that of the run.

    python -m benchmarks.run_times ../shared/data --rows 600 --cores 1

Every set is given to `init` and run as it is. With one core the processor time of the run is what it would
take on a machine that does nothing else, so that the figure also holds where others work beside it.
"""

from __future__ import annotations

import csv
import os
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import ENDED, RESULTS, ROOT, DataRoot, Results, cli, squeeze, write
from squeeze.errors import StageFailed
from squeeze.init import Wanted
from squeeze.init import write as write_profile
from squeeze.init.speed import measure

__all__ = ["main"]

SETS = ("trec6", "sst2", "crisislex_t6")
TEACHER = "builtin:minilm-l6"
HELD_OUT = 4
"""Validation and test have this part of the training rows each."""


def main(
    data: DataRoot,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Name of a set; repeatable.")] = None,
    rows: Annotated[int | None, typer.Option(help="Training rows; all by default.")] = None,
    cores: Annotated[int, typer.Option(help="Cores that a run may use.")] = 1,
    results: Results = RESULTS,
) -> None:
    """Predict and run; writes run-times.json after each set."""
    found = []
    for name in sets or SETS:
        with tempfile.TemporaryDirectory() as folder:
            found.append({"set": name, **_one(data / name, Path(folder), rows, cores)})
        typer.echo(found[-1])
        write(results, "run-times", {"cores": cores, "teacher": TEACHER, "runs": found})


def _one(source: Path, folder: Path, rows: int | None, cores: int) -> dict[str, Any]:
    """One set: what was predicted and what its run took."""
    files = {split: _part(source, folder, split, rows) for split in ("train", "validation", "test")}
    machine = measure(cores)
    profile = folder / "profile.toml"
    wanted = Wanted(TEACHER, str(files["train"]), str(files["validation"]), str(files["test"]))
    predicted = write_profile(wanted, profile, runs=folder / "runs", machine=machine).seconds
    before, started = _processor_time(), time.monotonic()
    done = subprocess.run(
        squeeze("run", profile),
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores]),
    )
    if done.returncode not in ENDED:
        raise StageFailed(f"{source.name}: the run ended with {done.returncode}: {done.stderr[-500:]}")
    wall, processor = time.monotonic() - started, _processor_time() - before
    return {
        "rows": rows,
        "rate": machine.rate,
        "share": machine.share,
        "predicted_s": predicted,
        "wall_s": wall,
        "processor_s": processor,
        "ratio": processor / predicted if cores == 1 else wall / predicted,
    }


def _part(source: Path, folder: Path, split: str, rows: int | None) -> Path:
    """A file of a split, with so many rows at most."""
    target = folder / f"{split}.csv"
    with (source / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        header, *body = csv.reader(file)
    most = len(body) if rows is None else rows if split == "train" else rows // HELD_OUT
    kept = sorted(random.Random(0).sample(range(len(body)), min(most, len(body))))
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(body[at] for at in kept)])
    return target


def _processor_time() -> float:
    """Of all processes that ended so far, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    cli(main)
