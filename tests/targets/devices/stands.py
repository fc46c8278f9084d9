"""What tests of devices share: bundles around a stand-in runner, and tools that may be missing."""

from __future__ import annotations

import json
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
from squeeze.targets.devices.qemu import PROGRAMS

HERE = Path(__file__).resolve().parent
FAKE_ADB = (sys.executable, "-I", "-S", str(HERE / "fake_adb.py"))  # starts four times as fast without site
PHONE = "0A1B2C\tdevice usb:1-1 product:oriole model:Pixel_6 device:oriole transport_id:1\n"
ABI = "linux-x86_64" if os.uname().machine == "x86_64" else "linux-arm64"


def elf(abi: str, content: bytes = b"") -> bytes:
    """The head of a program for an ABI, and nothing that could run."""
    machine = ABIS[abi].machine.to_bytes(2, "little")
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine + content


def stand_in(
    folder: Path, *, fault: str = "", padding: int = 0, abi: str = ABI, program: bytes | None = None
) -> dict[str, Artifact]:
    """A bundle that runs with this Python, or whose program is something else, by ABI."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    code = (HERE / "fake_runner.py").read_text(encoding="utf-8")
    (partial / "squeeze-runner").write_bytes(program or f"#!{sys.executable}\n{code}".encode())
    (partial / "libonnxruntime.so.1").write_bytes(os.urandom(padding))
    if fault:
        (partial / "fault").write_text(fault, encoding="utf-8")
    result = {
        "abi": abi,
        "programs": ["squeeze-runner"],
        "start": ["@/squeeze-runner"],
        "library": "libonnxruntime.so.1",
    }
    record = {"key": f"stand-in {fault}", "result": result}
    return {abi: artifact.commit(partial, folder, "runner", record)}


class Phone:
    """The folder that the stand-in works on."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "root/bin").mkdir(parents=True)
        (folder / "root/data/local/tmp").mkdir(parents=True)
        self.store = folder / "root/data/local/tmp"
        self.client = FAKE_ADB
        self.lists(PHONE)

    def lists(self, text: str) -> None:
        (self.folder / "devices").write_text(text)

    def fails(self, fault: str) -> None:
        (self.folder / "fault").write_text(fault)

    def has(self, program: str, script: str) -> None:
        path = self.folder / "root/bin" / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]


def emulator(folder: Path, monkeypatch: pytest.MonkeyPatch, *, fault: str = "") -> Path:
    """An emulator that runs this machine's programs, and the runner for it; returns the bundles' folder."""
    program = folder / "bin" / PROGRAMS[0]
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nshift 4\nexec "$@"\n', encoding="utf-8")  # -cpu CPU -L ROOT
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    stand_in(bundles.home() / "linux-arm64", fault=fault, abi="linux-arm64")
    return bundles.home()


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
