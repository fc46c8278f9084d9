"""This machine as a device: the runner is a process of our own, its folder is temporary."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from squeeze.errors import StageFailed
from squeeze.targets.devices.commands import Done, Late, call
from squeeze.targets.devices.transport import QUICK_S, Transport, full

__all__ = ["LocalTransport"]


class LocalTransport(Transport):
    """Runs bundles on this machine.

    Args:
        name: what reports call it.
        abi: of the bundles that run here.
        base: our folder.
        prefix: what stands before the runner on its command line, such as an emulator.
    """

    def __init__(self, name: str, abi: str, base: Path, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.base = str(base)
        self._abi = abi
        self._prefix = list(prefix)

    def open(self) -> None:
        """Nothing has to be reached."""

    def abis(self) -> tuple[str, ...]:
        """The one it was made for."""
        return (self._abi,)

    def run(self, argv: Sequence[str], folder: str | None = None, timeout_s: float = QUICK_S) -> Done:
        """Run a program of this machine."""
        return self._call(argv, folder, timeout_s, hold=False)

    def execute(self, argv: Sequence[str], folder: str, timeout_s: float) -> Done:
        """Run the runner."""
        return self._call([*self._prefix, *argv], folder, timeout_s, hold=True)

    def push(self, files: Mapping[str, Path], folder: str) -> None:
        """Copy files."""
        for name, path in files.items():
            try:
                shutil.copyfile(path, Path(folder) / name)
            except OSError as error:
                raise StageFailed(
                    f"{self.name}: {name} cannot be written into {folder} ({error.strerror})",
                    hint=full(str(error)),
                ) from error

    def pull(self, names: Sequence[str], folder: str, to: Path) -> None:
        """Copy files."""
        for name in names:
            try:
                shutil.copyfile(Path(folder) / name, to / name)
            except OSError as error:
                raise StageFailed(
                    f"{self.name}: {name} cannot be read from {folder} ({error.strerror})"
                ) from error

    def _call(self, argv: Sequence[str], folder: str | None, timeout_s: float, *, hold: bool) -> Done:
        where = None if folder is None else Path(folder)
        try:
            return call(argv, timeout_s=timeout_s, hold=hold, folder=where)
        except Late as error:
            raise StageFailed(f"{self.name}: no answer after {timeout_s:.0f} s, it was stopped") from error
