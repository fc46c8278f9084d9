"""Start the measuring process, wait for it asleep, and turn whatever happens to it into one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from typing import IO, Any

from squeeze.errors import MissingBackend, SqueezeError, StageFailed, UsageError, brief, visible
from squeeze.targets.memory import most_bytes

__all__ = ["ask"]

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ERRORS: Mapping[int, type[SqueezeError]] = {2: UsageError, 3: MissingBackend, 4: StageFailed}


def ask(request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run one request in a fresh process.

    The answer comes through a file and the wait is one blocking call, so that nothing here wakes up
    while the other process is timing.

    Args:
        request: see squeeze/targets/worker.py; its `memory_bytes` is what the process may take, by default
            most of what the machine can give.
        timeout_s: the process is killed after so many seconds.

    Raises:
        SqueezeError: what the worker reported, or that it died, or that it took too long.
    """
    if request.get("gpu") is None:  # a GPU's driver maps more than there is
        request = {**request, "memory_bytes": most_bytes(request.get("memory_bytes"))}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code, late = _run(request, timeout_s, out, err)
        if late:
            raise StageFailed(
                f"{_subject(request)}: no answer after {timeout_s:.0f} s, measuring was stopped"
            )
        if code:
            raise StageFailed(f"{_subject(request)}: the measuring process {_death(code)}{_last_line(err)}")
        out.seek(0)
        return _answer(out.read(), request)


def _run(request: Mapping[str, Any], timeout_s: float, out: IO[bytes], err: IO[bytes]) -> tuple[int, bool]:
    """Exit status of the worker, and whether it had to be stopped."""
    late: list[bool] = []
    command = [sys.executable, "-P", "-m", "squeeze.targets.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=_environment()
    ) as process:

        def stop() -> None:
            late.append(True)
            process.kill()

        timer = Timer(timeout_s, stop)
        timer.start()
        try:
            _send(process, request)
            return process.wait(), bool(late)
        finally:
            timer.cancel()
            process.kill()


def _send(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    """Give the worker its line; stdin stays open, and its end tells the worker that we are gone."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # the worker died at once; its exit status and stderr say why


def _environment() -> dict[str, str]:
    """Our own environment, this package importable, and no second pool of threads."""
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {
        **os.environ,
        **dict.fromkeys(POOLS, "1"),
        "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
    }


def _answer(text: bytes, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise StageFailed(f"{_subject(request)}: the measuring process gave no answer") from error
    if "error" in answer:
        told = answer["error"]
        raise ERRORS.get(told["code"], StageFailed)(visible(told["message"]), hint=visible(told["hint"]))
    return answer


def _subject(request: Mapping[str, Any]) -> str:
    return ", ".join(model["path"] for model in request["models"])


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _last_line(err: IO[bytes]) -> str:
    err.seek(0)
    lines = [line for line in err.read().decode(errors="replace").splitlines() if line.strip()]
    return f": {brief(lines[-1])}" if lines else ""
