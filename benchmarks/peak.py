"""Run a command and write down its wall time and peak memory: `peak.py OUT.json COMMAND...`.

Memory is what all processes of the command hold together, looked at ten times a second, with shared
pages counted once for each process: an upper bound. The system's own figure for the largest single
process, the one that /usr/bin/time shows, stands beside it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil

__all__ = ["main", "together"]

EVERY_S = 0.1


def together(parent: psutil.Process) -> int:
    """Resident bytes of a process and all below it; those that have just ended count nothing."""
    total = 0
    try:
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main(target: Path, command: list[str]) -> int:
    """Run the command, write the file, and return the command's exit code."""
    started = time.monotonic()
    process = subprocess.Popen(command)
    parent, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, together(parent))
        time.sleep(EVERY_S)
    found = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_bytes": peak,
        "largest_process_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }
    target.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
