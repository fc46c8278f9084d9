"""A device behind OpenSSH: the user's own client, configuration, keys and known hosts."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from squeeze.errors import MissingBackend, StageFailed
from squeeze.targets.devices.address import Ssh
from squeeze.targets.devices.commands import Done, Late, call
from squeeze.targets.devices.transport import COPY_S, QUICK_S, ShellTransport, full, reason, within

__all__ = ["SshTransport"]

BASE = ".squeeze-device"  # in the home folder, where every session begins; /tmp may forbid programs
OPTIONS = (
    "BatchMode=yes",  # never ask: nobody may be there to answer
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",  # a silent network is noticed after 15 s
    "ServerAliveCountMax=3",
    "RequestTTY=no",
    "RemoteCommand=none",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
)
HINTS = (
    ("Host key verification failed", "log in once by hand and check the key: ssh {host}"),
    (
        "Permission denied",
        "it must log in without a question: ssh-copy-id {host}, or add the key to the agent",
    ),
    ("Could not resolve", "is the name right? `ssh {host}` by hand shows it too"),
    ("Connection refused", "is an ssh server running there, and is the port right?"),
    ("timed out", "is the device on, and in this network?"),
    ("No route to host", "is the device on, and in this network?"),
)
INSTALL = "install OpenSSH's client: apt-get install openssh-client"


class SshTransport(ShellTransport):
    """Files travel as tar through the same connection, which even the smallest servers can do.

    Args:
        address: where.
        client: the client program and its own options.
        base: folder on the device, absolute or from the home folder.
    """

    LOST = frozenset({255})  # ssh(1): 255 if an error occurred, else the exit status of the remote command

    def __init__(self, address: Ssh, client: Sequence[str] = ("ssh",), base: str = BASE) -> None:
        self.name = str(address)
        self.base = base
        self._host = address.host
        words = [word for option in OPTIONS for word in ("-o", option)]
        words += ["-p", str(address.port)] if address.port else []
        words += ["-l", address.user] if address.user else []
        self._command = [*client, *words, "--", address.host]

    def client(
        self, line: str, *, timeout_s: float, stdin: IO[bytes] | None = None, hold: bool = False
    ) -> Done:
        """One connection."""
        return call([*self._command, line], timeout_s=timeout_s, stdin=stdin, hold=hold, install=INSTALL)

    def open(self) -> None:
        """Log in and out."""
        try:
            done = self.client("true", timeout_s=QUICK_S)
        except Late as error:
            raise MissingBackend(f"{self.name}: no answer after {QUICK_S:.0f} s") from error
        if done.code:
            hint = next((hint for sign, hint in HINTS if sign in done.err), "does `ssh {host} true` work?")
            raise MissingBackend(
                f"{self.name}: cannot be reached ({done.last_line or f'status {done.code}'})",
                hint=hint.format(host=self._host),
            )

    def push(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files to the device."""
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for name, path in files.items():
                    tar.add(path, name, recursive=False, filter=_plain)
            packed.seek(0)
            # -o: files belong to whoever unpacks them, also when that is root.
            done = self.shell(within(folder, "tar -xof -"), timeout_s=COPY_S, stdin=packed)
        if done.code:
            raise StageFailed(
                f"{self.name}: files cannot be written into {folder} ({reason(done)})", hint=full(done.err)
            )

    def pull(self, names: Sequence[str], folder: str, to: Path) -> None:
        """Copy files from the device; only those that were asked for are unpacked.

        All come through one connection: a new one for each would take longer than the copying.
        """
        done = self.run(["tar", "-cf", "-", *names], folder, COPY_S)
        found = _unpacked(done.out)
        missing = next((name for name in names if name not in found), None)
        if done.code or missing:
            why = done.err.strip().partition("\n")[0] or f"status {done.code}"
            raise StageFailed(f"{self.name}: {missing or 'files'} cannot be read from {folder} ({why})")
        for name in names:
            (to / name).write_bytes(found[name])


def _unpacked(packed: bytes) -> dict[str, bytes]:
    """Plain files of an archive by name, of which nothing is written; empty where it is none."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isreg() else None
                if file is not None:
                    found[entry.name] = file.read()
    except tarfile.TarError:
        return {}
    return found


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Neither names of this machine's users nor times."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
