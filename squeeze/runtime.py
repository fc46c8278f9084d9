"""The process we run in: quiet libraries, honest thread counts, optional parts through one door."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.errors import MissingBackend, reason

__all__ = [
    "cpu_flags",
    "cpu_name",
    "environment",
    "give_back",
    "groups",
    "hushed",
    "is_offline",
    "need",
    "offline",
    "quiet",
    "quota",
    "usable_cores",
    "usable_memory",
    "versions",
]

CPUINFO = Path("/proc/cpuinfo")
GROUPS, MEMBER = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
QUIET = {
    # ONNX Runtime >= 1.30 ships telemetry that is on by default; the API call comes too late
    # for its first event, so the variable must be set before the library is loaded.
    "ORT_DISABLE_TELEMETRY": "1",
    "NNCF_DISABLE_TELEMETRY": "1",
    "NNCF_CI": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


# Modules that report that they were imported, and what they do it with: without it they are silent.
TELLS = {"openvino": "openvino_telemetry"}
# Modules that write notes about themselves and others when they are loaded.
LOUD = frozenset({"ai_edge_litert", "ai_edge_quantizer", "coremltools", "executorch", "litert_torch"})


def quiet() -> None:
    """Switch off telemetry and chatter of the libraries below us; a user's own setting wins."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


_OFFLINE: ContextVar[bool] = ContextVar("offline", default=False)


@contextmanager
def offline() -> Iterator[None]:
    """Let nothing inside ask a network: planning takes 2 s and downloads nothing."""
    token = _OFFLINE.set(True)
    try:
        yield
    finally:
        _OFFLINE.reset(token)


def is_offline() -> bool:
    """Whether we are inside of `offline`."""
    return _OFFLINE.get()


def usable_cores() -> int:
    """Cores this process may really use: affinity, then cgroup v2 or v1 quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cgroup_quota()
    return max(1, min(cores, int(limit))) if limit else max(1, cores)


def usable_memory() -> int:
    """Bytes a process may still take here: what the machine can give, at most the limits of our cgroups."""
    import psutil

    limits = (_memory(folder) for folder in groups(GROUPS, MEMBER, "memory"))
    return min([psutil.virtual_memory().available, *(limit for limit in limits if limit is not None)])


def give_back(*, collect: bool = True) -> None:
    """Return memory that is free in this process to the system, between steps that need much of it.

    The C library keeps freed blocks for later, in pieces between living ones that the next step's large
    tensors do not fit into: a run then takes what all of its steps take, not what the largest takes.

    Args:
        collect: look for cycles that hold memory first, which takes some tenths of a second.
    """
    if collect:
        gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _cgroup_quota(root: Path = GROUPS, member: Path = MEMBER) -> float | None:
    """CPU quota in cores, the smallest of our group and of those it lies in; None when there is no limit.

    Args:
        root: where the groups are mounted.
        member: the file that says which group we are in, one line a hierarchy.
    """
    quotas = [cores for folder in groups(root, member) if (cores := quota(folder)) is not None]
    return min(quotas, default=None)


def groups(root: Path = GROUPS, member: Path = MEMBER, controller: str = "cpu") -> set[Path]:
    """Folders of our group and of its parents, for one controller.

    A container may see its own group as the root.
    """
    folders = {root, root / controller}
    try:
        lines = member.read_text(encoding="utf-8").splitlines()
    except OSError:
        return folders
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        here = base / group.lstrip("/")
        folders |= {here, *(parent for parent in here.parents if parent.is_relative_to(base))}
    return folders


def quota(folder: Path) -> float | None:
    """Cores that one group may use: `cpu.max` of cgroup v2, or the two files of v1."""
    try:
        limit, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        cores = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        return cores / int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8")) if cores > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _memory(folder: Path) -> int | None:
    """Bytes that one group may hold: `memory.max` of cgroup v2, or the file of v1; None for no limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return None


def need(module: str, extra: str) -> ModuleType:
    """Import an optional part.

    Args:
        module: import name.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingBackend: it is not installed, or it is and does not load; the hint is the install line.
    """
    hint = f"pip install 'squeeze-ondevice[{extra}]'"
    top = module.split(".")[0]
    try:
        with (
            _untold(TELLS.get(top)),
            hushed() if top in LOUD and module not in sys.modules else nullcontext(),
        ):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        lacks = error.name or module
        if lacks.split(".")[0] != module.split(".")[0]:
            raise MissingBackend(
                f"{module} needs {lacks}, which is not installed", hint=f"pip install {lacks}"
            ) from error
        raise MissingBackend(f"{module} is not installed", hint=hint) from error
    except ImportError as error:
        raise MissingBackend(
            f"{module} is installed but does not load: {reason(error)}", hint=hint
        ) from error


@contextmanager
def _untold(reporter: str | None) -> Iterator[None]:
    """Make a module that reports to its maker look as if it were not installed, for an import."""
    if reporter is None:
        yield
        return
    lost = object()
    before: Any = sys.modules.get(reporter, lost)
    sys.modules[reporter] = None  # type: ignore[assignment]  # what Python itself takes for "not there"
    try:
        yield
    finally:
        del sys.modules[reporter]
        if before is not lost:
            sys.modules[reporter] = before


@contextmanager
def hushed() -> Iterator[None]:
    """Drop what libraries write to the standard streams, from C++ too, and what they warn of.

    For a library that takes no setting for it. Errors still come through. The streams belong to the whole
    process: what another thread writes meanwhile is dropped with them.
    """
    copies = {stream: os.dup(stream) for stream in (1, 2) if _is_open(stream)}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        _flush()
        for stream in copies:
            os.dup2(nowhere.fileno(), stream)
        try:
            with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            _flush()
            for stream, copy in copies.items():
                os.dup2(copy, stream)
                os.close(copy)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True


def _flush() -> None:
    """What we have written ourselves must not go where theirs goes."""
    for ours in (sys.stdout, sys.stderr):
        if ours is not None and not ours.closed:
            ours.flush()


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution, ``absent`` where there is none."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def environment() -> dict[str, Any]:
    """What a figure was measured on: machine, system, Python, cores."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "usable_cores": usable_cores(),
    }


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Instruction sets the processor says it has, as Linux spells them; empty elsewhere."""
    return frozenset(_first(cpuinfo, "flags", "features").split())  # x86 and ARM name the line differently


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's own name, as far as the system tells it."""
    return _first(cpuinfo, "model name") or platform.processor() or platform.machine()


def _first(cpuinfo: Path, *keys: str) -> str:
    """Value of the first line with one of these keys; empty where there is none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip().lower() in keys), "")
