"""Why a runner ended as it did, in one line."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from squeeze.errors import MissingBackend, SqueezeError, StageFailed
from squeeze.targets.devices.commands import Done
from squeeze.targets.devices.transport import full

__all__ = ["explain"]

OURS = "squeeze-runner: "  # before each reason that the runner gives itself
PLAN = 2  # fail.h
LIBRARY, NOT_EXECUTABLE, NOT_FOUND = 3, 126, 127  # the first: fail.h; the others: what every shell gives
SIGNALLED = 128
REASONS: Mapping[str, str] = {
    "SIGALRM": "it had not ended when its time was over",
    "SIGILL": "an instruction that this processor does not have",
    "SIGKILL": "out of memory?",
}


def explain(device: str, done: Done, what: str) -> SqueezeError:
    """The error that a runner's end stands for.

    Args:
        device: its name.
        done: how it ended; not with 0.
        what: it was doing.
    """
    said = done.last_line.removeprefix(OURS)
    name = _signal(done.code)
    if name:
        reason = REASONS.get(name, said)
        return StageFailed(
            f"{device}: the runner was ended by {name} while {what}" + (f" ({reason})" if reason else "")
        )
    if done.code == LIBRARY:
        return MissingBackend(f"{device}: ONNX Runtime cannot be loaded there ({said})")
    # Some shells read a program of another processor as a script, and find its syntax wrong.
    script = done.code == PLAN and not done.last_line.startswith(OURS)
    if script or done.code in (NOT_EXECUTABLE, NOT_FOUND):
        return MissingBackend(
            f"{device}: the runner cannot be started there ({said or f'status {done.code}'})",
            hint="is the bundle for this kind of device, and may programs run in that folder?",
        )
    return StageFailed(f"{device}: {what} failed ({said or f'status {done.code}'})", hint=full(said))


def _signal(code: int) -> str:
    """Name of the signal that ended a process: Python counts below 0, shells above 128."""
    number = -code if code < 0 else code - SIGNALLED
    try:
        return signal.Signals(number).name if number > 0 else ""
    except ValueError:
        return ""
