"""The one place where errors become lines on stderr and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from squeeze import disk
from squeeze.cli.app import app
from squeeze.cli.output import OutputClosed, note
from squeeze.errors import SqueezeError, SqueezeWarning, masked

__all__ = ["main"]

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
ENDING = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)))
OUTPUT_CLOSED = 141  # 128 + SIGPIPE
WRONG_USAGE = 2
FAILED = 4
# A path that the user gave and that cannot be used; any other system error is a failure on the way.
USER_PATH_ERRORS = (
    FileNotFoundError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    FileExistsError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what stands after `squeeze`; None: the process's own.
    """
    words, debug = _take_debug(list(sys.argv[1:] if arguments is None else arguments))
    with _ended_like_interrupted() as received, _warnings_as_lines():
        code = _run(words, debug=debug)
        return 128 + received[0] if code == INTERRUPTED and received else code


def _run(words: list[str], *, debug: bool) -> int:
    try:
        code = app(words or ["--help"], prog_name="squeeze", standalone_mode=False)
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code
            return _interrupted()
        return code if isinstance(code, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else WRONG_USAGE
    except KeyboardInterrupt:  # outside of what typer watches
        return _interrupted()
    except Exception as error:  # noqa: BLE001 - the edge: whatever comes must end as a line and a code
        if debug:
            sys.stderr.write(masked(traceback.format_exc()))
        return _explain(error)


@contextmanager
def _ended_like_interrupted() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does: locks are released, children ended, nothing half-written.

    A signal that is ignored stays so, as `nohup` wants it.

    Yields:
        The signals that came.
    """
    received: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        wanted = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
        before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print our own warnings as lines; those of libraries go where they went."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, SqueezeWarning):
                note(f"warning: {message}")
            else:
                others(message, category, *rest, **more)

        warnings.filterwarnings("always", category=SqueezeWarning)
        warnings.showwarning = show  # catch_warnings puts the old one back
        yield


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere before a bare `--`."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _explain(error: Exception) -> int:
    """Print what went wrong and return the exit code that says so."""
    if isinstance(error, OutputClosed):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    if isinstance(error, SqueezeError):
        _say(*error.lines, hint=error.hint)
        return error.exit_code
    if isinstance(error, typer.Abort):
        return _interrupted()
    if isinstance(error, typer.TyperException):
        return _usage(error)
    full = disk.failure(error)
    if full is not None:
        place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        _say(f"{place}{full}", hint=disk.HINT)
        return FAILED
    if isinstance(error, OSError):
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return WRONG_USAGE if isinstance(error, USER_PATH_ERRORS) else FAILED
    text = " ".join(str(error).split())
    hint = "run with --debug for the traceback, and report it"
    _say(f"internal error {type(error).__name__}: {text}", hint=hint)
    return FAILED


def _usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    _say(error.format_message(), hint=f"see {context.command_path if context else 'squeeze'} --help")
    return WRONG_USAGE


def _interrupted() -> int:
    _say("interrupted; what is finished is kept, the same command goes on from there")
    return INTERRUPTED


def _say(*messages: str, hint: str = "") -> None:
    """Each message on a line of its own, whatever names in it hold."""
    lines = [f"error: {message}" for message in messages]
    if hint:
        lines.append(f"hint: {hint}")
    for line in lines:
        note(line)
