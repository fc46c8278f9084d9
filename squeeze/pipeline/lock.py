"""One process at a time works in a run folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from squeeze.artifact import write_json
from squeeze.errors import UsageError
from squeeze.progress import Progress

__all__ = ["hold"]


@contextmanager
def hold(folder: Path, progress: Progress, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a run folder; the system lets go of it when the process ends, even if killed.

    Args:
        folder: the run folder; made if it is not there.
        progress: told when there is someone to wait for.
        wait: wait for the other process instead of giving up.

    Raises:
        UsageError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            hint = "wait for it, give --wait, or choose another --out"
            raise UsageError(f"{folder}: {_holder(folder)} is working here", hint=hint) from error
        progress.log(f"waiting for {_holder(folder)}, which works in {folder}")
        lock.acquire(timeout=-1)
    try:
        # The lock file itself is emptied by everyone who tries it, so the name stands beside it.
        write_json(folder / ".lock.json", {"pid": os.getpid()})
        yield
    finally:
        (folder / ".lock.json").unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        return f"process {json.loads((folder / '.lock.json').read_text(encoding='utf-8'))['pid']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
