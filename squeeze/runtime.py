"""The process we run in: quiet libraries, honest thread counts, optional parts through one door."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.errors import MissingBackend

__all__ = ["cpu_flags", "cpu_name", "environment", "need", "quiet", "usable_cores", "versions"]

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


def quiet() -> None:
    """Switch off telemetry and chatter of the libraries below us; a user's own setting wins."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def usable_cores() -> int:
    """Cores this process may really use: affinity, then cgroup v2 or v1 quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota))) if quota else max(1, cores)


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPU quota in cores, or None when there is no limit."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = (root / "cpu/cpu.cfs_quota_us").read_text()
        period = (root / "cpu/cpu.cfs_period_us").read_text()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError):
        return None


def need(module: str, extra: str) -> ModuleType:
    """Import an optional part.

    Args:
        module: import name.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingBackend: it is not installed; the hint is the install line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".")[0] != error.name.split(".")[0]:
            hint = f"{module} itself needs {error.name}: pip install {error.name}"
        else:
            hint = f"pip install 'squeeze-ondevice[{extra}]'"
        raise MissingBackend(f"{module} is not installed", hint=hint) from error


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


def cpu_flags() -> frozenset[str]:
    """Instruction sets the processor says it has, as Linux spells them; empty elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("flags", "features"):
                return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


def cpu_name() -> str:
    """The processor's own name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
