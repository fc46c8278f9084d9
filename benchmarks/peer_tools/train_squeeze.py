"""`squeeze` with a clock on what trains the student.

    python train_squeeze.py RESULT ARGUMENT...

Runs `squeeze ARGUMENT...` in this process and writes a JSON file: seconds in the training, cache of the
teacher's answers and checkpoints included, and seconds of validation in it, which are not counted there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import accelerate  # noqa: F401 - the peers have loaded all they need when their clock starts
import torch

from squeeze.cli import main as squeeze
from squeeze.distillation.phases import PhaseInputs
from squeeze.runtime import versions
from squeeze.stages.distil import run as stage


class Clock:
    """Seconds spent in functions: by the wall clock, and of processors."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, watched."""

        def watched(*arguments: Any, **named: Any) -> Any:
            started, worked = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
                self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + time.process_time() - worked

        return watched


def main() -> int:
    """What the arguments say."""
    target, clock = Path(sys.argv[1]), Clock()
    with (
        patch.object(stage, "train", clock.around("train", stage.train)),
        patch.object(PhaseInputs, "score", clock.around("score", PhaseInputs.score)),
    ):
        code = squeeze(sys.argv[2:])
    if code:
        return code
    result = {
        "seconds": clock.seconds["train"] - clock.seconds["score"],
        "cpu_seconds": clock.cpu_seconds["train"] - clock.cpu_seconds["score"],
        "validation_seconds": clock.seconds["score"],
        "threads": torch.get_num_threads(),
        "versions": versions(("torch", "transformers")),
    }
    target.write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
