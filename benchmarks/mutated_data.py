"""Mutated data files through plan and the data stage: no internal error, no wrong code, none slow or large.

    python -m benchmarks.mutated_data --count 2000 --seed 0

Each case is a small CSV, TSV, JSONL or Parquet file with some of it changed (benchmarks/data_mutations.py),
named as train, test, unlabelled or the single file of a split. `squeeze plan` and `squeeze run --until data`
run on it, each in a fork of one process that has loaded the libraries; its processor seconds and its peak
memory are measured. Right are 0 and 2, and what plan refuses the data stage must refuse as well. A case of a
number is the same for the same seed: `--only NUMBER` shows it and what happens.
"""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks import campaign
from benchmarks.campaign import MOST_BYTES, MOST_SECONDS, Ended, forked, internal
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.data_mutations import LABELS, Case, draw, sound
from benchmarks.profile_mutations import toml
from squeeze.errors import StageFailed

__all__ = ["faults_of", "main", "tried", "write_sound"]

RIGHT = frozenset({0, 2})
COMMANDS = (("plan",), ("run", "--until", "data"))


def main(
    count: Annotated[int, typer.Option(help="Cases.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 0,
    first: Annotated[int, typer.Option(help="Number of the first case.")] = 0,
    only: Annotated[int | None, typer.Option(help="Show this case and what happens.")] = None,
    kept: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cases that are done: a cut campaign goes on.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Try all cases; writes mutated-data.json."""
    cases = campaign.kept(kept, "case", seed)
    numbers = [only] if only is not None else range(first, first + count)
    with TemporaryDirectory() as name:
        _warm(Path(name))
        for number in numbers:
            if number not in cases:
                cases[number] = _case(number, seed, Path(name), show=only is not None)
                campaign.keep(kept, cases[number])
    if only is None:
        write(
            results, "mutated-data", {"seed": seed, **_summary([cases[number] for number in sorted(cases)])}
        )


def _case(number: int, seed: int, folder: Path, *, show: bool) -> dict[str, Any]:
    case = draw(number, seed)
    ends = tried(case, folder)
    record = {
        "seed": seed,
        "case": number,
        "kinds": case.kinds,
        "slot": case.slot,
        "codes": [ended.code for ended in ends],
        "seconds": max(ended.seconds for ended in ends),
        "peak": max(ended.memory for ended in ends),
        "faults": faults_of(ends),
    }
    if show or record["faults"]:
        errors = "".join(ended.errors for ended in ends)[-1500:]
        typer.echo(
            f"{json.dumps(record)}\n{case.ending} {case.by}: {case.content[:300]!r}\n{errors}", err=True
        )
    if number % 100 == 99:
        typer.echo(f"{number + 1} cases", err=True)
    return record


def faults_of(ends: Sequence[Ended]) -> list[str]:
    """What is wrong with how plan and run ended."""
    plan, run = ends
    faults = []
    for name, ended in zip(("plan", "run"), ends, strict=True):
        if internal(ended.errors):
            faults.append(f"{name}: internal error")
        elif ended.code not in RIGHT:
            faults.append(f"{name}: code {ended.code}")
        if ended.seconds > MOST_SECONDS:
            faults.append(f"{name}: {ended.seconds:.1f} s")
        if ended.memory > MOST_BYTES:
            faults.append(f"{name}: {ended.memory / 1e6:.0f} MB")
    if plan.code == 2 and run.code == 0:
        faults.append("plan refuses what the data stage takes")
    return faults


def tried(case: Case, folder: Path, run: Callable[[Sequence[str]], Ended] = forked) -> list[Ended]:
    """Both commands on one case.

    Args:
        case: the file.
        folder: holds train.csv, validation.csv and test.csv.
        run: runs one command; in a fork by default.
    """
    path = folder / f"case.{case.ending}"
    path.write_bytes(case.content)
    slots = {name: f"{name}.csv" for name in ("train", "validation", "test")}
    data: dict[str, Any] = {**slots, case.slot: path.name}
    if case.slot == "unlabelled":
        data["unlabelled"] = [path.name]
    if case.slot == "split":
        data = {"train": path.name, "split": {"by": case.by}}
    profile = _write_profile(folder, data)
    try:
        return [run([*words, str(profile), "--out", str(folder / "runs")]) for words in COMMANDS]
    finally:
        path.unlink()


def _write_profile(folder: Path, data: Mapping[str, Any]) -> Path:
    lines = [f"{key} = {toml(value)}" for key, value in data.items()]
    head = f'name = "p"\n[task]\nlabels = {json.dumps(list(LABELS))}\n[data]\nduplicates = "drop"\n'
    profile = folder / "p.toml"
    profile.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return profile


def _warm(folder: Path) -> None:
    """Write the sound files, load the libraries, and see that both commands take what is sound."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import rensa  # noqa: F401
    import scipy.stats  # noqa: F401

    from squeeze import cli as squeeze
    from squeeze.stages.data import run  # noqa: F401

    write_sound(folder)
    sources = {name: f"{name}.csv" for name in ("train", "validation", "test")}
    # The threads that rensa starts would not be there in a fork.
    _write_profile(folder, {**sources, "near_duplicates": "keep"})
    out, err = io.StringIO(), io.StringIO()
    for words in COMMANDS:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = squeeze.main([*words, str(folder / "p.toml"), "--out", str(folder / "runs")])
        if code:
            raise StageFailed(f"{words[0]} refuses sound files: {err.getvalue()}")
    gc.freeze()


def write_sound(folder: Path) -> None:
    """Write train.csv, validation.csv and test.csv, with which nothing is wrong."""
    for split in ("train", "validation", "test"):
        rows = sound(random.Random(split))
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "text": f"{split} {row['text']}"} for row in rows)


def _summary(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    codes = Counter(f"plan {case['codes'][0]}, run {case['codes'][1]}" for case in cases)
    return {
        "cases": len(cases),
        "codes": dict(sorted(codes.items())),
        "faults": [case for case in cases if case["faults"]],
        "slowest_s": round(max(case["seconds"] for case in cases), 2),
        "largest_mb": round(max(case["peak"] for case in cases) / 1e6),
    }


if __name__ == "__main__":
    cli(main)
