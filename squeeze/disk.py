"""A disk that takes no more: full, over quota or read-only, whichever library reports it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from squeeze.errors import SqueezeError, StageFailed

__all__ = ["HINT", "failure", "guarded"]

HINT = "free space, then run again"
FULL, QUOTA, READ_ONLY = "no space left", "the disk quota is exceeded", "the file system is read-only"
CODES: Mapping[int, str] = {errno.ENOSPC: FULL, errno.EROFS: READ_ONLY}
if hasattr(errno, "EDQUOT"):  # pragma: no branch - not on Windows
    CODES = {**CODES, errno.EDQUOT: QUOTA}
TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Rust (safetensors, tokenizers), C++ (pyarrow), SQLite, and numpy, which counts items.
    (re.compile(r"no space left on device|os error (28|112)\b|errno:? 28\b|disk is full", re.I), FULL),
    (re.compile(r"^\d+ requested and \d+ written$"), FULL),
    (re.compile(r"quota exceeded|os error 122\b|errno:? 122\b", re.I), QUOTA),
    (re.compile(r"read-?only (file system|database)|os error 30\b|errno:? 30\b", re.I), READ_ONLY),
)


def failure(error: BaseException) -> str | None:
    """Why the disk took no more, if that is what an exception or one of its causes reports.

    >>> failure(RuntimeError("I/O error: No space left on device (os error 28)"))
    'no space left'
    >>> failure(ValueError("no such label")) is None
    True
    """
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        code = here.errno if isinstance(here, OSError) else None
        if code is not None and code in CODES:
            return CODES[code]
        text = next((what for pattern, what in TEXTS if pattern.search(str(here))), None)
        if text is not None:
            return text
        here = here.__cause__ or here.__context__
    return None


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn a full disk and other failures of the system into one line.

    Writers in other languages raise classes of their own, or plain `Exception`, so all are looked at.

    Args:
        what: was being done, such as `stage teacher`.

    Raises:
        StageFailed: the system could not read or write.
    """
    try:
        yield
    except SqueezeError:
        raise
    except Exception as error:
        full = failure(error)
        if full is not None:
            raise StageFailed(f"{what}: {full}", hint=HINT) from error
        if isinstance(error, OSError):  # a lost mount, or rights, is no bug of a stage
            raise StageFailed(f"{what}: {error}", hint="free space or rights, then run again") from error
        raise
