"""A real OpenSSH server on this machine, with keys and a configuration of its own."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.targets.devices import stands


@dataclass(frozen=True)
class Server:
    """A running sshd and the client's configuration for it."""

    folder: Path
    config: Path

    @property
    def client(self) -> tuple[str, ...]:
        """OpenSSH's client, which finds this server under the name `board`."""
        return ("ssh", "-F", str(self.config))

    @property
    def traps(self) -> Path:
        """Programs that come before the real ones when somebody is logged in."""
        return self.folder / "traps"

    def at(self, port: int) -> Server:
        """The same with another port, where something else may listen."""
        config = self.folder / f"config-{port}"
        config.write_text(client_config(self.folder, port))
        return replace(self, config=config)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_config(folder: Path, port: int) -> str:
    lines = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "pid",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "StrictModes": "no",
        # OpenSSH's default exchange (post-quantum) takes ten times the CPU of a whole connection.
        "KexAlgorithms": "curve25519-sha256",
        # An empty home: what the shell of this user does when it starts may take a second.
        "SetEnv": f"HOME={folder / 'home'} PATH={folder / 'traps'}:/usr/local/bin:/usr/bin:/bin",
    }
    return "".join(f"{key} {value}\n" for key, value in lines.items())


def client_config(folder: Path, port: int) -> str:
    lines = {
        "HostName": "127.0.0.1",
        "Port": port,
        "User": getpass.getuser(),
        "IdentityFile": folder / "user",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known",
        "GlobalKnownHostsFile": "/dev/null",
    }
    return "Host board stranger\n" + "".join(f"  {key} {value}\n" for key, value in lines.items())


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server with keys of its own, in an empty folder."""
    for name in ("ssh", "ssh-keygen"):
        stands.program(name)
    sshd = stands.program("sshd", "/usr/sbin", "/usr/local/sbin")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd gives up its rights in there
    port = free_port()
    for name in ("home", "traps"):
        (folder / name).mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "sshd_config").write_text(server_config(folder, port))
    (folder / "config").write_text(client_config(folder, port))
    command = [sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
    with subprocess.Popen(command) as process:
        try:
            stands.until(lambda: answers(port))
            yield Server(folder, folder / "config")
        finally:
            process.terminate()
