"""Where a model can run, as it is written on the command line and in profiles.

cpu                       this machine's processor
gpu                       this machine's NVIDIA GPU
adb[:SERIAL]              an Android device
ssh:[USER@]HOST[:PORT]    a machine that OpenSSH reaches
qemu:CPU                  an emulated arm64 core: what it computes, never how fast
estimate:DEVICE           a device that is not there, by its name or a calibration: estimate:FILE.json
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from squeeze.errors import UsageError

__all__ = ["Adb", "Address", "Cpu", "Estimate", "Gpu", "Qemu", "Ssh", "parse", "same", "timed"]

FORMS = "cpu, gpu, adb[:SERIAL], ssh:[USER@]HOST[:PORT], qemu:CPU or estimate:DEVICE"
WORD = r"[A-Za-z0-9_][A-Za-z0-9._-]*"  # never begins with a dash: it ends up on other programs' command lines
# An address of IPv6 stands in brackets where a port could follow.
SSH = re.compile(rf"(?:({WORD})@)?({WORD}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?")
CALIBRATION = re.compile(r"[^\n\0]+\.json")
SERIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]*")
MOST_PORT = 65_535


@dataclass(frozen=True)
class Cpu:
    """This machine's processor."""

    def __str__(self) -> str:
        return "cpu"


@dataclass(frozen=True)
class Gpu:
    """This machine's GPU."""

    def __str__(self) -> str:
        return "gpu"


@dataclass(frozen=True)
class Adb:
    """An Android device; without a serial number the only one that is there."""

    serial: str | None = None

    def __str__(self) -> str:
        return f"adb:{self.serial}" if self.serial else "adb"


@dataclass(frozen=True)
class Ssh:
    """A machine behind OpenSSH; what is None is left to the user's own configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh:{user}{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class Qemu:
    """An emulated core."""

    cpu: str

    def __str__(self) -> str:
        return f"qemu:{self.cpu}"


@dataclass(frozen=True)
class Estimate:
    """A device that is only known by its figures: a name, or the path of a calibration (.json)."""

    device: str

    def __str__(self) -> str:
        return f"estimate:{self.device}"


Address: TypeAlias = Cpu | Gpu | Adb | Ssh | Qemu | Estimate
ALONE: Mapping[str, Address] = {"cpu": Cpu(), "gpu": Gpu(), "adb": Adb()}


def parse(text: str) -> Address:
    """Read a target.

    Raises:
        UsageError: it is none of the six forms.

    >>> parse("ssh:pi@10.0.0.7:2222")
    Ssh(host='10.0.0.7', user='pi', port=2222)
    >>> parse("adb"), str(parse("qemu:cortex-a76"))
    (Adb(serial=None), 'qemu:cortex-a76')
    """
    kind, _, rest = text.partition(":")
    if text in ALONE:
        return ALONE[text]
    if kind == "ssh" and (found := SSH.fullmatch(rest)) and _port(found[3]):
        user, host, port = found.groups()
        return Ssh(host.strip("[]"), user, int(port) if port else None)
    if kind == "adb" and SERIAL.fullmatch(rest):
        return Adb(rest)
    if kind == "qemu" and re.fullmatch(WORD, rest):
        return Qemu(rest)
    if kind == "estimate" and (re.fullmatch(WORD, rest) or CALIBRATION.fullmatch(rest)):
        return Estimate(rest)
    raise UsageError(f"target {text[:80]!r}: no such target", hint=f"write {FORMS}")


def timed(targets: Sequence[str]) -> tuple[str, ...]:
    """Targets that latencies come from, as they are written everywhere, for a pydantic model.

    Raises:
        ValueError: no target, one without latencies, or one that is named twice.
    """
    found: list[str] = []
    for text in targets:
        try:
            address = parse(text)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        if isinstance(address, Qemu | Estimate):
            hint = ", [export] check takes it" if isinstance(address, Qemu) else ""
            raise ValueError(f"{text}: nothing is measured there, so it has no latency{hint}")  # noqa: TRY004
        if str(address) in found:
            raise ValueError(f"{text}: named twice")
        found.append(str(address))
    return tuple(found)


def same(asked: str, measured: str) -> bool:
    """Whether a target of a profile is the one that a measurement names: `adb` alone takes any serial number.

    >>> same("adb", "adb:0A1B"), same("cpu", "cpu"), same("cpu", "gpu")
    (True, True, False)
    """
    return asked == measured or (asked == "adb" and measured.startswith("adb:"))


def _port(text: str | None) -> bool:
    return text is None or 0 < int(text) <= MOST_PORT
