"""What tests of devices share: bundles around a stand-in runner, and tools that may be missing."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.targets.devices import bundle as bundles
from squeeze.targets.devices.abi import ABIS
from squeeze.targets.devices.bundle import Sources

HERE = Path(__file__).resolve().parent
ABI = "linux-x86_64" if os.uname().machine == "x86_64" else "linux-arm64"


def stand_in(folder: Path, *, fault: str = "", padding: int = 0, abi: str = ABI) -> dict[str, Artifact]:
    """A bundle that runs with this Python, by ABI."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    code = (HERE / "fake_runner.py").read_text(encoding="utf-8")
    (partial / "squeeze-runner").write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    (partial / "libonnxruntime.so.1").write_bytes(os.urandom(padding))
    if fault:
        (partial / "fault").write_text(fault, encoding="utf-8")
    result = {
        "abi": abi,
        "programs": ["squeeze-runner"],
        "start": ["@/squeeze-runner"],
        "library": "libonnxruntime.so.1",
    }
    return {abi: artifact.commit(partial, folder, "runner", {"result": result})}


def missing(reason: str) -> NoReturn:
    """Skip, unless everything is said to be there."""
    if os.environ.get("SQUEEZE_DEVICES") == "all":
        pytest.fail(f"{reason}, and SQUEEZE_DEVICES=all says that nothing is missing")
    pytest.skip(reason)


def real_bundles(*abis: str) -> dict[str, Artifact]:
    """Runner bundles of this version of the runner, as `squeeze device bundle` keeps them."""
    found = bundles.cached(bundles.home())
    for name in abis:
        sources = Sources(version=bundles.default_version())
        if name not in found or found[name].manifest["key"] != bundles.key(ABIS[name], sources):
            missing(f"no current runner for {name}: squeeze device bundle --abi {name} --download makes it")
    return {name: found[name] for name in abis}


def program(name: str, *folders: str) -> str:
    """A program of this machine."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders]))
    return path or missing(f"{name} is not installed")


def living(folder: Path) -> list[int]:
    """Processes whose working folder lies in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            inside = entry.name.isdecimal() and (entry / "cwd").resolve().is_relative_to(folder)
            dead = inside and (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if inside and not dead:
            found.append(int(entry.name))
    return found


def until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
