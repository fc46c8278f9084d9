"""How commands and files reach a device."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

from squeeze.errors import MissingBackend, StageFailed
from squeeze.targets.devices.commands import Done, Late

__all__ = ["COPY_S", "QUICK_S", "ShellTransport", "Transport", "full", "reason", "within"]

QUICK_S = 30.0  # for commands that only look or tidy up
COPY_S = 600.0  # for the bundle over a slow wireless network
# The runner leaves its process id, so that a hung one can be ended through another connection. The working
# folder of that process must be ours: its number may have been given to somebody else meanwhile.
STOP = 'p=$(cat pid) && [ "$(readlink "/proc/$p/cwd")" = "$(pwd -P)" ] && kill -9 "$p"'


class Transport(ABC):
    """A way to one device.

    Attributes:
        name: the device in reports and messages, such as `ssh:pi@board`.
        base: folder on the device that holds all our files there.
    """

    name: str
    base: str

    @abstractmethod
    def open(self) -> None:
        """First contact.

        Raises:
            MissingBackend: the device cannot be reached, and what to do about it.
        """

    @abstractmethod
    def abis(self) -> tuple[str, ...]:
        """Runner bundles that the device can run, the best first.

        Raises:
            MissingBackend: there is none for this kind of device.
        """

    @abstractmethod
    def run(self, argv: Sequence[str], folder: str | None = None, timeout_s: float = QUICK_S) -> Done:
        """Run a program of the device, in a folder of the device.

        Raises:
            StageFailed: the connection was lost, or time is over.
        """

    @abstractmethod
    def execute(self, argv: Sequence[str], folder: str, timeout_s: float) -> Done:
        """Run the runner: it sees an open standard input for as long as we wait for it.

        Raises:
            StageFailed: the connection was lost, or time is over.
        """

    @abstractmethod
    def push(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files of this machine to names in a folder of the device, which exists.

        Raises:
            StageFailed: they could not be written, or the connection was lost.
        """

    @abstractmethod
    def pull(self, names: Sequence[str], folder: str, to: Path) -> None:
        """Copy files of a folder of the device into a folder of this machine.

        Raises:
            StageFailed: they are not there, or the connection was lost.
        """

    def stop(self, folder: str) -> None:  # noqa: B027 - a process of this machine has ended with our call
        """End a runner that still runs in a folder."""

    def properties(self) -> dict[str, str]:
        """What the device's own system says it is, beside what the runner finds."""
        return {}

    def marks(self) -> dict[str, str]:
        """What tells this device from others of its kind, beside the files that every Linux has."""
        return {}


class ShellTransport(Transport):
    """A device behind a client program that hands one line to the device's shell.

    The line is made of quoted words only; what a word holds is never read by a shell.
    """

    LOST: ClassVar[frozenset[int]] = frozenset()
    """exit codes of the client that mean the connection and not the command"""

    @abstractmethod
    def client(
        self, line: str, *, timeout_s: float, stdin: IO[bytes] | None = None, hold: bool = False
    ) -> Done:
        """Give a line to the device's shell through the client program."""

    def shell(
        self, line: str, *, timeout_s: float, stdin: IO[bytes] | None = None, hold: bool = False
    ) -> Done:
        """Run one line on the device.

        Raises:
            StageFailed: the connection was lost, or time is over.
        """
        try:
            done = self.client(line, timeout_s=timeout_s, stdin=stdin, hold=hold)
        except Late as error:
            raise StageFailed(
                f"{self.name}: no answer after {timeout_s:.0f} s, the command was stopped",
                hint="is the device asleep, or very slow?",
            ) from error
        if done.code in self.LOST:
            raise StageFailed(f"{self.name}: the connection was lost ({done.last_line or 'no reason given'})")
        return done

    def run(self, argv: Sequence[str], folder: str | None = None, timeout_s: float = QUICK_S) -> Done:
        """Run a program of the device."""
        return self.shell(within(folder, shlex.join(argv)), timeout_s=timeout_s)

    def execute(self, argv: Sequence[str], folder: str, timeout_s: float) -> Done:
        """Run the runner."""
        return self.shell(
            within(folder, f"echo $$ > pid && exec {shlex.join(argv)}"), timeout_s=timeout_s, hold=True
        )

    def stop(self, folder: str) -> None:
        """End a runner that still runs in a folder."""
        self.shell(within(folder, STOP), timeout_s=QUICK_S)

    def abis(self) -> tuple[str, ...]:
        """From the device's own word."""
        said = self.run(["uname", "-sm"]).out.decode(errors="replace").split()
        found = MACHINES.get(" ".join(said))
        if found is None:
            raise MissingBackend(
                f"{self.name}: says it is {' '.join(said) or 'nothing'}, for which there is no runner",
                hint=f"runners are for {', '.join(MACHINES)}",
            )
        return (found,)


def full(said: str) -> str:
    """The hint when a device had no room, from the words of whoever could not write."""
    wanted = "make room there (about 60 MB and the models), or name another folder with --device-dir"
    return wanted if any(sign in said for sign in NO_ROOM) else ""


def reason(done: Done) -> str:
    """The line that says why files could not be written: not always the last one."""
    lines = done.err.splitlines()
    told = (line.strip() for line in lines if any(sign in line for sign in NO_ROOM))
    return next(told, done.last_line)


NO_ROOM = ("No space left", "Disk quota exceeded")
MACHINES: Mapping[str, str] = {"Linux x86_64": "linux-x86_64", "Linux aarch64": "linux-arm64"}


def within(folder: str | None, line: str) -> str:
    """A line that runs in a folder."""
    return line if folder is None else f"cd {shlex.quote(folder)} && {line}"
