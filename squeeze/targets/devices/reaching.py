"""Whether a device can be visited, and which one it is, before anything is spent on what it will run."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from squeeze.artifact import digest_json
from squeeze.targets.devices.address import Address
from squeeze.targets.devices.session import runner_for
from squeeze.targets.devices.visiting import Habits, runners, transport

__all__ = ["identity", "require", "runner_key"]

# A board's number, and one that its system got when it was installed, which copies of a card share.
OWN = ("/proc/device-tree/serial-number", "/etc/machine-id")
# What the figures depend on: kernel, processor, board, cores, highest clock.
KIND = (
    "/proc/version",
    "/sys/devices/system/cpu/modalias",
    "/proc/device-tree/model",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
)
BOOT = "/proc/sys/kernel/random/boot_id"  # names a device without a number of its own until it starts again
SERIAL = "ro.serialno"


def require(address: Address, habits: Habits) -> None:
    """See that a target is there and that there is a runner for it; nothing is brought to it.

    Args:
        address: a device or an emulated core.
        habits: how devices are used.

    Raises:
        UsageError: no device, or several and none is named.
        MissingBackend: it cannot be reached, an emulator is missing, or there is no runner for it.
    """
    with tempfile.TemporaryDirectory(prefix="squeeze-device-") as scratch:
        way = transport(address, habits, Path(scratch))
        way.open()
        runner_for(way, runners(address, habits))


def runner_key(address: Address, habits: Habits) -> str:
    """Digest of what the runner for a target is made of: another one may compute otherwise.

    Raises:
        MissingBackend: as `require` does.
    """
    with tempfile.TemporaryDirectory(prefix="squeeze-device-") as scratch:
        way = transport(address, habits, Path(scratch))
        return str(runner_for(way, runners(address, habits)).manifest["key"])


def identity(address: Address, habits: Habits) -> str:
    """Digest of which device this is, and of its kernel and processor.

    Two boards behind one name differ in it, and one board under two names does not. No serial number leaves
    the device: it gives digests of its files.

    Raises:
        MissingBackend: it cannot be reached.
        StageFailed: the connection was lost.
    """
    way = transport(address, habits, Path())
    way.open()
    said = way.run(["sha256sum", *OWN, *KIND, BOOT]).out.decode(errors="replace")
    found = {name: digest for digest, _, name in (line.partition("  ") for line in said.splitlines()) if name}
    marks = way.marks()
    boot = found.pop(BOOT, None)
    if SERIAL not in marks and not any(name in found for name in OWN):
        # Without even that, each look is another device: better measured twice than mistaken.
        found[BOOT] = boot or secrets.token_hex(16)
    return digest_json({**found, **marks})
