"""One program of this machine, run with a limit, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from squeeze.errors import MissingBackend, brief

__all__ = ["Done", "Late", "call"]


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    code: int
    out: bytes
    err: str

    @property
    def last_line(self) -> str:
        """What it said last on stderr, which is where programs say why."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return brief(lines[-1]) if lines else ""


class Late(Exception):
    """A program did not end in time and was stopped; caught by those who know what it was doing."""


def call(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: IO[bytes] | None = None,
    hold: bool = False,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    install: str = "",
) -> Done:
    """Run a program to its end.

    It gets a process group of its own, which is killed when time is over and when we are interrupted.

    Args:
        argv: the program and its words; no shell reads them.
        timeout_s: seconds it may take.
        stdin: a file for its standard input; empty by default.
        hold: whether its standard input stays open for as long as we wait, instead.
        folder: where it runs.
        variables: what its environment has beside ours.
        install: the hint when it is not installed.

    Raises:
        MissingBackend: there is no such program, or it is none for this machine.
        Late: it was stopped.
    """
    source = subprocess.PIPE if hold else stdin or subprocess.DEVNULL
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**os.environ, **(variables or {})},
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise MissingBackend(f"{argv[0]} is not installed", hint=install) from error
        except OSError as error:
            raise MissingBackend(f"{argv[0]} cannot be started ({error.strerror})") from error
        with process:
            code = _wait(process, timeout_s)
        out.seek(0)
        err.seek(0)
        return Done(code, out.read(), err.read().decode(errors="replace"))


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise Late from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
