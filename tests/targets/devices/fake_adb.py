"""Stands in for adb: its words, its texts and its exit codes, on a folder of this machine as the device.

FAKE_ADB names a folder with `devices` (what `adb devices -l` lists), `root` (the device's files) and, for
faults, `fault`. What was asked is added to `asked`, one JSON list a line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

HOME = Path(os.environ.get("FAKE_ADB", ""))
ROOT = HOME / "root"
STORE = "/data/local/tmp"


def end(code: int, message: str = "") -> NoReturn:
    if message:
        sys.stderr.write(message + "\n")
    sys.exit(code)


def fault() -> str:
    return (HOME / "fault").read_text().strip() if (HOME / "fault").exists() else ""


def here(path: str) -> str:
    return path.replace(STORE, str(ROOT) + STORE)


def known(serial: str) -> None:
    state = {line.split()[0]: line.split()[1] for line in (HOME / "devices").read_text().splitlines() if line}
    if serial not in state or fault() == "gone":
        end(1, f"error: device '{serial}' not found")
    if state[serial] != "device":
        end(1, f"error: device {state[serial]}")


def shell(line: str) -> NoReturn:
    """What adbd does: one line for the device's shell, here with the tools in `root/bin` first."""
    import subprocess  # copying, which is asked for most, starts without it

    variables = {**os.environ, "PATH": f"{ROOT}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", here(line)], env=variables, stderr=subprocess.PIPE, check=False)
    if fault() == "cut" and "squeeze-runner" in line:
        sys.exit(0)  # clients do so when the device goes away in the middle
    sys.stderr.buffer.write(done.stderr)
    sys.exit(done.returncode)


def copy(source: str, target: str, failed: str) -> NoReturn:
    if fault() == "full":
        end(
            1,
            f"adb: error: failed to copy '{source}' to '{target}': No space left on device",
        )
    if not Path(source).is_file():
        end(1, f"adb: error: {failed} '{source}': No such file or directory")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(Path(source).read_bytes())
    sys.stdout.write(f"{source}: 1 file. 0.0 MB/s\n")
    sys.exit(0)


def main() -> None:
    words = sys.argv[1:]
    with (HOME / "asked").open("a") as file:
        file.write(json.dumps(words) + "\n")
    if words[0] == "devices":
        sys.stdout.write("* daemon not running; starting now at tcp:5037\n* daemon started successfully\n")
        sys.stdout.write("List of devices attached\n" + (HOME / "devices").read_text() + "\n")
        return
    if words[0] != "-s":
        end(1, "error: more than one device/emulator")
    known(words[1])
    verb, rest = words[2], words[3:]
    if verb == "shell":
        shell(" ".join(word for word in rest if word != "-T"))
    if verb == "push":
        copy(rest[0], here(rest[1]), "cannot stat")
    if verb == "pull":
        copy(here(rest[0]), rest[1], "failed to stat remote object")
    if verb == "get-state":
        sys.stdout.write("device\n")
        return
    end(1, f"adb: unknown command {verb}")


if __name__ == "__main__":
    main()
