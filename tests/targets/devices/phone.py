"""The first process of an Android device's stand-in: Debian's adbd in namespaces of its own.

`phones.running` starts it through `unshare`: what it mounts, registers and starts goes with it, and it goes
when its standard input ends. Usage:

    phone.py FOLDER PARTS EMULATOR [QEMU-CPU]

FOLDER becomes the device's root, PARTS holds its programs. It says `ready` on standard output.
Then each line of standard input is done and answered by `done`:

    adbd PORT       start adbd; its process is in FOLDER/adbd.pid
    disk BYTES      a small file system where adb may write
    no disk         the ordinary one again
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h
STORE = "data/local/tmp"
NODES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
# The head of an arm64 program in ELF (elf.h): class 64, little-endian, version 1, machine 183. The kind of
# system at byte 7 and its version do not count, and of the type (2 or 3) the last bit does not.
HEAD = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
MASK = b"\xff" * 7 + bytes(9) + b"\xfe\xff\xff\xff"


def run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.touch()
    run("mount", "--rbind", source, target)


def escaped(text: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text)


def programs_of_arm64(folder: Path, emulator: str) -> None:
    """Since Linux 6.7 each user namespace has its own list; F opens the emulator now, outside the root."""
    (folder / "binfmt").mkdir()
    run("mount", "-t", "binfmt_misc", "binfmt_misc", folder / "binfmt")
    line = f":arm64:M::{escaped(HEAD)}:{escaped(MASK)}:{emulator}:F"
    (folder / "binfmt/register").write_text(line, encoding="ascii")


def furnish(folder: Path, parts: Path, emulator: str) -> None:
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    for name in (STORE, "tmp", "proc", "dev", "root", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    bind(parts / "usr", folder / "usr")
    run("mount", "-t", "proc", "proc", folder / "proc")
    for name in NODES:
        bind(Path("/dev") / name, folder / "dev" / name)
    if emulator:
        programs_of_arm64(folder, emulator)
        bind(folder / "cpuinfo", folder / "proc/cpuinfo")
    else:
        bind(Path("/sys"), folder / "sys")


def adbd(folder: Path, port: str, cpu: str) -> None:
    variables = {"PATH": "/traps:/usr/bin", "HOME": "/root", "TMPDIR": "/tmp", "ADBD_PORT": port}
    variables |= {"QEMU_CPU": cpu} if cpu else {}

    def inside() -> None:
        os.chroot(folder)
        os.chdir("/")

    with (folder / "adbd.log").open("ab") as log:
        process = subprocess.Popen(
            ["/usr/lib/android-sdk/platform-tools/adbd"],
            preexec_fn=inside,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    (folder / "adbd.pid").write_text(f"{process.pid}\n")


def reap(*_: Any) -> None:
    """Children of those that died are ours now."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    folder, parts, emulator, *cpu = sys.argv[1:]
    root = Path(folder)
    loopback()
    furnish(root, Path(parts), emulator)
    say("ready")
    for line in sys.stdin:
        obey(root, line.split(), "".join(cpu))
        say("done")


def obey(root: Path, words: list[str], cpu: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # run() waits for its own
    if words[0] == "adbd":
        adbd(root, words[1], cpu)
    elif words[0] == "disk":
        run("mount", "-t", "tmpfs", "-o", f"size={words[1]}", "tmpfs", root / STORE)
    elif words == ["no", "disk"]:
        run("umount", "--lazy", root / STORE)
    signal.signal(signal.SIGCHLD, reap)
    reap()


if __name__ == "__main__":
    main()
