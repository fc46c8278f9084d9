"""What an epoch of training while rounded costs: time and memory beside an epoch in float.

    python -m benchmarks.qat_cost runs/students --set sst2

Needs a student of benchmarks.students. Each epoch is trained against the student's teacher in a process of
its own, float and all schemes in turns, several rounds. An epoch in float that nobody counts comes first: it
fills the cache of the teacher's answers.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.quantize import SCHEMES, Plan, config_of, inputs, work_in
from benchmarks.students import SHAPES
from benchmarks.workers import Job, Pool
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.runtime import usable_cores

__all__ = ["FLOAT", "epoch", "main"]

FLOAT = "float"


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose student.")] = "sst2",
    shape: Annotated[str, typer.Option(help="Which student: tiny or small.")] = SHAPES[0],
    seed: Annotated[int, typer.Option(help="Which student.")] = 0,
    rows: Annotated[int, typer.Option(help="Training texts.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Epochs of each.")] = 3,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the texts.")] = Path("runs/quantize"),
    results: Results = RESULTS,
) -> None:
    """Time the epochs; writes qat-cost-SET.json."""
    plan = Plan(runs, out, shape, 1, 1e-4, rows, {"augment": {"copies": 0}})
    _alone(plan, which, seed, FLOAT)
    ways = (FLOAT, *SCHEMES)
    found = [{way: _alone(plan, which, seed, way) for way in ways} for _ in range(rounds)]
    record = {"set": which, "shape": shape, "seed": seed, "rows": rows, "rounds": found}
    write(results, f"qat-cost-{which}", {**record, "epoch": {way: _middle(found, way) for way in ways}})


def epoch(plan: Plan, which: str, seed: int, way: str) -> dict[str, float]:
    """Worker, to be run in a process of its own: seconds and peak memory of one epoch against the teacher."""
    import torch

    from squeeze.distillation.inputs import train
    from squeeze.models.storage import load_student
    from squeeze.stages.quantize.rounding import round_student
    from squeeze.stages.quantize.run import inputs_of

    torch.set_num_threads(usable_cores())
    made = inputs(plan, which, seed)
    named = SCHEMES[0] if way == FLOAT else way
    config = config_of(plan, made["encoder"].manifest["config"], seed, named, "teacher")
    given = inputs_of(config, made)
    student = load_student(made["encoder"].path)
    model = student if way == FLOAT else round_student(student, config.quantize, given).model
    with tempfile.TemporaryDirectory() as scratch:
        _, (report,) = train(model, given, work_in(Path(scratch), plan))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
    return {"seconds": report.seconds, "texts": report.samples, "peak_bytes": peak_bytes}


def _alone(plan: Plan, which: str, seed: int, way: str) -> dict[str, float]:
    """One epoch in a process that nothing was in before."""
    with shown() as progress, Pool(1) as pool:
        made, failures = pool.run(way, [Job(way, epoch, (plan, which, seed, way))], progress)
    if failures:
        raise StageFailed("\n".join(f"{name}: {why}" for name, why in failures.items()))
    found: dict[str, float] = made[way]
    return found


def _middle(rounds: list[dict[str, Any]], way: str) -> dict[str, float]:
    """Medians over rounds, and the medians of what the epoch takes against float in the same round."""
    figures = {name: median(one[way][name] for one in rounds) for name in ("seconds", "peak_bytes")}
    shares = {
        f"{name}_share": median(one[way][name] / one[FLOAT][name] for one in rounds) for name in figures
    }
    return {**figures, **shares}


if __name__ == "__main__":
    cli(main)
