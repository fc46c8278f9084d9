"""Virtual environments of other tools, made once and kept, and processes in them that answer requests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import typer

from squeeze.errors import MissingBackend, StageFailed

__all__ = ["Worker", "death", "environment", "environments", "run", "variables", "versions"]

OFFLINE = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "OLIVE_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--progress-bar", "off")
PATIENCE = ("--retries", "2", "--timeout", "20")
"""Without a network pip would try for minutes."""


def environment(folder: Path, pins: Path) -> Path:
    """The Python of a virtual environment that holds what a requirement file pins, and nothing else.

    Args:
        folder: of the environment; made where it is not there or was made from other pins.
        pins: every package, those that others need too.

    Raises:
        MissingBackend: pip could not install them.
    """
    folder = folder.absolute()
    python, done = folder / "bin" / "python", folder / pins.name
    if done.is_file() and done.read_bytes() == pins.read_bytes():
        return python
    typer.echo(f"making {folder} from {pins.name}: minutes, once", err=True)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), *PIP, *PATIENCE, "--no-deps", "--requirement", str(pins)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise MissingBackend(
            f"{folder}: pip cannot install {pins.name} ({_last_line(ran.stderr)})",
            hint="run it once where pip reaches a package index; what is made is kept, and needs no network",
        )
    shutil.copyfile(pins, done)  # last: an environment that was cut is made again
    return python


def environments(folder: Path, pins: Iterable[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of every environment that can be made, and what was wrong with the others, by name.

    Args:
        folder: of all environments; each has the name of its requirement file.
        pins: their requirement files.
    """
    made, failed = {}, {}
    for each in pins:
        try:
            made[each.stem] = environment(folder / each.stem, each)
        except MissingBackend as error:
            failed[each.stem] = error.message
    return made, failed


def versions(pins: Path, names: Sequence[str]) -> dict[str, str]:
    """What a requirement file pins some packages to."""
    lines = [line.partition("==") for line in pins.read_text(encoding="utf-8").splitlines()]
    pinned = {name.strip(): version.strip() for name, _, version in lines}
    return {name: pinned[name] for name in names}


def run(command: Sequence[str | Path], folder: Path) -> None:
    """Run a script of another environment to its end.

    Args:
        command: Python, script, arguments; whole paths.
        folder: where it runs, for some tools leave files there when they fail.

    Raises:
        StageFailed: it ended with an error.
    """
    ran = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=variables({}), cwd=folder
    )
    if ran.returncode:
        raise StageFailed(death(ran.returncode, ran.stderr))


class Worker:
    """A process that answers one request after the other and sleeps in between.

    Args:
        command: Python and a script that calls `serving.serve`.
        where: environment variables beside those that every such process gets.
    """

    def __init__(self, command: Sequence[str | Path], where: Mapping[str, str]) -> None:
        self._told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
            env=variables(where),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._told.close()

    def ask(self, do: str, name: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait, asleep, for its answer.

        Args:
            do: what is to be done; see benchmarks/peer_tools/serving.py.
            name: of the model.
            request: the rest.

        Raises:
            StageFailed: the process has ended.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, "name": name, **request}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended before; what it said is read below
        line = process.stdout.readline()
        if not line:
            self._told.seek(0)
            told = self._told.read().decode(errors="replace")
            raise StageFailed(f"{name}: {death(process.wait(), told)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def variables(where: Mapping[str, str]) -> dict[str, str]:
    """Ours without what steers Python, one thread in every pool, no network for what would ask one.

    Args:
        where: what a process gets beside them, or in their place.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, **dict.fromkeys((*OFFLINE, *POOLS), "1"), **where}


def death(code: int, told: str) -> str:
    """How a process ended, with its last line."""
    return f"the process ended with status {code} ({_last_line(told)})"


def _last_line(text: str, limit: int = 300) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else "it said nothing"
