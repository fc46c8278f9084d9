"""An Android device behind adb: the user's own adb, the device always named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.targets.devices.address import Adb
from squeeze.targets.devices.commands import Done, Late, call
from squeeze.targets.devices.transport import COPY_S, QUICK_S, ShellTransport, full

__all__ = ["AdbTransport", "Listed", "choose", "listed"]

BASE = "/data/local/tmp/squeeze"  # the one folder where adb's shell may put programs and run them
INSTALL = "install adb: apt-get install adb, or Android's platform tools"
STATES = {
    "unauthorized": "unlock the device and allow debugging from this computer",
    "authorizing": "unlock the device and allow debugging from this computer",
    "connecting": "it is just being found: try again in a moment, or adb reconnect",
    "offline": "plug it out and in again, or adb reconnect",
    "no permissions": "this user may not open USB: apt-get install android-sdk-platform-tools-common",
    "recovery": "start its normal system: adb reboot",
    "sideload": "start its normal system: adb reboot",
    "bootloader": "start its normal system: fastboot reboot",
}
PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.build.version.release",
    "ro.build.version.sdk",
)
MARKS = ("ro.serialno", "ro.build.fingerprint")
# Clients give 0 when the device goes away in the middle of a command, and old devices have no exit codes.
# So each command says itself how it ended; without that word the connection was lost.
ENDED = "squeeze-ended:"
STATUS = re.compile(rf"^{ENDED}([0-9]+)\r?\n?", re.MULTILINE)


@dataclass(frozen=True)
class Listed:
    """A line of `adb devices -l`."""

    serial: str
    state: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.serial} ({', '.join(word for word in (self.model, self.state) if word)})"


def listed(text: str) -> tuple[Listed, ...]:
    r"""Devices that adb knows.

    >>> listed("List of devices attached\n0A1B\tdevice product:oriole model:Pixel_6 device:oriole\n")
    (Listed(serial='0A1B', state='device', model='Pixel_6'),)
    """
    found = []
    for line in text.partition("List of devices attached")[2].splitlines():
        serial, _, rest = line.strip().replace("\t", " ").partition(" ")
        if not serial:
            continue
        state = "no permissions" if rest.strip().startswith("no permissions") else (rest.split() or ["?"])[0]
        model = re.search(r"\bmodel:(\S+)", rest)
        found.append(Listed(serial, state, model[1] if model else ""))
    return tuple(found)


def choose(devices: Sequence[Listed], serial: str | None) -> Listed:
    """The device that is meant.

    Raises:
        MissingBackend: it is not there, or cannot be used, and why.
        UsageError: none is named and there are several.
    """
    there = ", ".join(map(str, devices)) or "no device"
    meant = [each for each in devices if serial in (None, each.serial)]
    if not meant:
        what = f"adb:{serial}" if serial else "adb"
        hint = (
            f"adb connect {serial}" if serial and ":" in serial else "plug it in, and switch USB debugging on"
        )
        raise MissingBackend(f"{what}: not there; adb sees {there}", hint=hint)
    if len(meant) > 1:
        raise UsageError(f"adb: several devices: {there}", hint=f"name one: --target adb:{meant[0].serial}")
    [found] = meant
    if found.state != "device":
        raise MissingBackend(f"adb:{found.serial}: is {found.state}", hint=STATES.get(found.state, ""))
    return found


class AdbTransport(ShellTransport):
    """Args are as of `SshTransport`; adb's own push and pull copy files."""

    LOST = frozenset({-1})

    def __init__(self, address: Adb, client: Sequence[str] = ("adb",), base: str = BASE) -> None:
        self.name = str(address)
        self.base = base
        self._adb = list(client)
        self._serial = address.serial

    def open(self) -> None:
        """Find the device; from here on its serial number stands in every command."""
        done = self._call(["devices", "-l"], QUICK_S)
        if done.code:
            raise MissingBackend(
                f"adb: does not answer ({done.last_line})", hint="adb kill-server, and again"
            )
        found = choose(listed(done.out.decode(errors="replace")), self._serial)
        self._serial, self.name = found.serial, f"adb:{found.serial}"

    def client(
        self, line: str, *, timeout_s: float, stdin: IO[bytes] | None = None, hold: bool = False
    ) -> Done:
        """One line through adb's shell; -1, which no command gives, when it never said how it ended."""
        # -T: no terminal, so that stdout and stderr stay apart and bytes are not changed.
        words = [*self._named(), "shell", "-T", f"sh -c {shlex.quote(line)}; echo {ENDED}$? >&2"]
        done = call(words, timeout_s=timeout_s, stdin=stdin, hold=hold, install=INSTALL)
        said = STATUS.search(done.err)
        return Done(int(said[1]) if said else -1, done.out, STATUS.sub("", done.err))

    def abis(self) -> tuple[str, ...]:
        """Android's own runner where one was built, else the one that brings its own C library."""
        plain = super().abis()
        return ("android-arm64", *plain) if plain == ("linux-arm64",) else plain

    def push(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files to the device, one by one, because each has a name of its own there."""
        for name, path in files.items():
            self._copy(["push", str(path), f"{folder}/{name}"], f"{name} cannot be written")

    def pull(self, names: Sequence[str], folder: str, to: Path) -> None:
        """Copy files from the device."""
        for name in names:
            self._copy(["pull", f"{folder}/{name}", str(to / name)], f"{name} cannot be read")

    def properties(self) -> dict[str, str]:
        """What Android says the device is; nothing where there is no `getprop`."""
        return self._said(PROPERTIES)

    def marks(self) -> dict[str, str]:
        """Serial number and build; the number in our name may be an address of the network."""
        return self._said(MARKS)

    def _said(self, names: Sequence[str]) -> dict[str, str]:
        found = {}
        for name in names:
            done = self.run(["getprop", name])
            value = done.out.decode(errors="replace").strip()
            if done.code == 0 and value:
                found[name] = value
        return found

    def _named(self) -> list[str]:
        if self._serial is None:
            raise AssertionError("open() comes first: it finds the serial number")
        return [*self._adb, "-s", self._serial]

    def _call(self, words: Sequence[str], timeout_s: float) -> Done:
        try:
            return call([*self._adb, *words], timeout_s=timeout_s, install=INSTALL)
        except Late as error:
            raise MissingBackend(f"adb: no answer after {timeout_s:.0f} s") from error

    def _copy(self, words: Sequence[str], what: str) -> None:
        try:
            done = call([*self._named(), *words], timeout_s=COPY_S, install=INSTALL)
        except Late as error:
            raise StageFailed(f"{self.name}: {what}, no answer after {COPY_S:.0f} s") from error
        if done.code:
            said = _complaint(done)
            if self._gone():
                raise StageFailed(f"{self.name}: the connection was lost ({said}); {what}")
            raise StageFailed(f"{self.name}: {what} ({said})", hint=full(said))

    def _gone(self) -> bool:
        """Whether adb sees the device no more; clients of different age say so in different words."""
        try:
            done = call([*self._named(), "get-state"], timeout_s=QUICK_S, install=INSTALL)
        except Late:
            return True
        return done.out.strip() != b"device"


def _complaint(done: Done) -> str:
    """Why a copy failed, in one line: clients of different age say so on either output, among other lines."""
    lines = [*done.err.splitlines(), *done.out.decode(errors="replace").splitlines()]
    told = [line.strip() for line in lines if line.strip()]
    return next((line for line in told if "error" in line), told[-1] if told else "no reason given")[-300:]
