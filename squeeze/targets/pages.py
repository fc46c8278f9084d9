"""The system's page cache: how much of a file it holds, and how to make it forget or hold the file.

Linux only; elsewhere nothing is known. Forgetting needs no rights: posix_fadvise(2), POSIX_FADV_DONTNEED,
drops clean pages that no process has mapped. It is advice, so what is left is counted with mincore(2), which
tells the truth to the owner of a file and to those who may write to it, and says "all of it" to others.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

__all__ = ["can_drop", "drop", "fill", "resident"]

CHUNK = 1 << 20


def can_drop() -> bool:
    """Whether this system takes such advice and can be asked what came of it."""
    return hasattr(os, "posix_fadvise") and hasattr(ctypes.CDLL(None), "mincore")


def drop(path: Path) -> None:
    """Ask the system to forget a file's pages; what is not yet on disk is written first."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def fill(path: Path) -> None:
    """Read a file to its end, which brings it into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK):
            pass


def resident(path: Path) -> int:
    """Bytes of a file in the page cache, whole pages but for the last; the whole file where nobody can say.

    Raises:
        OSError: the file cannot be read or asked about.
    """
    size = path.stat().st_size
    if not size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        held = _pages(mapped, size)
    return min(size, int((held & 1).sum()) * mmap.PAGESIZE)


def _pages(mapped: mmap.mmap, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """A byte for each page, whose lowest bit is set where the page is in memory."""
    library = ctypes.CDLL(None, use_errno=True)
    told = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
    start = ctypes.c_char.from_buffer(mapped)  # a mapping of ours: mincore wants its address
    try:
        failed = library.mincore(
            ctypes.c_void_p(ctypes.addressof(start)),
            ctypes.c_size_t(size),
            told.ctypes.data_as(ctypes.c_void_p),
        )
    finally:
        del start  # else the mapping could not be closed
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return told
