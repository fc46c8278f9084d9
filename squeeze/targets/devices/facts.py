"""What the runner says about a device: which cores to take, and whether they kept their pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze.errors import UsageError
from squeeze.schema import Frozen

__all__ = ["CLOCK_SHARE", "SLOWER", "Condition", "Core", "Device", "big_cores", "throttling"]

CLOCK_SHARE = 0.95  # of the clock when timing began; steps of a governor are larger
# The last quarter's median against the first's: firmware may lower a clock and tell nobody.
SLOWER = 1.10
LEAST_SAMPLES = 40  # a quarter of fewer says nothing
LEAST_S = 1.0  # of calls; heat takes seconds, in a shorter time the last quarter shows what else ran


class Core(Frozen):
    """One core that the runner may use."""

    core: int
    """its number"""
    capacity: int | None = None
    """Linux's figure of its speed against the fastest core, which has 1024"""
    most_khz: int | None = None
    """its highest clock"""
    governor: str | None = None
    """what sets its clock"""


class Device(Frozen):
    """What the device is."""

    machine: str
    system: str
    release: str
    model: str | None
    """what the board is called, where the firmware says it"""
    cpu: str | None
    """name of the processor, or ARM's number of its core"""
    memory_bytes: int
    cores: tuple[Core, ...]


class Condition(Frozen):
    """Clocks and temperatures at one moment; what the system does not tell is missing."""

    khz: Mapping[str, int]
    """by core"""
    millidegrees: Mapping[str, int]
    """by thermal zone, in thousandths of a degree Celsius"""

    @property
    def hottest(self) -> float | None:
        """Degrees Celsius of the hottest zone."""
        # Zones that are switched off say 0 or less, or absurd values.
        known = [value / 1e3 for value in self.millidegrees.values() if 0 < value < 200_000]
        return max(known, default=None)


def big_cores(cores: Sequence[Core], threads: int) -> tuple[int, ...]:
    """The fastest cores, one for each thread; of equal ones the last.

    Systems put work of their own on the first.

    Raises:
        UsageError: more threads than cores.

    >>> little, big = Core(core=0, most_khz=1_800_000), Core(core=4, most_khz=2_800_000)
    >>> big_cores([little, big], threads=1)
    (4,)
    """
    if threads > len(cores):
        raise UsageError(f"threads {threads}: the device lets us use {len(cores)} cores")
    ranked = sorted(cores, key=lambda each: (each.capacity or 0, each.most_khz or 0, each.core))
    return tuple(sorted(each.core for each in ranked[-threads:]))


def throttling(
    cores: Sequence[int], before: Condition, after: Condition, samples_ms: Sequence[Sequence[float]]
) -> str | None:
    """Why a measurement says less about the device than about its heat; None when it kept its pace.

    Args:
        cores: that were used.
        before: when timing began, under load.
        after: when it ended.
        samples_ms: calls of each model in order.
    """
    for core in map(str, cores):
        first, last = before.khz.get(core), after.khz.get(core)
        if first and last and last < CLOCK_SHARE * first:
            fall = f"from {first / 1e6:.2f} to {last / 1e6:.2f} GHz"
            return f"the clock of core {core} fell {fall}{_heat(before, after)}"
    for samples in samples_ms:
        quarter = len(samples) // 4
        if len(samples) < LEAST_SAMPLES or sum(samples) < 1e3 * LEAST_S:
            continue
        slower = np.median(samples[-quarter:]) / np.median(samples[:quarter])
        if slower > SLOWER:
            heat = _heat(before, after)
            return f"the last quarter of the calls took {slower:.2f} times as long as the first{heat}"
    return None


def _heat(before: Condition, after: Condition) -> str:
    if before.hottest is None or after.hottest is None:
        return ""
    return f", the hottest zone went from {before.hottest:.0f} to {after.hottest:.0f} °C"
