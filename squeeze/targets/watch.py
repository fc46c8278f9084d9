"""What else went on while a model was timed: readings of Linux's counters, before and after.

Each reading takes a few files, about a millisecond, and none is taken while anything is timed. What a
system does not have or does not show is None. The standard library only: the measuring process loads this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from squeeze.runtime import groups, quota

__all__ = [
    "Snapshot",
    "Throttling",
    "between",
    "core_times",
    "pressure",
    "snapshot",
    "swapped",
    "throttling",
    "timer_step",
]

PROC, DEVICES = Path("/proc"), Path("/sys/devices/system/cpu")
BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq of /proc/stat; guests are counted in user (proc(5))
STEAL = 7
TIMER_READS = 1_000


@dataclass(frozen=True)
class Throttling:
    """What a control group's quota has done so far; its `cpu.stat`.

    Attributes:
        periods: that have passed while the group had something to run.
        throttled: of them, in which it was stopped.
        seconds: that its threads waited for the next period, added up over cores.
    """

    periods: int
    throttled: int
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """One reading; counters since the system or the process began.

    Attributes:
        at_s: clock of the reading.
        own_s: processor time of this process, all threads.
        major_faults: pages that this process had to wait for.
        cores: that this process may run on.
        busy_s: time in which these cores ran anything, added up.
        steal_s: time in which these cores had work and the hypervisor ran something else.
        clock_mhz: of each of these cores, now.
        clock_limit_mhz: the highest that the governor may choose, of each.
        thermal_throttles: times that these cores were slowed because they were hot.
        cpu_waiting_s: time in which something on this system waited for a core.
        memory_waiting_s: likewise for memory.
        swapped_pages: in and out, of the whole system.
        quota_cores: of our control group; None where nothing limits it.
        throttling: of the group with that limit, or None.
        timer_ns: smallest step of the clock that calls are timed with.
    """

    at_s: float
    own_s: float
    major_faults: int
    cores: tuple[int, ...]
    busy_s: float | None
    steal_s: float | None
    clock_mhz: tuple[float, ...] | None
    clock_limit_mhz: tuple[float, ...] | None
    thermal_throttles: int | None
    cpu_waiting_s: float | None
    memory_waiting_s: float | None
    swapped_pages: int | None
    quota_cores: float | None
    throttling: Throttling | None
    timer_ns: int


def snapshot(proc: Path = PROC, devices: Path = DEVICES) -> Snapshot:
    """Read everything once.

    Args:
        proc: where the kernel shows processes.
        devices: where it shows cores.
    """
    import resource

    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    folders = [devices / f"cpu{core}" for core in cores]
    times = core_times(_text(proc / "stat"), cores, os.sysconf("SC_CLK_TCK"))
    limit, stopped = _limit(groups(member=proc / "self/cgroup"))
    return Snapshot(
        at_s=time.perf_counter(),
        own_s=time.process_time(),
        major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
        cores=cores,
        busy_s=None if times is None else times[0],
        steal_s=None if times is None else times[1],
        clock_mhz=_megahertz(folder / "cpufreq/scaling_cur_freq" for folder in folders),
        clock_limit_mhz=_megahertz(folder / "cpufreq/scaling_max_freq" for folder in folders),
        thermal_throttles=_throttles(folders),
        cpu_waiting_s=pressure(_text(proc / "pressure/cpu")),
        memory_waiting_s=pressure(_text(proc / "pressure/memory")),
        swapped_pages=swapped(_text(proc / "vmstat")),
        quota_cores=limit,
        throttling=stopped,
        timer_ns=timer_step(),
    )


def between(before: Snapshot, after: Snapshot) -> dict[str, Any]:
    """What happened between two readings: fields of a MachineState, ready for JSON.

    >>> quiet = dict(major_faults=0, cores=(1,), clock_mhz=None, clock_limit_mhz=None, thermal_throttles=None)
    >>> quiet |= dict(cpu_waiting_s=None, memory_waiting_s=None, swapped_pages=0, quota_cores=None)
    >>> quiet |= dict(throttling=None, timer_ns=50)
    >>> before = Snapshot(at_s=0.0, own_s=0.0, busy_s=5.0, steal_s=1.0, **quiet)
    >>> after = Snapshot(at_s=4.0, own_s=2.0, busy_s=8.0, steal_s=1.5, **quiet)
    >>> found = between(before, after)
    >>> found["other_load"], found["steal"]
    (0.25, 0.125)
    """
    seconds = max(after.at_s - before.at_s, 1e-9)
    core_seconds = seconds * max(1, len(after.cores))
    busy, own = _gone(before.busy_s, after.busy_s), after.own_s - before.own_s
    stopped = before.throttling, after.throttling
    return {
        "seconds": seconds,
        "cores": list(after.cores),
        "other_load": None if busy is None else max(0.0, busy - own) / core_seconds,
        "steal": _share(before.steal_s, after.steal_s, core_seconds),
        "clock_mhz": _clocks(before.clock_mhz, after.clock_mhz),
        "clock_limit_mhz": None if after.clock_limit_mhz is None else max(after.clock_limit_mhz),
        "thermal_throttles": _gone(before.thermal_throttles, after.thermal_throttles),
        "cpu_waiting": _share(before.cpu_waiting_s, after.cpu_waiting_s, seconds),
        "memory_waiting": _share(before.memory_waiting_s, after.memory_waiting_s, seconds),
        "swapped_pages": _gone(before.swapped_pages, after.swapped_pages),
        "major_faults": after.major_faults - before.major_faults,
        "quota_cores": after.quota_cores,
        "throttled_periods": _gone(*(each and each.throttled for each in stopped)),
        "throttled_s": _gone(*(each and each.seconds for each in stopped)),
        "timer_ns": min(before.timer_ns, after.timer_ns),
    }


def core_times(text: str, cores: Sequence[int], ticks: int) -> tuple[float, float] | None:
    r"""Busy and stolen seconds of some cores together.

    Args:
        text: of /proc/stat; columns as in proc(5).
        cores: their numbers.
        ticks: of that file a second.

    Returns:
        None where a core is missing or the kernel is older than steal time.

    >>> core_times("cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 100 20 30 900 7 1 2 50 0 0", [1], 100)
    (1.53, 0.5)
    """
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("cpu")}
    found = [rows.get(f"cpu{core}", []) for core in cores]
    if not found or any(len(row) <= STEAL for row in found):
        return None
    busy = sum(int(row[column]) for row in found for column in BUSY)
    return busy / ticks, sum(int(row[STEAL]) for row in found) / ticks


def pressure(text: str) -> float | None:
    r"""Seconds in which some task waited (Linux, Documentation/accounting/psi.rst); None without the file.

    >>> pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=7")
    2.5
    """
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        if kind == "some" and total.isdecimal():
            return int(total) / 1e6
    return None


def swapped(text: str) -> int | None:
    r"""Pages swapped in and out, from /proc/vmstat; None where it does not say.

    >>> swapped("nr_free_pages 5\npswpin 3\npswpout 4\n")
    7
    """
    found = _numbers(text)
    return found["pswpin"] + found["pswpout"] if {"pswpin", "pswpout"} <= found.keys() else None


def throttling(text: str) -> Throttling | None:
    r"""What `cpu.stat` of a control group says, of cgroup v1 (nanoseconds) or v2 (microseconds).

    >>> throttling("nr_periods 10\nnr_throttled 4\nthrottled_time 2000000000\n")
    Throttling(periods=10, throttled=4, seconds=2.0)
    >>> throttling("usage_usec 5\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2000000\n")
    Throttling(periods=10, throttled=4, seconds=2.0)
    """
    found = _numbers(text)
    if not {"nr_periods", "nr_throttled"} <= found.keys():
        return None
    seconds = (
        found["throttled_usec"] / 1e6 if "throttled_usec" in found else found.get("throttled_time", 0) / 1e9
    )
    return Throttling(found["nr_periods"], found["nr_throttled"], seconds)


def timer_step() -> int:
    """Nanoseconds of the smallest step that the clock of the timed calls was seen to make."""
    read = [time.perf_counter_ns() for _ in range(TIMER_READS)]
    return min((after - before for before, after in pairwise(read) if after > before), default=0)


def _gone(before: Any, after: Any) -> Any:
    """Difference of two counters; None where either is not known."""
    return None if before is None or after is None else after - before


def _share(before: float | None, after: float | None, seconds: float) -> float | None:
    gone = _gone(before, after)
    return None if gone is None else float(gone / seconds)


def _clocks(before: Sequence[float] | None, after: Sequence[float] | None) -> list[float] | None:
    """Mean clock of the cores, before and after."""
    return None if not before or not after else [sum(each) / len(each) for each in (before, after)]


def _numbers(text: str) -> Mapping[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(path: Path) -> str:
    """A file of the kernel; empty where there is none or we may not read it."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _megahertz(paths: Iterable[Path]) -> tuple[float, ...] | None:
    """Clocks of cores; None unless all can be read."""
    texts = [_text(path).strip() for path in paths]
    return tuple(int(each) / 1e3 for each in texts) if texts and all(map(str.isdecimal, texts)) else None


def _throttles(folders: Sequence[Path]) -> int | None:
    """Times that cores or their packages were too hot, as x86 counts them; None where nothing counts."""
    names = ("core_throttle_count", "package_throttle_count")
    texts = [_text(folder / "thermal_throttle" / name).strip() for folder in folders for name in names]
    counts = [int(each) for each in texts if each.isdecimal()]
    return sum(counts) if counts else None


def _limit(folders: Iterable[Path]) -> tuple[float | None, Throttling | None]:
    """The smallest quota among control groups, and what it has done."""
    limited = [(cores, folder) for folder in folders if (cores := quota(folder)) is not None]
    if not limited:
        return None, None
    cores, folder = min(limited)
    return cores, throttling(_text(folder / "cpu.stat"))
