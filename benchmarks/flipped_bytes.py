"""Flip one byte of a finished run or of a bundle: the next command that reads the file must find it.

    python -m benchmarks.flipped_bytes runs/smoke

A position is a file, drawn evenly, so that manifests count as much as weights, and a byte of it. The first
and the last byte of every file come first. A file of a run is read by `squeeze gate`, one of a bundle by
`squeeze predict`; both must end with exit code 4. All is done on copies.
"""

from __future__ import annotations

import io
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.common import RESULTS, Results, cli, write
from squeeze import latest
from squeeze.cli import main as command
from squeeze.errors import StageFailed

__all__ = ["Place", "flip", "main", "places"]

ALTERED = 4
"""Exit code of a stored file that was altered."""
TEXT = "water is rising on Main Street"
Place = tuple[Path, int, int]
"""A file, the place of a byte in it, and the bits that are flipped."""


def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    positions: Annotated[int, typer.Option(help="Bytes to flip, one at a time.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the positions.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Flip bytes in copies of a run and of its bundle; writes flipped_bytes.json."""
    with tempfile.TemporaryDirectory() as folder:
        copy, bundle = Path(folder) / "run", Path(folder) / "bundle"
        shutil.copytree(run, copy)
        shutil.copytree(latest.resolve_bundle(run)[0], bundle)
        for words in (["gate", str(copy)], ["predict", str(bundle), TEXT]):
            if _code(words) not in (0, 1, 5):
                raise StageFailed(f"squeeze {words[0]} refuses the run as it is")
        files = [path for place in (copy, bundle) for path in _files(place)]
        counts: Counter[str] = Counter()
        missed: list[dict[str, object]] = []
        for path, at, bits in places(files, positions, random.Random(seed)):
            words = ["gate", str(copy)] if path.is_relative_to(copy) else ["predict", str(bundle), TEXT]
            code = flip(path, at, bits, words)
            name = path.relative_to(folder).as_posix()
            counts[name] += 1
            if code != ALTERED:
                missed.append({"file": name, "at": at, "bits": bits, "command": words[0], "code": code})
    record = {
        "run": run.name,
        "seed": seed,
        "files": len(files),
        "positions": counts.total(),
        "found": counts.total() - len(missed),
        "missed": missed,
        "by_file": dict(sorted(counts.items())),
    }
    write(results, "flipped_bytes", record)
    typer.echo(f"{record['found']} of {record['positions']} flipped bytes were found")


def places(files: Sequence[Path], count: int, draw: random.Random) -> Iterator[Place]:
    """The first and the last byte of every file, then drawn ones; so many in all."""
    sizes = {path: path.stat().st_size for path in files}
    ends = [(path, at) for path, size in sizes.items() for at in dict.fromkeys((0, size - 1))]
    for path, at in ends[:count]:
        yield path, at, draw.randrange(1, 256)
    for _ in range(count - len(ends)):
        path = draw.choice(files)
        yield path, draw.randrange(sizes[path]), draw.randrange(1, 256)


def flip(path: Path, at: int, bits: int, words: Sequence[str]) -> int:
    """Exit code of a command while some bits of a byte are flipped; the file is as before afterwards."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ bits]))
        file.flush()
        code = _code(words)
        file.seek(at)
        file.write(bytes([byte]))
    return code


def _code(words: Sequence[str]) -> int:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return command(words)


def _files(folder: Path) -> list[Path]:
    """All files that hold something; the lock is empty."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


if __name__ == "__main__":
    cli(main)
