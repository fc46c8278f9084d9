"""What the campaigns over mutated input share: how a command ended, and the cases that are done."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Ended", "forked", "internal", "keep", "kept"]

MOST_SECONDS, MOST_BYTES = 2.0, 10**9
"""Limits of a command: seconds of the processor and peak memory."""
HANGS_CPU_S, HANGS_S = 30, 600
"""Seconds of the processor, and of the clock, after which a command is ended; others may use the machine."""


@dataclass(frozen=True)
class Ended:
    """How one command ended.

    Attributes:
        code: exit code, or the negative number of the signal that ended it.
        seconds: of the processor.
        memory: peak memory in bytes.
        errors: standard error.
    """

    code: int
    seconds: float
    memory: int
    errors: str


def internal(errors: str) -> bool:
    """Whether standard error shows an error that the product does not know."""
    return "internal error" in errors or "Traceback" in errors


def forked(words: Sequence[str]) -> Ended:
    """Run `squeeze` with these words in a fork of this process, which has loaded all that it needs."""
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _become(words, errors.fileno())
        _, status, used = os.wait4(child, 0)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    seconds = used.ru_utime + used.ru_stime
    return Ended(os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss * 1024, text)


def _become(words: Sequence[str], errors: int) -> None:
    """In the child: redirect the streams, run the command, and end whatever happens."""
    from squeeze.cli import main as squeeze

    code = 99
    try:
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.alarm(HANGS_S)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (HANGS_CPU_S, HANGS_CPU_S))
        code = squeeze(list(words))
        sys.stderr.flush()
        sys.stdout.flush()
    finally:
        os._exit(code)


def kept(path: Path | None, key: str, seed: int) -> dict[int, dict[str, Any]]:
    """Records that an earlier run with this seed has kept, by their number.

    Args:
        path: of the file, one record a line; it need not exist.
        key: field that holds the number.
        seed: of the cases; a record without one has this one.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.is_file() else []
    return {record[key]: record for record in map(json.loads, lines) if record.get("seed", seed) == seed}


def keep(path: Path | None, record: dict[str, Any]) -> None:
    """Add a finished record to the file, if there is one."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
