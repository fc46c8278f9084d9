"""Results to stdout, progress and logs to stderr."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeeze.errors import UsageError, masked, visible
from squeeze.markup import inert
from squeeze.progress import Advance, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = [
    "OutputClosed",
    "emit",
    "emit_json",
    "emit_table",
    "exit_code",
    "name_run",
    "note",
    "shown",
    "writable",
]

VERDICT_CODES = {"pass": 0, "fail": 1, "inconclusive": 5}
LINES = "\n\t"  # what a text of several lines may hold; other control signs do not reach the terminal
ESCAPE = "\x1b"  # begins the colours that we draw ourselves
LEAST_SHOWN_S = 0.5  # shorter steps would fill a log with nothing


class OutputClosed(Exception):
    """Whoever read our output has gone, as `head` does."""


def exit_code(verdict: str | None) -> int:
    """0 ok or nothing judged, 1 failed, 5 inconclusive."""
    return 0 if verdict is None else VERDICT_CODES[verdict]


def emit(text: str, *, drawn: bool = False) -> None:
    """Write a result to stdout, at once; what its encoding has no word for is written as an escape.

    Args:
        text: of one or more lines.
        drawn: whether it was drawn for a terminal, with colours, and names in it are already visible.
    """
    keep = LINES + ESCAPE if drawn and sys.stdout.isatty() else LINES
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(inert(text, keep).encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error


def emit_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    # Elsewhere JSON's own escapes: those of `emit` would not be JSON.
    emit(json.dumps(value, indent=2, ensure_ascii=not unicode, allow_nan=False))


def note(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(inert(masked(line)) + "\n")
    sys.stderr.flush()


def emit_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns, aligned; the last one is cut to the width of a terminal and whole everywhere else."""
    headers, *rows = [[visible(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in (headers, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        emit(line if limit is None or len(line) <= limit else line[: limit - 1] + "…")


def writable(*paths: Path | None, apart: Sequence[Path | None] = ()) -> None:
    """Refuse files that cannot be written before anything is done.

    Args:
        paths: of the files that will be written, None for one that was not asked for.
        apart: what the command reads, and must not overwrite.

    Raises:
        UsageError: a path is a folder, lies in none that may be written to, or is named twice.
    """
    read = {os.path.realpath(path) for path in apart if path is not None}
    written: set[str] = set()
    for path in filter(None, paths):
        place = os.path.realpath(path)
        if place in read:
            raise UsageError(f"{path}: this command reads it, and would overwrite it")
        if place in written:
            raise UsageError(f"{path}: named twice, each output needs a file of its own")
        written.add(place)
        _require_writable(path, Path(place))


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _require_writable(path: Path, place: Path) -> None:
    """Try to open a file that is there without changing it, and the folder of one that is not."""
    try:
        if place.is_dir():
            raise UsageError(f"{path}: is a folder", hint="give the name of a file")
        if place.is_file():
            place.open("ab").close()
        elif not place.exists() and not _holds_files(place.parent):
            raise UsageError(f"{path}: cannot be written, {path.parent} is no folder that may be written to")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def name_run(folder: Path) -> str:
    """Say on stderr which run a folder stands for, and return that line; nothing where it is no run's."""
    from squeeze import latest

    if not latest.is_run(folder):
        return ""
    line = latest.describe(folder, latest.read(folder))
    note(line)
    return line


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress bars where stderr is a terminal, a line for each finished step elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


class Lines:
    """Progress as plain lines, for log files."""

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[Advance]:
        """Count, and say one line at the end."""
        started, count, last = time.monotonic(), done, ""

        def advance(n: float = 1, note: str = "") -> None:
            nonlocal count, last
            count, last = count + n, note or last

        yield advance
        seconds = time.monotonic() - started
        if seconds >= LEAST_SHOWN_S:
            self.log(f"{name}: {count:g} of {total:g} in {seconds:.1f} s{f', {last}' if last else ''}")

    def log(self, message: str) -> None:
        """Say one line."""
        note(message)

    def warn(self, message: str) -> None:
        """Say one line that begins with `warning:`."""
        self.log(f"warning: {message}")


class Bars:
    """Progress as bars with the time left."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars

    @contextmanager
    def task(self, name: str, total: float, done: float = 0) -> Iterator[Advance]:
        """Show a bar while the step goes on."""
        identity = self._bars.add_task(visible(name), total=total, completed=int(done), note="")

        def advance(n: float = 1, note: str = "") -> None:
            self._bars.advance(identity, n)
            if note:
                self._bars.update(identity, note=visible(note))

        try:
            yield advance
        finally:
            self._bars.remove_task(identity)

    def log(self, message: str) -> None:
        """Say one line above the bars."""
        self._bars.console.print(inert(masked(message)), markup=False, highlight=False)

    def warn(self, message: str) -> None:
        """Say one line above the bars that begins with `warning:`."""
        self.log(f"warning: {message}")
