"""Run benchmarks one after the other, then write RESULTS.md: what `make benchmark` calls.

    python -m benchmarks.parts --data ../shared/data --parts peers,front

A part that fails does not stop the others: it is named at the end, and the exit code is 4. What a part needs
of another is not made by itself; `--list` says what it is. Without --parts these are the ones that hold
squeeze against other tools.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.common import RESULTS, ROOT, Results, cli
from benchmarks.datasets import chosen
from benchmarks.students import EVERY_SHAPE, RUNS
from benchmarks.training_peers import word
from squeeze.errors import StageFailed, UsageError

__all__ = [
    "ACCEPTANCE",
    "ALL",
    "CAMPAIGNS",
    "PARTS",
    "SIDE_BY_SIDE",
    "Part",
    "commands",
    "main",
    "ran",
    "selected",
]

STUDENTS = "students of its set"
SMOKE = "`make smoke`"
NETWORK = "a package index when it is run first"
CRISIS = ("actionable_help", "crisislex_t6")
"""Sets that the fronts are judged on."""


@dataclass(frozen=True)
class Part:
    """One benchmark.

    Attributes:
        commands: what is run, as words after `python -m`, or a script of benchmarks/ with its words;
            `{data}`, `{runs}` and `{results}` stand for the folders.
        needs: what must be there before, in words.
    """

    commands: Sequence[str]
    needs: str = "nothing"

    @property
    def wants_data(self) -> bool:
        """Whether it reads the labelled sets."""
        return any("{data}" in command for command in self.commands)


def _module(name: str, words: str = "", needs: str = "nothing") -> Part:
    return Part((f"benchmarks.{name} {words} --results {{results}}".replace("  ", " "),), needs)


def _front(which: str) -> tuple[str, str]:
    """What other tools train of the teacher first, then all that there is."""
    kept = "{runs}/peers"
    given = (
        f" --also {tool}={kept}/{which}-{word(f'{tool}, dynamic padding')}-0"
        for tool in ("TextBrewer", "torchdistill")
    )
    # One seed of them: its figures stay with them, the comparison of trainings has three.
    return (
        f"benchmarks.training_peers {{data}} --set {which} --seeds 0 --tools textbrewer,torchdistill "
        f"--dynamic --keep {kept} --out {{runs}} --results {kept}",
        f"benchmarks.front {{runs}} --set {which} --results {{results}}" + "".join(given),
    )


PARTS: Mapping[str, Part] = {
    "students": _module("students", f"{{data}} --shapes {','.join(EVERY_SHAPE)} --out {{runs}}"),
    "speed": _module("speed", "{runs}", STUDENTS),
    "forms": _module("forms", "{runs}", STUDENTS),
    "quantizers": _module("quantizers", "{runs}", f"{STUDENTS}, and the extra nncf"),
    "peers": _module("peers", "{runs}", f"{STUDENTS}; {NETWORK}"),
    "training_peers": _module("training_peers", "{data} --limit 1000", NETWORK),
    "front": Part(
        tuple(command for which in CRISIS for command in _front(which)),
        f"students of its sets, the medium ones too; {NETWORK}",
    ),
    "graph": _module("graph"),
    "lean": _module("lean"),
    "initialisation": _module("initialisation", "{data}"),
    "correlation": _module("correlation", "{data}"),
    "faithful": _module("faithful", "{data}"),
    "cnn_search": _module("cnn_search", "{data}"),
    "quantize": _module("quantize", "{runs}", STUDENTS),
    "qat_cost": _module("qat_cost", "{runs}", STUDENTS),
    "prune": _module("prune", "{runs}", STUDENTS),
    "cache": _module("cache", "{data}"),
    "cost_table": _module("cost_table"),
    "gate_trials": _module("gate_trials"),
    "reference_units": _module("reference_units", needs="root"),
    "agreement": _module("agreement"),
    "any_models": _module("any_models", needs=NETWORK),
    "estimates": _module("estimates"),
    "mobile_formats": _module("mobile_formats", needs="the extras of the formats"),
    "faults": _module("faults", "{data}/../faults"),
    "readers": _module("readers"),
    "near_duplicates": _module("near_duplicates", "{data}"),
    "label_order": _module("label_order"),
    "mutated_profiles": _module("mutated_profiles"),
    "mutated_data": _module("mutated_data"),
    "mutated_models": _module("mutated_models"),
    "flipped_bytes": _module("flipped_bytes", "runs/smoke", SMOKE),
    "mutated_bundles": _module("mutated_bundles", "runs/smoke", SMOKE),
    "first_files": _module("first_files", "{data}"),
    "run_times": _module("run_times", "{data} --rows 300"),
    "kill": _module("kill"),
    "startup": _module("startup"),
    "offline": Part(("offline.sh",), "unshare and strace; it writes to benchmarks/results"),
    "first_run": Part(("first_run.sh",), f"{NETWORK}; it writes to benchmarks/results"),
}
"""In the order in which they are run."""
SIDE_BY_SIDE = ("students", "speed", "forms", "peers", "training_peers", "front")
CAMPAIGNS = (
    "faults",
    "readers",
    "near_duplicates",
    "mutated_profiles",
    "mutated_data",
    "mutated_models",
    "flipped_bytes",
    "mutated_bundles",
    "first_files",
)
"""What `make acceptance` runs: many inputs through the commands, each held against the right behaviour."""
ALL, ACCEPTANCE = "all", "acceptance"


def main(
    data: Annotated[
        Path | None, typer.Option(metavar="DATA_ROOT", help="Folder that holds the labelled sets.")
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the students' runs.")] = RUNS,
    parts: Annotated[
        str, typer.Option(help="Which parts; `all`: every one; `acceptance`: the campaigns.")
    ] = ",".join(SIDE_BY_SIDE),
    listed: Annotated[bool, typer.Option("--list", help="Say what there is and what it runs.")] = False,
    results: Results = RESULTS,
) -> None:
    """Run parts in order and write RESULTS.md; ends with an error when one has failed."""
    if listed:
        for name, part in PARTS.items():
            for command in part.commands:
                typer.echo(f"{name:16s} {command}  (needs {part.needs})")
        return
    wanted = selected(parts)
    if data is None and any(PARTS[name].wants_data for name in wanted):
        raise UsageError("--data is missing", hint=f"{', '.join(wanted)} read the labelled sets")
    folders = {"data": str(data), "runs": str(runs), "results": str(results)}
    failed = ran({name: commands(PARTS[name], folders) for name in wanted}, _run)
    written = _run([sys.executable, "-m", "benchmarks.report", "--results", str(results)])
    if failed or written:
        names = [*failed, *(["report"] if written else [])]
        raise StageFailed(
            f"{len(names)} parts failed: {', '.join(names)}", hint="what they said stands above"
        )


def selected(text: str) -> tuple[str, ...]:
    """Parts that a comma- or space-separated text names, in the order in which they are run.

    >>> selected("front peers")
    ('peers', 'front')

    Raises:
        UsageError: one of them is not known.
    """
    names = chosen(text.replace(" ", ","), (*PARTS, ALL, ACCEPTANCE), "--parts")
    return tuple(
        name for name in PARTS if name in names or ALL in names or (ACCEPTANCE in names and name in CAMPAIGNS)
    )


def commands(part: Part, folders: Mapping[str, str]) -> list[list[str]]:
    """A part's commands as words to start.

    Args:
        part: which.
        folders: `data`, `runs` and `results`; one with spaces stays one word.
    """
    found = []
    for command in part.commands:
        first, *rest = (word.format_map(folders) for word in command.split())
        script = [str(ROOT / "benchmarks" / first)]
        found.append([*(script if first.endswith(".sh") else [sys.executable, "-m", first]), *rest])
    return found


def ran(wanted: Mapping[str, Sequence[Sequence[str]]], run: Callable[[Sequence[str]], int]) -> list[str]:
    """Run all commands of all parts, whatever becomes of others.

    Args:
        wanted: commands by part.
        run: starts one and gives its exit code.

    Returns:
        Names of the parts of which a command failed.
    """
    failed = []
    for name, each in wanted.items():
        started = time.monotonic()
        codes = [run(command) for command in each]
        state = f"failed with {max(codes)}" if any(codes) else "done"
        typer.echo(f"{name}: {state} after {time.monotonic() - started:.0f} s", err=True)
        if any(codes):
            failed.append(name)
    return failed


def _run(command: Sequence[str]) -> int:
    typer.echo(f"+ {' '.join(command)}", err=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    cli(main)
