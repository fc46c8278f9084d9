"""Every error a user can meet, and the exit code it ends with.

SqueezeError
├── GateFailed       1   a budget or a gate was not met
├── UsageError       2   wrong usage
│   ├── ProfileError 2   a profile that cannot be run as it stands
│   └── DataError    2   data that cannot be learned from or measured on
├── MissingBackend   3   an optional part, device or file is not there
│   └── NotDownloaded 3  of the hub, while no network may be asked
├── StageFailed      4   a stage started and could not give a sound result
│   ├── ParityFailed 4   a converted model does not compute what its source computes
│   └── Corrupt      4   an artefact on disk is not what its manifest says
└── Inconclusive     5   measured, but not well enough for a verdict

A message is one line: what, its value, the limit, the place. The hint says what to do next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Self

__all__ = [
    "Corrupt",
    "DataError",
    "GateFailed",
    "Inconclusive",
    "MissingBackend",
    "NotDownloaded",
    "ParityFailed",
    "ProfileError",
    "SqueezeError",
    "SqueezeWarning",
    "StageFailed",
    "UsageError",
    "brief",
    "masked",
    "reason",
    "visible",
]

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Signs that steer a terminal or the direction of its text, ends of lines, and bytes that are no text."""


def visible(text: str, keep: str = "") -> str:
    r"""Text whose control signs are written as escapes, for names that others chose.

    Args:
        text: may steer a terminal, or break a line in two.
        keep: signs that stay as they are.

    >>> visible("red \x1b[31m")
    'red \\u001b[31m'
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


SECRET_VALUES = re.compile(r"(?i)([?&;](?:\w*passw(?:or)?d|pwd|\w*token|\w*secret|api_?key)=)[^&;\s\"')]+")
USER_INFO = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://|ssh:)([^\s\"'<>]*)@")


def masked(text: str) -> str:
    """Text in which passwords of URLs are `***`; a user's name stays.

    A password ends at the last `@` of its word: one that holds `@` or `/` unescaped is hidden as a whole.

    >>> masked("postgresql://me:pa/ss@db/trials?sslpassword=x cannot be opened")
    'postgresql://me:***@db/trials?sslpassword=*** cannot be opened'
    """
    return SECRET_VALUES.sub(r"\1***", USER_INFO.sub(_without_password, text))


def _without_password(found: re.Match[str]) -> str:
    name, colon, _ = found[2].partition(":")
    return f"{found[1]}{name}{':***' if colon else ''}@"


def brief(text: str, limit: int = 400) -> str:
    r"""A library's message on one line; of a long one the beginning and the end, where the reason stands.

    >>> brief("cannot load\n  " + "x" * 50 + " version 99, at most 14", 40)
    'cannot load xxxxxxx … ion 99, at most 14'
    """
    flat = visible(masked(" ".join(text.split())))
    if len(flat) <= limit:
        return flat
    begin = limit // 2
    return f"{flat[: begin - 1].rstrip()} … {flat[begin + 2 - limit :].lstrip()}"


def reason(error: BaseException) -> str:
    """What an error of a library says, on one line; its type where it says nothing."""
    return brief(str(error)) or type(error).__name__


class SqueezeWarning(UserWarning):
    """Something that stops nothing and that a user should know; commands print it as a `warning:` line."""


class SqueezeError(Exception):
    """Base of all errors that are shown as one line and never as a traceback.

    Args:
        message: what is wrong, where, the value and its limit.
        hint: what to do next; shown on its own line.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.lines: tuple[str, ...] = (message,)

    @classmethod
    def of_lines(cls, lines: Iterable[str]) -> Self:
        """An error that has found several things wrong, a line each."""
        found = tuple(lines)
        error = cls("\n".join(found))
        error.lines = found
        return error

    def __str__(self) -> str:
        """Message and hint as they are printed."""
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class GateFailed(SqueezeError):
    """A budget was measured and is exceeded."""

    exit_code = 1


class UsageError(SqueezeError):
    """The command, profile or data is wrong; nothing was spent."""

    exit_code = 2


class ProfileError(UsageError):
    """A profile names an unknown key, a wrong type or an impossible value."""


class DataError(UsageError):
    """A source of text is missing, unreadable or unfit; names the rows."""


class MissingBackend(SqueezeError):
    """An optional dependency, device or model file is absent."""

    exit_code = 3


class NotDownloaded(MissingBackend):
    """Something of the hub is not on this disk, and no network may be asked."""


class StageFailed(SqueezeError):
    """A stage could not produce a sound artefact."""

    exit_code = 4


class ParityFailed(StageFailed):
    """A conversion changed what the model computes by more than its tolerance."""


class Corrupt(StageFailed):
    """A stored artefact does not match its manifest."""


class Inconclusive(SqueezeError):
    """The measurement is too noisy for a verdict at the chosen confidence."""

    exit_code = 5
