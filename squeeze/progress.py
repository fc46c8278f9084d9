"""How long steps tell that they go on; the command line draws it, the library only counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Advance", "Progress", "Silent"]

Advance = Callable[..., None]
"""``advance(n, note="loss 0.31")``: n more units are done."""


class Progress(Protocol):
    """Something that shows running work."""

    def task(self, name: str, total: float, done: float = 0) -> AbstractContextManager[Advance]:
        """Show a step of ``total`` units, of which ``done`` were done before (a resume)."""
        ...

    def log(self, message: str) -> None:
        """Say one line."""
        ...

    def warn(self, message: str) -> None:
        """Say one line that begins with `warning:`."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[Advance]:  # noqa: ARG002
        """Accept the counts and drop them."""

        def advance(count: float = 1, note: str = "") -> None:
            pass

        yield advance

    def log(self, message: str) -> None:
        """Drop the line."""

    def warn(self, message: str) -> None:
        """A warning is a line of the log."""
        self.log(f"warning: {message}")
