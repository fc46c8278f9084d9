"""What a path must be before anything reads from it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from squeeze.errors import UsageError

__all__ = ["readable"]

OTHERS = (
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer", "git lfs pull gets the model"),
)
"""What is often found where a model should be; its first bytes, and what to do."""

NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def readable(path: Path) -> None:
    """Refuse what cannot be a model, before anything reads from it and waits for ever.

    Raises:
        UsageError: nothing, a folder, a pipe, a socket or a device, empty, an archive, not ours to read.
    """
    try:
        found = path.stat()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"{path}: {reason}") from error
    kind = next((name for is_one, name in NO_FILES if is_one(found.st_mode)), None)
    if kind:
        raise UsageError(f"{path}: {kind}, not a file", hint="give an .onnx or .ort file")
    if not found.st_size:
        raise UsageError(f"{path}: empty file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: may not be read by this user")
    with path.open("rb") as file:
        head = file.read(32)
    for magic, other, hint in OTHERS:
        if head.startswith(magic):
            raise UsageError(f"{path}: {other}, not a model", hint=hint)
