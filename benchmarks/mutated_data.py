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
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.data_mutations import LABELS, Case, draw, sound
from squeeze.errors import StageFailed

__all__ = ["Done", "faults_of", "main", "tried", "write_sound"]

RIGHT = frozenset({0, 2})
LIMIT_S, LIMIT_BYTES = 2.0, 1_000_000_000
HANGS_CPU_S, HANGS_S = 30, 600
"""Seconds of the processor, and of the clock, after which a command is ended; others may use the machine."""
COMMANDS = (("plan",), ("run", "--until", "data"))


@dataclass(frozen=True)
class Done:
    """How one command ended.

    Attributes:
        code: exit code; -1 for one that hangs, less for a signal.
        err: its standard error.
        seconds: of the processor.
        wall: seconds that passed.
        peak: bytes.
    """

    code: int
    err: str
    seconds: float
    wall: float
    peak: int

    @property
    def internal(self) -> bool:
        """Whether something happened that nobody thought of."""
        return "internal error" in self.err or "Traceback" in self.err or self.code < 0


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
    cases = _read(kept)
    numbers = [only] if only is not None else range(first, first + count)
    with TemporaryDirectory() as name:
        _warm(Path(name))
        for number in numbers:
            if number not in cases:
                cases[number] = _case(number, seed, Path(name), show=only is not None)
                _keep(kept, cases[number])
    if only is None:
        write(
            results, "mutated-data", {"seed": seed, **_summary([cases[number] for number in sorted(cases)])}
        )


def _read(kept: Path | None) -> dict[int, dict[str, Any]]:
    if kept is None or not kept.exists():
        return {}
    records = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    return {record["case"]: record for record in records}


def _keep(kept: Path | None, record: dict[str, Any]) -> None:
    if kept is not None:
        with kept.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(record) + "\n")


def _case(number: int, seed: int, folder: Path, *, show: bool) -> dict[str, Any]:
    case = draw(number, seed)
    done = tried(case, folder)
    record = {
        "case": number,
        "kinds": case.kinds,
        "slot": case.slot,
        "codes": [result.code for result in done],
        "seconds": max(result.seconds for result in done),
        "peak": max(result.peak for result in done),
        "faults": faults_of(done),
    }
    if show or record["faults"]:
        said = "".join(result.err for result in done)
        typer.echo(
            f"{json.dumps(record)}\n{case.ending} {case.by}: {case.content[:300]!r}\n{said[-1500:]}", err=True
        )
    if number % 100 == 99:
        typer.echo(f"{number + 1} cases", err=True)
    return record


def faults_of(done: Sequence[Done]) -> list[str]:
    """What is wrong with how plan and run ended."""
    plan, run = done
    faults = []
    for name, result in zip(("plan", "run"), done, strict=True):
        if result.internal:
            faults.append(f"{name}: internal error")
        elif result.code not in RIGHT:
            faults.append(f"{name}: code {result.code}")
        if result.seconds > LIMIT_S:
            faults.append(f"{name}: {result.seconds:.1f} s")
        if result.peak > LIMIT_BYTES:
            faults.append(f"{name}: {result.peak / 1e6:.0f} MB")
    if plan.code == 2 and run.code == 0:
        faults.append("plan refuses what the data stage takes")
    return faults


def tried(case: Case, folder: Path, start: Callable[[Sequence[str], Path], Done] | None = None) -> list[Done]:
    """Both commands on one case.

    Args:
        case: the file.
        folder: holds train.csv, validation.csv and test.csv.
        start: runs one command: (words, folder); in a fork by default.
    """
    run = start or _forked
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
        return [run([*words, str(profile), "--out", str(folder / "runs")], folder) for words in COMMANDS]
    finally:
        path.unlink()


def _write_profile(folder: Path, data: Mapping[str, Any]) -> Path:
    lines = [f"{key} = {_toml(value)}" for key, value in data.items()]
    head = f'name = "p"\n[task]\nlabels = {json.dumps(list(LABELS))}\n[data]\nduplicates = "drop"\n'
    profile = folder / "p.toml"
    profile.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return profile


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value)


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


def _forked(words: Sequence[str], folder: Path) -> Done:
    """One command in a fork of this process."""
    err = folder / "err.txt"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(words, err)
    _, status, used = os.wait4(child, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Done(
        code=code,
        err=err.read_text(encoding="utf-8", errors="replace"),
        seconds=used.ru_utime + used.ru_stime,
        wall=time.monotonic() - started,
        peak=used.ru_maxrss * 1024,
    )


def _be_the_command(words: Sequence[str], err: Path) -> None:
    """In the child: streams to files, then the command, then the end."""
    from squeeze.cli import main as squeeze

    code = 99
    try:
        with err.open("wb") as handle, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(handle.fileno(), 2)
            os.dup2(nowhere.fileno(), 1)
        signal.alarm(HANGS_S)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (HANGS_CPU_S, HANGS_CPU_S))
        code = squeeze(list(words))
        sys.stderr.flush()
        sys.stdout.flush()
    finally:
        os._exit(code)


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
