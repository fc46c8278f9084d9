"""Flip one byte of a finished run or of a bundle: the next command that reads the file must find it.

    python -m benchmarks.flipped_bytes runs/smoke

A position is a file, drawn evenly, so that manifests count as much as weights, and a byte of it. The first
and the last byte of every file come first. A file of a run is read as `squeeze gate` reads it, one of a
bundle as `squeeze predict` does; both must raise an error whose exit code is 4. All is done on copies. Files
that are known to be unchanged are not hashed again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.common import RESULTS, Results, cli, write
from squeeze import artifact, latest, pipeline
from squeeze.errors import SqueezeError
from squeeze.predict import predict

__all__ = ["Place", "code", "flip", "known_digests", "main", "places"]

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
    """Flip bytes in copies of a run and of its bundle; writes flipped-bytes.json."""
    with tempfile.TemporaryDirectory() as folder:
        copy, bundle = Path(folder) / "run", Path(folder) / "bundle"
        shutil.copytree(run, copy)
        shutil.copytree(latest.resolve_bundle(run)[0], bundle)
        readers: dict[Path, Callable[[], object]] = {
            copy: lambda: pipeline.open_run(copy, judged=True),
            bundle: lambda: predict(bundle, [TEXT]),
        }
        for read in readers.values():
            read()
        files = {path: read for place, read in readers.items() for path in _files(place)}
        counts: Counter[str] = Counter()
        missed: list[dict[str, object]] = []
        digests = {path: artifact.digest_file(path) for path in files}
        for path, at, bits in places(list(files), positions, random.Random(seed)):
            with known_digests({each: known for each, known in digests.items() if each != path}):
                ended = flip(path, at, bits, partial(code, files[path]))
            name = path.relative_to(folder).as_posix()
            counts[name] += 1
            if ended != ALTERED:
                missed.append({"file": name, "at": at, "bits": bits, "code": ended})
    record = {
        "run": run.name,
        "seed": seed,
        "files": len(files),
        "positions": counts.total(),
        "found": counts.total() - len(missed),
        "missed": missed,
        "by_file": dict(sorted(counts.items())),
    }
    write(results, "flipped-bytes", record)
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


@contextmanager
def known_digests(known: Mapping[Path, str]) -> Iterator[None]:
    """Take digests of some files as known, and compute those of all others."""
    compute = artifact.digest_file
    artifact.digest_file = lambda path: known[path] if path in known else compute(path)
    try:
        yield
    finally:
        artifact.digest_file = compute


def flip(path: Path, at: int, bits: int, read: Callable[[], int]) -> int:
    """How a command ends while some bits of a byte are flipped; the file is as before afterwards.

    Args:
        path: of the file.
        at: place of the byte.
        bits: that are flipped, 1..255.
        read: the command, which gives its exit code.
    """
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ bits]))
        file.flush()
        ended = read()
        file.seek(at)
        file.write(bytes([byte]))
    return ended


def code(read: Callable[[], object]) -> int:
    """Exit code of what a command does."""
    try:
        read()
    except SqueezeError as error:
        return error.exit_code
    return 0


def _files(folder: Path) -> list[Path]:
    """All files that hold something; the lock is empty."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


if __name__ == "__main__":
    cli(main)
