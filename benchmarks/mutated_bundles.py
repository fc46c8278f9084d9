"""Mutate bundles and hand them to `predict` and `report`: one line and the right exit code, whatever comes.

    python -m benchmarks.mutated_bundles runs/smoke

Each case changes one thing in a copy of a bundle: a file is missing, cut, emptied or swapped with another, a
field of a JSON file is dropped or becomes something else, bytes of a model change. In four cases of five the
digests of manifest.json and latest.json are computed anew, so that the readers behind the check are reached.
Each command runs in a process of its own, whose processor time and memory are counted.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from benchmarks.campaign import MOST_BYTES, MOST_SECONDS, Ended, forked, internal
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.flipped_bytes import known_digests
from squeeze import artifact, latest
from squeeze.artifact import MANIFEST
from squeeze.cli import edge
from squeeze.cli import main as command
from squeeze.cli.app import app
from squeeze.errors import StageFailed

__all__ = ["KINDS", "Case", "commands", "linked", "main", "mutate", "seal", "wrong"]

TEXT = "water is rising on Main Street"
SEALED_SHARE = 0.8
OK, USAGE, MISSING, ALTERED = 0, 2, 3, 4
SAVED_EVERY = 50
VALUES: tuple[Any, ...] = (None, True, -1, 0, 10**30, 1e308, "", "x", "../x", "\u0000", [], [1], {}, {"x": 1})
NAMES = (MANIFEST, "labels.json", "tokenizer.json", "model.onnx", "model.int8.onnx", "MODEL_CARD.md")


@dataclass(frozen=True)
class Case:
    """One mutated bundle.

    Attributes:
        kind: of mutation.
        file: that was changed.
        sealed: whether the digests are those of the changed files.
    """

    kind: str
    file: str
    sealed: bool


def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    cases: Annotated[int, typer.Option(help="Mutated bundles.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the mutations; case number n has seed + n.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Mutate bundles of a run; writes mutated-bundles.json."""
    known = latest.read(run)
    bundle = known.shown.stages["export"].folder
    codes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    _warm(run, bundle)
    unchanged = {
        path.relative_to(run): artifact.digest_file(path) for path in run.rglob("*") if path.is_file()
    }
    slowest, largest = 0.0, 0
    for number in range(cases):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "run"
            linked(run, copy, bundle)
            case = mutate(copy / bundle, random.Random(seed + number))
            if case.sealed:
                seal(copy, bundle)
            same = {copy / path: digest for path, digest in unchanged.items() if path.parts[0] != bundle}
            for words in commands(copy, bundle):
                with known_digests(same):
                    ended = forked(words)
                codes[f"{words[0]} {case.kind}: {ended.code}"] += 1
                slowest, largest = max(slowest, ended.seconds), max(largest, ended.memory)
                if why := wrong(case, words[0], ended):
                    place = {"seed": seed + number, "command": words[0], "why": why}
                    faults.append({**place, **vars(case), **vars(ended), "errors": ended.errors[-500:]})
        if number + 1 == cases or not (number + 1) % SAVED_EVERY:
            record = {
                "run": run.name,
                "seed": seed,
                "cases": number + 1,
                "commands": codes.total(),
                "faults": faults,
                "slowest_s": slowest,
                "largest_bytes": largest,
                "codes": dict(sorted(codes.items())),
            }
            write(results, "mutated-bundles", record)
    typer.echo(f"{len(faults)} faults in {cases} bundles; {slowest:.2f} s and {largest / 1e6:.0f} MB at most")


def _warm(run: Path, bundle: str) -> None:
    """Load all modules once, so that no fork does: the seconds of a case are then those of its bundle."""
    vars(edge)["app"] = get_command(app)  # as it does for every command
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        linked(run, copy, bundle)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            codes = [command(words) for words in commands(copy, bundle)]
    if any(codes):
        raise StageFailed(f"{run}: its commands end with codes {codes} as it is")


def commands(run: Path, bundle: str) -> tuple[list[str], ...]:
    """What every case goes through, as words behind `squeeze`."""
    page = str(run.parent / "page.html")
    return ["predict", str(run / bundle), TEXT], ["report", str(run), "--html", page]


def linked(run: Path, copy: Path, bundle: str) -> None:
    """A copy of a run: the bundle and latest.json are copied, the rest are hard links."""
    shutil.copytree(run, copy, copy_function=_link, ignore=shutil.ignore_patterns(bundle, ".scratch"))
    shutil.copytree(run / bundle, copy / bundle)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy(source, target)


def mutate(folder: Path, draw: random.Random) -> Case:
    """Change one thing in a bundle."""
    kind = draw.choice(list(KINDS))
    names = [
        name for name in NAMES if (folder / name).is_file() and (kind != "json" or name.endswith(".json"))
    ]
    if kind == "model":
        names = [name for name in names if name.endswith(".onnx")]
    path = folder / draw.choice(names)
    KINDS[kind](path, draw)
    return Case(kind, path.name, sealed=draw.random() < SEALED_SHARE)


def _missing(path: Path, _draw: random.Random) -> None:
    path.unlink()


def _cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def _emptied(path: Path, _draw: random.Random) -> None:
    path.write_bytes(b"")


def _swapped(path: Path, draw: random.Random) -> None:
    others = [each for each in sorted(path.parent.iterdir()) if each.is_file() and each != path]
    other = draw.choice(others)
    mine = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(mine)


def _bytes(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 8, 64))):
        # Half of the changes hit the first 2,000 bytes: nodes and names lie there, behind them weights.
        end = min(len(content), 2_000) if draw.random() < 0.5 else len(content)
        content[draw.randrange(end)] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def _json(path: Path, draw: random.Random) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    holder, key = draw.choice(list(_entries(document))[:400])
    act = draw.random()
    if act < 0.3 and isinstance(holder, dict):
        del holder[key]
    elif act < 0.9:
        holder[key] = draw.choice(VALUES)
    else:
        holder[key] = _deep(draw.choice((50, 900)))
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _entries(value: Any) -> Any:
    """Every holder and key of a document, the outer ones first."""
    waiting = [value]
    while waiting:
        holder = waiting.pop(0)
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


KINDS: Mapping[str, Callable[[Path, random.Random], None]] = {
    "missing": _missing,
    "cut": _cut,
    "emptied": _emptied,
    "swapped": _swapped,
    "bytes": _bytes,
    "model": _bytes,
    "json": _json,
}


def seal(run: Path, bundle: str) -> None:
    """Compute the digests of a changed bundle anew, as far as its manifest is still one."""
    path = run / bundle / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return
    manifest.pop("sha256", None)
    manifest["files"] = artifact.digest_files(run / bundle)
    manifest["digest"] = artifact.digest_json(manifest["files"])
    artifact.write_sealed(path, manifest)
    document = json.loads((run / latest.LATEST).read_text(encoding="utf-8"))
    document.pop("sha256")
    for known in (document["shown"], document["last"]):
        known["stages"]["export"]["digest"] = manifest["digest"]
    artifact.write_sealed(run / latest.LATEST, document)


def wrong(case: Case, command: str, ended: Ended) -> str:
    """What is wrong with the end of a command, or nothing."""
    if internal(ended.errors):
        return "internal error"
    if ended.seconds > MOST_SECONDS:
        return "too slow"
    if ended.memory > MOST_BYTES:
        return "too much memory"
    return "" if ended.code in _right(case, command) else "wrong exit code"


def _right(case: Case, command: str) -> set[int]:
    """Exit codes that a case may end with."""
    loose = case.kind == "missing" and case.file == MANIFEST
    if loose and command == "predict":
        return {OK}  # a bundle needs no manifest
    if not case.sealed:
        return {ALTERED, OK} if case.kind == "swapped" else {ALTERED}
    if case.file.endswith(".onnx") or case.kind == "swapped":
        return {OK, USAGE, MISSING, ALTERED}
    if case.file == MANIFEST:
        return {OK, USAGE, ALTERED}  # one of another kind is a folder that was given by mistake
    return {OK, ALTERED}


if __name__ == "__main__":
    cli(main)
