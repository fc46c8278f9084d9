"""Public packages for runner bundles: ONNX Runtime's wheel from PyPI, its header and glibc from Debian.

Only what the user asked for with `--download` comes here, through pip and apt, each with its own checks of
what it downloads. apt works on lists of its own: nothing is installed on this machine and its settings stay.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from squeeze.errors import MissingBackend, StageFailed
from squeeze.targets.devices.abi import Abi
from squeeze.targets.devices.commands import Late, call

__all__ = ["debian", "unzip", "wheel"]

TIMEOUT_S = 600.0
# The oldest release that has libonnxruntime-dev. Its C library is newer than any compiler's that is older.
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"  # apt checks signatures itself
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
NO_APT = "needs Debian's apt; elsewhere give the files: --header DIR --libc DIR"


def wheel(version: str, abi: Abi, folder: Path) -> Path:
    """Download ONNX Runtime's wheel for an ABI.

    Raises:
        MissingBackend: it cannot be had.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    kind = ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    tags = ["--abi", f"cp{python.replace('.', '')}", "--platform", abi.wheel]
    _run([*pip, *kind, *tags, "--dest", str(folder), f"onnxruntime=={version}"], "ONNX Runtime's wheel")
    return next(folder.glob("onnxruntime-*.whl"))


def debian(names: Sequence[str], abi: Abi, folder: Path) -> Path:
    """Download packages of Debian for an ABI and unpack them, without installing anything.

    Returns:
        The folder that holds their files.

    Raises:
        MissingBackend: they cannot be had, or this system has no apt.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingBackend("apt-get is not installed", hint=NO_APT)
    state, root = folder / "apt", folder / "root"
    for part in ("lists/partial", "archives/partial", "sources"):
        (state / part).mkdir(parents=True)
    root.mkdir()
    (state / "status").touch()
    line = f"deb [signed-by={KEYS}] {MIRROR} {SUITE} main\n"
    (state / "sources.list").write_text(line, encoding="ascii")
    options = {
        "APT::Architecture": abi.debian,
        "APT::Architectures": abi.debian,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::State::status": state / "status",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": state / "sources",
    }
    apt = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    _run([*apt, "update"], f"the package lists of Debian {SUITE}", folder)
    _run([*apt, "download", *names], f"{', '.join(names)} of Debian {SUITE}", folder)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], package.name)
    return root


def unzip(archive: Path, pattern: str, folder: Path) -> list[Path]:
    """Take files out of a wheel or AAR, their folders left behind.

    Args:
        archive: the file.
        pattern: what a name must contain.
        folder: where they go.

    Raises:
        StageFailed: it is no such file.
    """
    found = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if pattern in entry.filename and not entry.is_dir():
                    found.append(folder / Path(entry.filename).name)
                    found[-1].write_bytes(opened.read(entry))
    except (OSError, zipfile.BadZipFile) as error:
        raise StageFailed(f"{archive}: cannot be opened ({error})") from error
    return found


def _run(argv: Sequence[str], what: str, folder: Path | None = None) -> None:
    try:
        done = call(argv, timeout_s=TIMEOUT_S, folder=folder)
    except Late as error:
        raise MissingBackend(f"{what}: no answer after {TIMEOUT_S:.0f} s") from error
    if done.code:
        raise MissingBackend(f"{what}: cannot be had ({done.last_line})", hint="is there a network?")
