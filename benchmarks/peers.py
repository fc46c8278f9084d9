"""Our default form against what other tools make of the same models, every tool in its own environment.

    python -m benchmarks.peers runs/students --set sst2 --seed 0

Environments are made below --environments from the pins in benchmarks/peer_tools/ and kept. Every file is
made by the tool's own functions there, and run by a process there that sleeps until it is asked: so all files
of a model are timed in turns, block by block in random order, on one core, although their libraries could
not be loaded side by side. The labels that a file gives stand beside its time, for what is wrong can be fast.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, ROOT, Results, cli, ratio, write
from benchmarks.datasets import chosen
from benchmarks.environments import Worker, environments, versions
from benchmarks.peer_files import (
    INC,
    MODELOPT,
    OLIVE,
    OPENVINO,
    OPTIMUM,
    OURS,
    REFERENCE,
    SCRIPTS,
    SQUEEZE,
    Contestant,
    Subject,
    contestants,
    subjects,
)
from benchmarks.students import SHAPES
from squeeze.stages.export.stage import ExportSection

__all__ = ["PINNED", "main", "measured", "pin", "pythons_of", "worker"]

PINNED: Mapping[str, tuple[str, ...]] = {
    OPTIMUM: ("optimum-onnx", "optimum", "transformers", "torch", "onnxruntime"),
    OPENVINO: ("openvino", "nncf"),
    OLIVE: ("olive-ai",),
    INC: ("onnx-neural-compressor",),
    MODELOPT: ("nvidia-modelopt",),
}
"""Of each foreign environment, what its result depends on most."""
CALLS = 10
"""Timed calls of one file in a block."""
LEAD = 3
"""Calls before them that nobody times: another process had the caches."""
WARM = 30


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose students.")] = "sst2",
    shapes: Annotated[str, typer.Option(help="Which students; their teacher is always measured.")] = ",".join(
        SHAPES
    ),
    seed: Annotated[int, typer.Option(help="Which student.")] = 0,
    length: Annotated[int, typer.Option(help="Tokens a text.")] = 48,
    blocks: Annotated[int, typer.Option(help="Blocks; in each, every file runs 10 times.")] = 60,
    texts: Annotated[int, typer.Option(help="Validation texts to label, at most.")] = 1000,
    tools: Annotated[
        Path, typer.Option("--environments", metavar="DIR", help="Folder of the tools' environments.")
    ] = Path("runs/peers"),
    results: Results = RESULTS,
) -> None:
    """Measure squeeze and its peers on the students and their teacher; writes peers-SET.json."""
    started = time.monotonic()
    wanted = chosen(shapes, SHAPES, "--shapes")
    pythons = pythons_of(tools, PINNED)
    core = pin()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(runs, which, wanted, seed, texts, Path(folder)):
            files, failed = contestants(subject, pythons, length)
            with ExitStack() as stack:
                places = {each.place for each in files}
                workers = {place: stack.enter_context(worker(place, pythons)) for place in places}
                found[subject.name] = {
                    **measured(files, workers, subject, blocks, length, seed),
                    **failed,
                }
            _show(subject.name, found[subject.name])
    spent = round(time.monotonic() - started)
    print(f"{spent} s in all")
    settings = {"tokens": length, "blocks": blocks, "core": core, "seconds": spent, "default": _default()}
    pins = {place: versions(SCRIPTS / f"{place}.txt", names) for place, names in PINNED.items()}
    write(results, f"peers-{which}", {"set": which, "seed": seed, **settings, "peers": pins, "models": found})


def _default() -> str:
    """What `squeeze` ships when a profile says nothing about it."""
    section = ExportSection()
    return f"{section.forms[-1]}, {section.weight_bits} bits"


def pythons_of(folder: Path, places: Iterable[str]) -> dict[str, Path]:
    """Python of this process and of every environment that can be made; of the others a line says why not.

    Args:
        folder: of the environments.
        places: their names.
    """
    made, failed = environments(folder, [SCRIPTS / f"{place}.txt" for place in places])
    for message in failed.values():
        typer.echo(message, err=True)
    return {SQUEEZE: Path(sys.executable), **made}


def pin() -> int | None:
    """Stay on one core, as every process started from here then does; None where no system call can."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))  # the first one has most of the interrupts
    os.sched_setaffinity(0, {core})
    return core


def _variables(place: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)} if place == SQUEEZE else {}


def worker(place: str, pythons: Mapping[str, Path]) -> Worker:
    """A process of an environment that opens files as that tool does."""
    return Worker([pythons[place], SCRIPTS / f"run_{place}.py"], _variables(place))


def measured(
    files: Sequence[Contestant],
    workers: Mapping[str, Worker],
    subject: Subject,
    blocks: int,
    length: int,
    seed: int,
) -> dict[str, Any]:
    """Labels, sizes and times of all files.

    Args:
        files: ours among them, the fp32 graph first.
        workers: by environment.
        subject: whose texts they label.
        blocks: rounds in which every file is timed.
        length: tokens of the texts that are timed, whose numbers are random.
        seed: of these numbers and of the order within a round.

    Returns:
        A record for each name.
    """
    draw = np.random.default_rng(seed)
    texts = draw.integers(0, subject.pieces, (CALLS, length)).tolist()
    for each in files:
        workers[each.place].ask("open", each.name, path=str(each.path), length=each.length)
    labels = {
        each.name: workers[each.place].ask("label", each.name, texts=subject.validation)["labels"]
        for each in files
        if each.length is None
    }
    times: dict[str, list[list[float]]] = {each.name: [] for each in files}
    for number in range(blocks):
        lead = LEAD if number else WARM
        for place in draw.permutation(len(files)):
            each = files[place]
            answer = workers[each.place].ask("time", each.name, texts=texts, lead=lead)
            times[each.name].append(answer["ms"])
    reference = labels[REFERENCE]
    return {
        each.name: {
            "runtime": each.place,
            "p50_ms": round(float(np.median(times[each.name])), 4),
            "bytes": each.bytes,
            "kept_labels": _share(labels.get(each.name), reference),
            "against": {name: ratio(times[each.name], times[name]) for name in OURS},
        }
        for each in files
    }


def _share(labels: Sequence[int] | None, reference: Sequence[int]) -> float | None:
    """Share of texts with the label of the reference; None for a file that takes one length only."""
    return None if labels is None else float(np.mean(np.equal(labels, reference)))


def _show(name: str, found: Mapping[str, Any]) -> None:
    print(name)
    for contestant, each in found.items():
        if "failed" in each:
            print(f"  {contestant:66s} {each['failed']}")
            continue
        share, kept = each["against"][_default()]["value"], each["kept_labels"]
        same = "" if kept is None else f"{100 * kept:5.1f} % of labels"
        print(
            f"  {contestant:66s} {each['p50_ms']:8.3f} ms {share:6.3f} x {each['bytes'] / 1e6:6.2f} MB {same}"
        )


if __name__ == "__main__":
    cli(main)
