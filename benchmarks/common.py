"""What all benchmark scripts share: where results go, what stands at their head, how they start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import ArrayLike

from squeeze import latest
from squeeze.artifact import write_json
from squeeze.core.stats import paired_ratio
from squeeze.errors import SqueezeError
from squeeze.runtime import environment, quiet, versions
from squeeze.targets.limits import disturbed
from squeeze.targets.measurement import Measurement

__all__ = [
    "PROFILES",
    "RESULTS",
    "ROOT",
    "DataRoot",
    "Jobs",
    "Limit",
    "Out",
    "Results",
    "StudentSet",
    "TeacherSet",
    "call",
    "cli",
    "complete",
    "ratio",
    "read",
    "speedup",
    "squeeze",
    "write",
]

ROOT = Path(__file__).resolve().parent.parent
PROFILES = Path(__file__).resolve().parent / "profiles"
NO_SOURCE = (":!benchmarks/results", ":!benchmarks/RESULTS.md")
"""What a campaign may change without being another program: results that were written before its own."""
RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "numpy")
ENDED = frozenset({0, 1, 5})
"""Exit codes of a chain that came to its end: kept, missed or too noisy to say."""

DataRoot = Annotated[Path, typer.Argument(metavar="DATA_ROOT", help="Folder that holds the sets.")]
Jobs = Annotated[int, typer.Option(help="Processes; they share the cores.")]
Limit = Annotated[int | None, typer.Option(help="Rows a split, for a quick try.")]
TeacherSet = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change the teacher's profile; repeatable.")
]
StudentSet = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change the students' profiles; repeatable.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of all runs.")]
Results = Annotated[Path, typer.Option(metavar="DIR", help="Where the JSON file goes.")]


def cli(function: Callable[..., None]) -> None:
    """Run a script's function as its command; errors of squeeze end as one line and their exit code."""
    quiet()
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        app()
    except SqueezeError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def squeeze(*arguments: str | Path) -> list[str]:
    """The `squeeze` command of this Python, as words to start."""
    return [sys.executable, "-m", "squeeze", *map(str, arguments)]


def call(folder: Path, *arguments: str | Path, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run the `squeeze` command of this source in a folder."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        squeeze(*arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, "PYTHONPATH": paths},
    )


def write(folder: Path, name: str, record: dict[str, Any]) -> Path:
    """Write `<name>.json` under a head that says what made it, from which source and on what."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_json(path, {**_head(), **record})
    typer.echo(f"{path} written; next: python -m benchmarks.report")
    return path


def read(path: Path) -> dict[str, Any]:
    """One result."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def ratio(numerator: Sequence[ArrayLike], denominator: Sequence[ArrayLike]) -> dict[str, Any]:
    """How many times larger one side is, block by block, with its interval (None below 6 blocks)."""
    found = paired_ratio(numerator, denominator)
    return {**found.plain(), "blocks": len(numerator)}


def speedup(baseline: Measurement, model: Measurement) -> dict[str, Any]:
    """How many times faster a model is than another that ran in turns with it.

    A busy machine takes the core away in the middle of long calls and leaves short ones whole, so it
    makes the slower model look slower still; whether it did stands beside the figure, and counts in
    the verdict.
    """
    return {
        **ratio(baseline.blocks(), model.blocks()),
        "baseline_disturbed": disturbed(baseline, "p50"),
        "model_disturbed": disturbed(model, "p50"),
    }


def complete(folder: Path) -> bool:
    """Whether the last run in a run folder came to the end of its chain."""
    try:
        return latest.read(folder).last.complete
    except SqueezeError:
        return False


def _head() -> dict[str, Any]:
    return {
        "schema": 1,
        "command": _command(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "clean": _git("status", "--porcelain", "--untracked-files=no", "--", ".", *NO_SOURCE) == "",
        "environment": environment(),
        "versions": versions(LIBRARIES),
    }


def _command() -> str:
    """As it was typed, but for folders outside the repository, whose whole paths say nothing elsewhere."""
    return " ".join([f"python -m benchmarks.{Path(sys.argv[0]).stem}", *map(_shortened, sys.argv[1:])])


def _shortened(word: str) -> str:
    """A path in the repository from its root, any other by its last two names; other words as they are."""
    path = Path(word)
    if not path.is_absolute() and ".." not in path.parts:
        return word
    full = path.resolve()
    return os.path.relpath(full, ROOT) if full.is_relative_to(ROOT) else "/".join(("..", *full.parts[-2:]))


def _git(*arguments: str) -> str | None:
    """What git says about the source, None where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
