"""Stands in for the C runner where there is no compiler: the same words, plans and answers, in Python.

A file `fault` beside it makes it misbehave.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOME = Path(sys.argv[0]).resolve().parent
FAULT = (HOME / "fault").read_text() if (HOME / "fault").exists() else ""


def watch() -> None:
    while os.read(0, 256):
        pass
    os._exit(7)


def read(path: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    import numpy as np

    words: dict[str, str] = {}
    models: list[dict[str, Any]] = []
    for line in Path(path).read_text().splitlines():
        key, _, rest = line.partition(" ")
        if key == "model":
            models.append({"file": rest, "feeds": []})
        elif key == "feed":
            models[-1]["feeds"].append({})
        elif key == "input":
            kind, sizes, file, name = rest.split(" ", 3)
            shape = [] if sizes == "scalar" else [int(size) for size in sizes.split("x")]
            models[-1]["feeds"][-1][name] = np.fromfile(file, kind).reshape(shape)
        else:
            words[key] = rest
    return words, models


def golden(number: int, model: dict[str, Any], *, outputs: bool) -> dict[str, Any]:
    told: list[list[dict[str, Any]]] = []
    for at, feed in enumerate(model["feeds"]):
        found = model["session"].run(None, feed)
        told.append([])
        for place, value in enumerate(found if outputs else ()):
            name = f"{number}.{at}.{place}.bin"
            wrong = value + 1 if FAULT == "wrong" else value
            Path(name).write_bytes(wrong.astype(value.dtype).tobytes())
            output = model["session"].get_outputs()[place].name
            told[-1].append(
                {"name": output, "type": value.dtype.name, "sizes": list(value.shape), "file": name}
            )
    return {"outputs": [each for each in told if each]}


def timed(model: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    runs = int(words["min_runs"])
    feeds = model["feeds"]
    rounds = -(-runs // len(feeds))
    samples = [1.0 + 0.01 * (call % 3) for call in range(rounds * len(feeds))]
    if FAULT == "slowing":
        samples = [100 * ms * (1 + at / len(samples)) for at, ms in enumerate(samples)]
    return {
        "load_ms": 2.0,
        "first_ms": 1.5,
        "passes": 1,
        "preemptions": 0,
        "warmup_ms": [1.0] * (2 * len(feeds)) if runs else [],
        "samples_ms": samples,
    }


def condition(khz: int) -> dict[str, Any]:
    return {"khz": {"0": khz, "1": khz}, "millidegrees": {"0 cpu-thermal": 45_000}}


def device() -> dict[str, Any]:
    cores = [{"core": core, "most_khz": 2_000_000, "governor": "performance"} for core in (0, 1)]
    name = os.uname()
    return {
        "machine": name.machine,
        "system": name.sysname,
        "release": name.release,
        "model": "Test Board",
        "cpu": "0xd0b",
        "memory_bytes": 1_000_000_000,
        "cores": cores,
    }


def run(plan: str) -> dict[str, Any]:
    import onnxruntime  # a second that `describe` need not take

    words, models = read(plan)
    for model in models:
        model["session"] = onnxruntime.InferenceSession(model["file"])
    found = [golden(m, model, outputs=words["outputs"] == "1") for m, model in enumerate(models)]
    late = FAULT == "hot" and int(words["min_runs"]) > 0
    return {
        "onnxruntime": onnxruntime.__version__,
        "baseline_bytes": 1_000_000,
        "golden": found,
        "peak_bytes": 3_000_000,
        "before": condition(2_000_000),
        "after": condition(1_200_000 if late else 2_000_000),
        "models": [timed(model, words) for model in models],
    }


def misbehave() -> None:
    if FAULT == "hang":
        time.sleep(600)
    if FAULT == "deaf":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if FAULT == "crash":
        ctypes.string_at(0)
    if FAULT.startswith("exit"):
        sys.stderr.write("squeeze-runner: what the runner said\n")
        sys.exit(int(FAULT.removeprefix("exit")))


def main() -> None:
    result = Path(sys.argv[-1])
    if sys.argv[1] == "describe":
        answer = {"device": device(), "condition": condition(600_000)}
    else:
        if FAULT != "deaf":
            threading.Thread(target=watch, daemon=True).start()
        misbehave()
        answer = run(sys.argv[3])
    result.write_text(json.dumps({"schema": 1, **answer}))


if __name__ == "__main__":
    main()
