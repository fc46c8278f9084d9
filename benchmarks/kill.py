"""Kill the smoke profile at random moments and start it again: it must end, with the same digests.

    python -m benchmarks.kill

One run is left alone. Then fresh runs are killed with SIGKILL at moments drawn evenly over the time
that the first one took, and started again until they end, until 20 kills have struck.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import ENDED, RESULTS, ROOT, Results, cli, complete, squeeze, write
from squeeze import pipeline
from squeeze.cli.output import shown
from squeeze.errors import StageFailed
from squeeze.progress import Advance

__all__ = ["main"]

KINDS = ("dataset", "teacher", "encoder", "bundle")
MOST_STARTS = 50
"""Of one run; one that goes on must have ended long before."""


def main(
    profile: Annotated[Path, typer.Option(help="Profile to run.")] = ROOT / "profiles" / "smoke.toml",
    kills: Annotated[int, typer.Option(help="How many kills must strike.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the profile; repeatable.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Compare killed runs with an undisturbed one; writes kill.json."""
    words = [word for text in overrides or () for word in ("--set", text)]
    command = squeeze("run", profile, *words)
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        with progress.task("undisturbed", 1) as advance:
            started = time.monotonic()
            _start(command, Path(folder) / "whole", None)
            seconds = time.monotonic() - started
            advance(1)
        whole = _digests(Path(folder) / "whole")
        runs: list[dict[str, Any]] = []
        with progress.task("kills", kills) as advance:
            while sum(len(run["killed_at_s"]) for run in runs) < kills:
                place = Path(folder) / str(len(runs))
                runs.append(_disturbed(command, place, seconds, moments, advance))
    record = {
        "profile": profile.name,
        "undisturbed_s": seconds,
        "digests": whole,
        "kills": sum(len(run["killed_at_s"]) for run in runs),
        "runs": runs,
        "ended": True,
        "same": all(run["digests"] == whole for run in runs),
    }
    write(results, "kill", record)


def _disturbed(
    command: list[str], out: Path, seconds: float, moments: random.Random, advance: Advance
) -> dict[str, Any]:
    """One run from nothing to its end.

    Raises:
        StageFailed: it never ends.
    """
    killed: list[float] = []
    during: list[str] = []
    while not _start(command, out, moment := moments.uniform(0, seconds)):
        killed.append(round(moment, 2))
        during.append(_stage(out))
        advance(1, note=f"after {moment:.1f} s in {during[-1]}")
        if len(killed) >= MOST_STARTS:
            raise StageFailed(f"killed {len(killed)} times and not at its end")
    return {"killed_at_s": killed, "killed_in": during, "digests": _digests(out)}


def _start(command: list[str], out: Path, kill_after: float | None) -> bool:
    """Start the chain; True when it came to its end, False when it was killed before.

    Raises:
        StageFailed: it ended by itself and not well.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, "--out", str(out), "--wait"], stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            code = process.wait(kill_after)
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()
            process.wait()
        if code not in ENDED or not complete(_run(out)):
            errors.seek(0)
            raise StageFailed(f"exit code {code}: {errors.read().decode(errors='replace')[-500:].strip()}")
        return True


def _run(out: Path) -> Path:
    """The one run folder below an --out folder."""
    folders = [path for path in out.glob("*") if path.is_dir() and not path.name.startswith(".")]
    return folders[0] if folders else out


def _stage(out: Path) -> str:
    """What was being made when the run was killed."""
    partial = sorted(path.name.partition("-")[0] for path in _run(out).glob("*.partial") if path.is_dir())
    return partial[0] if partial else "between stages"


def _digests(out: Path) -> dict[str, str]:
    """Digest of every artefact that must be the same; all files are checked on the way."""
    found = pipeline.open_run(_run(out))
    return {kind: found[kind].digest for kind in KINDS if kind in found}


if __name__ == "__main__":
    cli(main)
