"""An emulated arm64 core: qemu's user mode runs the arm64 bundle on this machine.

It shows that a model loads there and what it computes. How long it takes means nothing, so nothing here
returns a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from squeeze.errors import MissingBackend, UsageError
from squeeze.targets.devices.address import Qemu, parse
from squeeze.targets.devices.local import LocalTransport

__all__ = ["CORES", "Core", "QemuTransport", "emulated"]

PROGRAMS = ("qemu-aarch64-static", "qemu-aarch64")
INSTALL = "apt-get install qemu-user-static"
ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
ARMV8_2 = f"{ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
CORE_COUNT = 2


@dataclass(frozen=True)
class Core:
    """What /proc/cpuinfo says on such a core.

    Attributes:
        part: ARM's number of it.
        features: its instruction sets, in Linux's words.
    """

    part: str
    features: str


# Parts: Linux, arch/arm64/include/asm/cputype.h. `max` is left out: ONNX Runtime would use SME there, whose
# emulation gave other numbers, and no device of today is like it.
CORES: Mapping[str, Core] = {
    "cortex-a53": Core("0xd03", ARMV8),
    "cortex-a57": Core("0xd07", ARMV8),
    "cortex-a72": Core("0xd08", ARMV8),
    "cortex-a76": Core("0xd0b", ARMV8_2),
    "neoverse-n1": Core("0xd0c", ARMV8_2),
}


class QemuTransport(LocalTransport):
    """One emulated core, with the few files of /proc and /sys that ONNX Runtime asks for the processor.

    Without these it would read those of this machine, believe it were x86 and crash; with another core's it
    would use instructions that the emulated one does not have.

    Args:
        address: the core.
        base: a folder of our own; the emulator's files go beside the runner's.
        programs: names of the emulator.

    Raises:
        UsageError: a core that is not in the table.
        MissingBackend: the emulator is not installed.
    """

    def __init__(self, address: Qemu, base: Path, programs: Sequence[str] = PROGRAMS) -> None:
        core = CORES.get(address.cpu)
        if core is None:
            raise UsageError(f"{address}: unknown core", hint=f"one of {', '.join(CORES)}")
        program = next(filter(None, map(shutil.which, programs)), None)
        if program is None:
            raise MissingBackend(f"{address}: {programs[0]} is not installed", hint=INSTALL)
        self._root, self._core = base / "emulated", core
        prefix = [program, "-cpu", address.cpu, "-L", str(self._root)]
        super().__init__(str(address), "linux-arm64", base / "work", prefix)

    def open(self) -> None:
        """Write what the emulated system says about its processor."""
        system = self._root / "sys/devices/system/cpu"
        system.mkdir(parents=True, exist_ok=True)
        (self._root / "proc").mkdir(exist_ok=True)
        (self._root / "proc/cpuinfo").write_text(cpuinfo(self._core), encoding="ascii")
        for name in ("possible", "present"):
            (system / name).write_text(f"0-{CORE_COUNT - 1}\n", encoding="ascii")


def emulated(targets: Sequence[str]) -> tuple[str, ...]:
    """Targets of a check as they are written everywhere, for a pydantic model.

    Raises:
        ValueError: no target, one that is no emulated core of the table, or one that is named twice.
    """
    found = []
    for text in targets:
        try:
            address = parse(text)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        if not isinstance(address, Qemu):
            raise ValueError(f"{text}: a check needs an emulated core, such as qemu:cortex-a53")  # noqa: TRY004
        if address.cpu not in CORES:
            raise ValueError(f"{text}: unknown core; one of {', '.join(CORES)}")
        if text in found:
            raise ValueError(f"{text}: named twice")
        found.append(text)
    return tuple(found)


def cpuinfo(core: Core) -> str:
    """Linux's text for a processor of equal cores."""
    lines = (
        f"Features\t: {core.features}\n"
        "CPU implementer\t: 0x41\n"
        "CPU architecture: 8\n"
        "CPU variant\t: 0x0\n"
        f"CPU part\t: {core.part}\n"
        "CPU revision\t: 0\n"
    )
    return "".join(f"processor\t: {number}\nBogoMIPS\t: 100.00\n{lines}\n" for number in range(CORE_COUNT))
