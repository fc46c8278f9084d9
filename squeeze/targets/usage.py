"""What this process has used and lost; the measuring process loads it, so the standard library only."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_bytes", "preemptions"]


def peak_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux's VmHWM belongs to this program alone; getrusage would also count what the parent held
    when it forked, which is gigabytes after a training.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def preemptions() -> int:
    """How often the system took a core away from this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
