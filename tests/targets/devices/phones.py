"""Android devices for tests: Debian's adbd behind the user's own adb, both in namespaces of their own.

Nothing of it reaches this machine: no port of TCP, no mount, no adb server, no kind of program that its
kernel would run. `phone.py` is the first process inside; when it goes, the kernel ends and undoes everything.
Only vsock has no namespaces: where there is one, adbd listens there too, for whoever runs this machine.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from squeeze.targets.devices.qemu import CORE_COUNT, CORES, PROGRAMS, cpuinfo
from tests.targets.devices import stands

HERE = Path(__file__).resolve().parent
NAMESPACES = ("--user", "--net", "--mount", "--pid")
SERVER = "fork-server"  # on the command line of adb's own server
FORBIDDEN = ("Operation not permitted", "ermission denied", "unknown filesystem type", "No space left")


def parts(architecture: str) -> Path:
    """Programs of an Android device's stand-in, as tools/device_parts.sh unpacks them from Debian."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "squeeze/device-parts" / architecture
    if not folder.is_dir():
        stands.missing(f"no adbd for {architecture}: make test-devices unpacks Debian's")
    return folder


def native() -> str:
    """Debian's word for this machine's processor."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


class AdbdPhone:
    """One device that runs.

    Attributes:
        folder: its root.
        serial: adb's name of it.
        client: the words that stand for `adb` on this machine.
    """

    def __init__(self, folder: Path, unshared: subprocess.Popen[str], port: int) -> None:
        self.folder, self.serial, self.port = folder, f"127.0.0.1:{port}", port
        self.first = inner(unshared.pid)
        self._unshared = unshared
        home = folder.with_name(f"{folder.name}-home")
        home.mkdir()
        self.enter = ("nsenter", "--target", str(self.first), "--preserve-credentials", *NAMESPACES)
        self.client = (*self.enter, "env", f"HOME={home}", f"TMPDIR={home}", stands.program("adb"))
        self.store = Path(f"/proc/{self.first}/root{folder}/data/local/tmp")

    def say(self, line: str) -> None:
        """Give an order to its first process."""
        assert self._unshared.stdin is not None
        self._unshared.stdin.write(f"{line}\n")
        self._unshared.stdin.flush()
        assert heard(self._unshared) == "done"

    def adb(self, *words: str) -> str:
        """What adb says, on either of its outputs."""
        done = subprocess.run([*self.client, *words], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def start(self) -> None:
        """Start adbd, and wait until adb sees it."""
        self.say(f"adbd {self.port}")
        self.wait_for("device")

    def wait_for(self, state: str) -> None:
        """Until adb says so of this device; adb looks for lost ones again by itself, but seldom."""

        def seen() -> bool:
            if self.state() != state:
                self.adb("disconnect", self.serial)
                self.adb("connect", self.serial)
            return self.state() == state

        stands.until(seen)

    def state(self) -> str:
        """Adb's word for it."""
        for line in self.adb("devices").splitlines():
            if line.startswith(self.serial):
                return line.split()[1]
        return "not there"

    def signal(self, name: str) -> None:
        """Send adbd a signal."""
        process = (self.folder / "adbd.pid").read_text().strip()
        subprocess.run([*self.enter, "kill", f"-{name}", process], check=True)

    def cut(self) -> None:
        """What a pulled cable is to both sides: adbd is gone, whatever it had started goes on."""
        self.signal("KILL")

    def put(self, program: str, script: str) -> None:
        """A program of the device that comes before the real one."""
        path = self.folder / "traps" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def living(self) -> list[str]:
        """Command lines of all that runs on it or towards it, beside what always runs."""
        namespace = Path(f"/proc/{self.first}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                inside = entry.name.isdecimal() and (entry / "ns/pid").readlink() == namespace
                words = (entry / "cmdline").read_text().split("\0") if inside else []
            except OSError:
                continue
            usual = int(entry.name) == self.first if inside else True
            if any(words) and not (
                usual or SERVER in words or any(word.endswith("/adbd") for word in words[:2])
            ):
                found.append(" ".join(words).strip())
        return found

    def renew(self) -> None:
        """As it was: no programs of tests, no files, and adbd runs."""
        shutil.rmtree(self.folder / "traps", ignore_errors=True)
        shutil.rmtree(self.store / "squeeze", ignore_errors=True)
        if self.state() != "device":
            self.start()

    def lies_there(self) -> list[str]:
        """Files where adb may write."""
        return sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*"))


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def inner(unshare: int) -> int:
    """The process that unshare started, as this machine counts."""
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])


@contextmanager
def running(folder: Path, *, core: str = "") -> Iterator[AdbdPhone]:
    """A device with adbd; of this machine's own processor, or an emulated arm64 core."""
    for name in ("adb", "unshare", "nsenter", "mount"):
        stands.program(name)
    emulator = stands.program(PROGRAMS[0]) if core else ""
    folder.mkdir()
    if core:
        furnish(folder, core)
    words = [str(HERE / "phone.py"), str(folder), str(parts("arm64" if core else native())), emulator, core]
    unshare = ["unshare", *NAMESPACES, "--map-root-user", "--fork", "--kill-child"]
    with subprocess.Popen(
        [*unshare, sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = heard(process)
        if said != "ready":
            rest, _ = process.communicate(timeout=60)
            unusable(f"{said}\n{rest}".strip())
        phone = AdbdPhone(folder, process, 20_000 + process.pid % 10_000)
        try:
            phone.start()
            yield phone
        finally:
            process.communicate(timeout=60)  # closes its standard input


def unusable(said: str) -> NoReturn:
    """Skip where the kernel or a container forbids it, which nothing that is installed could change."""
    if any(sign in said for sign in FORBIDDEN):
        pytest.skip(f"no device in namespaces of its own: {said.splitlines()[-1]}")
    pytest.fail(f"the device's first process ended: {said}")


def furnish(folder: Path, core: str) -> None:
    """What an emulated core says of itself; without it ONNX Runtime would read this machine's."""
    (folder / "cpuinfo").write_text(cpuinfo(CORES[core]), encoding="ascii")
    system = folder / "sys/devices/system/cpu"
    system.mkdir(parents=True)
    for name in ("possible", "present"):
        (system / name).write_text(f"0-{CORE_COUNT - 1}\n", encoding="ascii")
