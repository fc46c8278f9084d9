"""Two thousand changed model files through bench and doctor: no internal error, no wrong exit code.

    python -m benchmarks.mutated_models --count 2000 --seed 0

Every case is a small valid model that is changed (benchmarks/model_mutations.py). `bench` opens and times it
in a measuring process of its own, as the product does, with one start and ten runs; `doctor` reads it. What
was tried is kept in `--kept`, a line a case, so that the command goes on where it was cut short; `--part 0/4`
does a quarter. The same seed gives the same cases: `--only NUMBER` prints one and what happens.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks import campaign
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.model_mutations import Case, draw
from squeeze import bench_formats
from squeeze.bench import BenchOptions, bench
from squeeze.cli import edge, output
from squeeze.cli import main as squeeze

__all__ = ["main", "tried"]

ROOT = Path(__file__).resolve().parent.parent
BATCH = 20
MEMORY, DOCTOR_BYTES = 500_000_000, 1_000_000_000
LIMITS_S = {"bench": 300.0, "doctor": 2.0}
"""Of the clock for bench, whose processes have limits of their own; of the processor for doctor."""
OPTIONS = BenchOptions(min_runs=10, min_seconds=0.0, max_seconds=1.0, starts=1, max_memory=MEMORY)
COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def main(
    count: Annotated[int, typer.Option(help="Cases.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 0,
    part: Annotated[str, typer.Option(metavar="I/N", help="Every Nth case from I.")] = "0/1",
    minutes: Annotated[float, typer.Option(help="Stop after so many; the same command goes on.")] = 600.0,
    kept: Annotated[Path, typer.Option(help="Folder of what was tried.")] = Path("runs/mutated-models"),
    only: Annotated[int | None, typer.Option(help="Show this case and what happens.")] = None,
    here: Annotated[str, typer.Option(hidden=True, help="Numbers, in this process.")] = "",
    results: Results = RESULTS,
) -> None:
    """Try the cases; writes mutated-models.json when all of them were tried."""
    if only is not None or here:
        for number in [only] if only is not None else map(int, here.split(",")):
            typer.echo(json.dumps(_tried(seed, number)))
        return
    kept.mkdir(parents=True, exist_ok=True)
    first, step = map(int, part.split("/"))
    end = time.monotonic() + 60 * minutes
    path = kept / f"{seed}-{first}of{step}.jsonl"
    known = _known(kept, seed)
    waiting = [number for number in range(first, count, step) if number not in known]
    for start in range(0, len(waiting), BATCH):
        if time.monotonic() > end:
            break
        _apart(seed, waiting[start : start + BATCH], path)
    known = {number: each for number, each in _known(kept, seed).items() if number < count}
    typer.echo(f"{len(known)} of {count}: {len(_wrong(known.values()))} wrong", err=True)
    if len(known) == count:
        write(results, "mutated-models", {"seed": seed, **_summary(list(known.values()))})


def _known(folder: Path, seed: int) -> dict[int, dict[str, Any]]:
    """What was tried before, by all parts."""
    parts = [campaign.kept(path, "number", seed) for path in sorted(folder.glob(f"{seed}-*.jsonl"))]
    return {number: record for part in parts for number, record in part.items()}


def _apart(seed: int, numbers: list[int], path: Path) -> None:
    """Some cases in a process of their own; one that ends it is written down, and the rest goes on."""
    while numbers:
        command = [sys.executable, "-m", "benchmarks.mutated_models", "--seed", str(seed)]
        with subprocess.Popen(
            [*command, "--here", ",".join(map(str, numbers))], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                campaign.keep(path, json.loads(line))
                numbers = numbers[1:]
        if numbers:
            crash = {"number": numbers[0], "kind": draw(seed, numbers[0]).kind, "codes": {}, "seconds": 0.0}
            crash |= {"wrong": [f"the process ended with {process.returncode}"], "doctor_s": 0.0, "bytes": 0}
            campaign.keep(path, crash)
            numbers = numbers[1:]


def _tried(seed: int, number: int) -> dict[str, Any]:
    case = draw(seed, number)
    with TemporaryDirectory() as folder:
        found = tried(case, Path(folder))
    return {"number": number, "kind": case.kind, "seed_model": case.name.rpartition(".")[0][:40], **found}


def _peak() -> int:
    """Most memory that this process has held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tried(case: Case, folder: Path) -> dict[str, Any]:
    """One case through both commands.

    Args:
        case: of benchmarks/model_mutations.py.
        folder: an empty one.

    Returns:
        Exit codes, seconds (of the processor for doctor), the most memory, and what was wrong.
    """
    inside = folder / "model"
    inside.mkdir()
    for name, content in case.beside.items():
        (inside / name).write_bytes(content)
    path = inside / case.name
    path.write_bytes(case.content)
    codes, wrong, seconds, held = {}, [], {}, _peak()
    for command, right in (("bench", case.bench), ("doctor", case.doctor)):
        began, used = time.monotonic(), time.process_time()
        codes[command], out, err = _caught(partial(COMMANDS[command], path))
        clock = time.monotonic() - began
        seconds[command] = clock if command == "bench" else time.process_time() - used
        found = list(_faults(codes[command], right, out, err))
        if command == "bench" and codes[command] and case.says not in err:
            found.append(f"does not say {case.says!r}")
        wrong += [f"{command}: {each}: {err[-600:]}" for each in found]
        if seconds[command] > LIMITS_S[command]:
            wrong.append(f"{command}: took {seconds[command]:.0f} s")
    peak = _peak()
    if peak - held > DOCTOR_BYTES:
        wrong.append(f"this process took {(peak - held) / 1e6:.0f} MB more")
    return {
        "codes": codes,
        "seconds": round(seconds["bench"], 3),
        "doctor_s": round(seconds["doctor"], 3),
        "bytes": peak,
        "wrong": wrong,
    }


def _bench(path: Path) -> int:
    """The command without the parsing of its words, with fewer starts than the command line takes."""
    try:
        with output.shown() as progress:
            report = bench([path], OPTIONS, progress)
    except Exception as error:  # noqa: BLE001 - as at the edge of the command line
        return edge._explain(error)
    output.emit(bench_formats.markdown(report))
    output.emit(bench_formats.summary(report))
    output.emit_json(report.plain())
    return 0


def _doctor(path: Path) -> int:
    return squeeze(["doctor", "--", str(path)])


COMMANDS: dict[str, Callable[[Path], int]] = {"bench": _bench, "doctor": _doctor}


def _caught(call: Callable[[], int]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call()
    return code, out.getvalue(), err.getvalue()


def _faults(code: int, right: frozenset[int], out: str, err: str) -> Iterator[str]:
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if campaign.internal(err):
        yield "internal error"
    if code not in right:
        yield f"exit code {code}, one of {sorted(right)} is right"
    if len(errors) != (code > 1):
        yield f"{len(errors)} lines of errors with exit code {code}"
    if any(len(line) > 12_000 for line in errors):
        yield "a line of more than 12,000 characters"
    if COMMAND.search(out + err) or STEERING.search(out + err):
        yield "a line that a CI runs, or a sign that steers a terminal"


def _wrong(cases: Any) -> list[dict[str, Any]]:
    return [each for each in cases if each["wrong"]]


def _summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    codes = Counter(f"{command} {code}" for each in cases for command, code in each["codes"].items())
    kinds = Counter(f"{each['kind']}: bench {each['codes'].get('bench')}" for each in cases)
    wrong = _wrong(cases)
    return {
        "cases": len(cases),
        "codes": dict(sorted(codes.items())),
        "kinds": dict(sorted(kinds.items())),
        "internal_errors": sum("internal error" in fault for each in wrong for fault in each["wrong"]),
        "wrong": wrong,
        "slowest_bench_s": max(each["seconds"] for each in cases),
        "slowest_doctor_s": max(each["doctor_s"] for each in cases),
        "most_bytes": max(each["bytes"] for each in cases),
    }


if __name__ == "__main__":
    cli(main)
