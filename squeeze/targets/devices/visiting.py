"""From a target's address to a session on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from squeeze.artifact import Artifact
from squeeze.errors import MissingBackend, UsageError
from squeeze.progress import Progress
from squeeze.targets.devices import adb, bundle, ssh
from squeeze.targets.devices.adb import AdbTransport
from squeeze.targets.devices.address import Adb, Address, Estimate, Qemu, Ssh
from squeeze.targets.devices.qemu import QemuTransport
from squeeze.targets.devices.session import Session
from squeeze.targets.devices.ssh import SshTransport
from squeeze.targets.devices.transport import Transport

__all__ = ["Habits", "clean", "runners", "transport", "visit"]


@dataclass(frozen=True)
class Habits:
    """How devices are used.

    Attributes:
        keep: leave the runner there for the next time.
        folder: on the device, for our files; None: what is usual there.
        bundles: where runner bundles are kept on this machine.
        ssh: OpenSSH's client and its options.
        adb: Android's client and its options.
    """

    keep: bool = False
    folder: str | None = None
    bundles: Path = field(default_factory=bundle.home)
    ssh: Sequence[str] = ("ssh",)
    adb: Sequence[str] = ("adb",)


@contextmanager
def visit(address: Address, habits: Habits, progress: Progress) -> Iterator[Session]:
    """A session on a device; what it needs is found out before the device is touched.

    Raises:
        UsageError: an address that is no device, or a folder that cannot be one.
        MissingBackend: no runner, or the device cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="squeeze-device-") as scratch:
        way = transport(address, habits, Path(scratch))
        with Session(way, runners(address, habits), progress, keep=habits.keep) as session:
            yield session


def runners(address: Address, habits: Habits) -> dict[str, Artifact]:
    """The runner bundles of this machine by ABI.

    Raises:
        MissingBackend: none was made yet.
    """
    found = bundle.cached(habits.bundles)
    if not found:
        raise MissingBackend(
            f"{address}: there is no runner for any device yet", hint="squeeze device bundle --help"
        )
    return found


def clean(address: Address, habits: Habits) -> str:
    """Remove whatever is ours from a device; returns the folder that it was in.

    Raises:
        UsageError: an address that keeps nothing.
        MissingBackend: the device cannot be reached.
    """
    if not isinstance(address, Adb | Ssh):
        raise UsageError(
            f"{address}: keeps nothing that could be removed", hint="give an adb: or ssh: target"
        )
    way = transport(address, habits, Path())
    way.open()
    ours = ["(", "-name", "runner-*", "-o", "-name", "run-*", ")"]
    way.run(["find", way.base, "-mindepth", "1", "-maxdepth", "1", *ours, "-exec", "rm", "-rf", "{}", "+"])
    way.run(["rmdir", way.base])  # stays when the user keeps something else there
    return way.base


def transport(address: Address, habits: Habits, scratch: Path) -> Transport:
    """The way to a device."""
    match address:
        case Adb():
            return AdbTransport(address, habits.adb, _folder(habits.folder, adb.BASE))
        case Ssh():
            return SshTransport(address, habits.ssh, _folder(habits.folder, ssh.BASE))
        case Qemu():
            return QemuTransport(address, scratch)
        case Estimate():
            raise UsageError(
                f"{address}: an estimate, there is no device to reach",
                hint=f"squeeze bench MODEL --target {address}",
            )
        case _:
            raise UsageError(f"{address}: is this machine, not a device")


def _folder(given: str | None, usual: str) -> str:
    """A folder for our own files."""
    text = usual if given is None else given
    parts = PurePosixPath(text).parts
    if text.startswith("-") or "\n" in text or ".." in parts or not {*parts} - {"/", "."}:
        raise UsageError(f"--device-dir {text!r}: not a folder that could hold our files")
    return text
