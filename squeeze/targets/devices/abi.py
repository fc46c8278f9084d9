"""Kinds of device that runner bundles are made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from squeeze.errors import UsageError

__all__ = ["ABIS", "Abi", "find", "require_machine"]

ELF = b"\x7fELF"


@dataclass(frozen=True)
class Abi:
    """One kind.

    Attributes:
        name: as it is written.
        machine: ELF's number of its instruction set.
        compiler: of Debian; Android's comes with the NDK.
        install: how to get that.
        debian: Debian's word for the architecture.
        wheel: tag of ONNX Runtime's wheels.
        loader: the C library's program loader, which starts the runner.
    """

    name: str
    machine: int
    compiler: str = ""
    install: str = ""
    debian: str = ""
    wheel: str = ""
    loader: str = ""

    @property
    def libc(self) -> tuple[str, ...]:
        """Files of the C and C++ libraries that the runner and ONNX Runtime need, the loader first."""
        return (self.loader, *LIBRARIES) if self.loader else ()


LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)
AARCH64, X86_64 = 183, 62  # EM_AARCH64 and EM_X86_64 of elf.h
ABIS: Mapping[str, Abi] = {
    abi.name: abi
    for abi in (
        Abi(
            name="linux-x86_64",
            machine=X86_64,
            compiler="x86_64-linux-gnu-gcc",
            install="apt-get install gcc",
            debian="amd64",
            wheel="manylinux_2_28_x86_64",
            loader="ld-linux-x86-64.so.2",
        ),
        Abi(
            name="linux-arm64",
            machine=AARCH64,
            compiler="aarch64-linux-gnu-gcc",
            install="apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
            debian="arm64",
            wheel="manylinux_2_28_aarch64",
            loader="ld-linux-aarch64.so.1",
        ),
        Abi(name="android-arm64", machine=AARCH64),
    )
}


def find(name: str) -> Abi:
    """An ABI by its name.

    Raises:
        UsageError: there is no such one.
    """
    if name not in ABIS:
        raise UsageError(f"--abi {name}: unknown", hint=f"one of {', '.join(ABIS)}")
    return ABIS[name]


def require_machine(path: Path, abi: Abi, told: str) -> None:
    """Refuse a program or library that is for another kind of device.

    Args:
        path: the file.
        abi: what it must be for.
        told: where the user gave it, for the message.

    Raises:
        UsageError: it is no ELF file, or one of another machine.
    """
    with path.open("rb") as file:
        head = file.read(20)
    # e_machine: two bytes at 18, little-endian on every machine in the table.
    if not head.startswith(ELF) or int.from_bytes(head[18:20], "little") != abi.machine:
        raise UsageError(f"{told}: {path.name} is no library or program for {abi.name}")
