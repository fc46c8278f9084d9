"""Draw the fronts of all sets that were measured: `python -m benchmarks.front_figures`.

matplotlib has an environment of its own, as the tools that are measured have. benchmarks.front draws its set.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, read
from benchmarks.environments import environment, run
from benchmarks.front_section import AXES, artefacts
from benchmarks.pareto import front
from benchmarks.peer_files import SCRIPTS
from benchmarks.tables import Record

__all__ = ["draw", "figure", "main"]

MATPLOTLIB = "matplotlib"
LABELS = {
    "size": ("MB of the model's files, without the tokenizer", 1e6),
    "latency": ("ms from text to label, one thread, one text a call", 1.0),
}
"""Name of an axis, and what a cost is divided by."""


def main(
    tools: Annotated[
        Path, typer.Option("--environments", metavar="DIR", help="Folder of the tools' environments.")
    ] = Path("runs/peers"),
    results: Results = RESULTS,
) -> None:
    """Write front-SET-size.svg and front-SET-latency.svg beside every front-SET.json."""
    for path in sorted(results.glob("front-*.json")):
        draw(read(path), results, tools)


def figure(record: Record, axis: str) -> dict[str, Any]:
    """What is drawn of a record.

    Args:
        record: of benchmarks.front.
        axis: one of `AXES`.

    Returns:
        Title, label of the axis, and points; those on the front from the cheapest to the best.
    """
    known = artefacts(record)
    cost, (label, unit) = AXES[axis], LABELS[axis]
    best = {each.name for each in front(known, [cost])}
    marks = [
        {
            "name": each.name,
            "cost": getattr(each, cost) / unit,
            "quality": 100 * each.f1,
            "ours": each.ours,
            "front": each.name in best,
        }
        for each in sorted(known, key=lambda one: (getattr(one, cost), -one.f1))
    ]
    return {"title": f"{record['set']}: macro-F1 and {axis}", "axis": label, "points": marks}


def draw(record: Record, results: Path, tools: Path) -> list[Path]:
    """Write the drawings of a record.

    Args:
        record: of benchmarks.front.
        results: folder that gets them.
        tools: folder of the tools' environments.

    Raises:
        MissingBackend: matplotlib could not be installed.
        StageFailed: it could not draw.
    """
    python = environment(tools / MATPLOTLIB, SCRIPTS / f"{MATPLOTLIB}.txt")
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for axis in AXES:
            said, target = Path(folder) / f"{axis}.json", results / f"front-{record['set']}-{axis}.svg"
            said.write_text(json.dumps(figure(record, axis)), encoding="utf-8")
            run([python, SCRIPTS / "draw_front.py", said, target.absolute()], Path(folder))
            typer.echo(f"{target} drawn")
            made.append(target)
    return made


if __name__ == "__main__":
    cli(main)
