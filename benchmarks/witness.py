"""A second opinion on how long a call takes: a plain loop around a session, nothing of squeeze in it.

    python -m benchmarks.witness < request.json

Asked by benchmarks/agreement.py, which says how the session is opened and what it is fed. With `profile` the
times are also those of ONNX Runtime's own profiler: the `model_run` events of a profiled session, in
microseconds. A profiled session writes down every node, so it is slower than another one; the loop around
it says by how much, and whether the two clocks agree.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["answer", "events"]

FEEDS = 1_000  # as the bench draws new ids all the time: few would keep their rows of the table in the cache
Feed = dict[str, Any]


def main() -> None:
    """One request on stdin, one answer on stdout."""
    print(json.dumps(answer(json.load(sys.stdin))))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of every call, by the loop's clock and, with `profile`, by the profiler's.

    Beside them stands how often another program took the core meanwhile.

    Args:
        request: ``path``, ``config`` of the session, ``cores``, ``tokens``, ``vocabulary``, ``warmup`` and
            ``calls`` at least, ``seconds`` of calls at least, ``profile``, ``seed``.
    """
    if request["cores"]:
        os.sched_setaffinity(0, request["cores"])
    with TemporaryDirectory() as folder:
        session = _session(request, Path(folder) / "profile")
        feeds = _feeds(request)
        for each in islice(cycle(feeds), request["warmup"]):
            session.run(None, each)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        loop = timed(session, feeds, request["calls"], request["seconds"])
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
        if not request["profile"]:
            return {"loop": loop, "preemptions": taken}
        text = Path(session.end_profiling()).read_text(encoding="utf-8")
    return {"loop": loop, "profiler": events(json.loads(text))[request["warmup"] :], "preemptions": taken}


def timed(session: Any, feeds: list[Feed], calls: int, seconds: float) -> list[float]:
    """Milliseconds of calls until there are enough of them and of seconds."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    for each in cycle(feeds):
        before = time.perf_counter()
        session.run(None, each)
        after = time.perf_counter()
        found.append((after - before) * 1e3)
        if len(found) >= calls and after >= end:
            return found
    return found


def events(trace: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of the `model_run` events of a profile, in order."""
    return [each["dur"] / 1e3 for each in trace if each.get("name") == "model_run"]


def _session(request: dict[str, Any], prefix: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for key, value in request["config"].items():
        options.add_session_config_entry(key, value)
    if request["profile"]:
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)
    return onnxruntime.InferenceSession(request["path"], options, providers=["CPUExecutionProvider"])


def _feeds(request: dict[str, Any]) -> list[Feed]:
    generator, shape = np.random.default_rng(request["seed"]), (1, request["tokens"])
    return [
        {
            "input_ids": generator.integers(0, request["vocabulary"], shape),
            "attention_mask": np.ones(shape, dtype=np.int64),
        }
        for _ in range(FEEDS)
    ]


if __name__ == "__main__":
    main()
