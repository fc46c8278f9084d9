"""The runner's plan as text; squeeze/targets/runner/plan.h says what each line means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from squeeze.errors import StageFailed
from squeeze.targets.inputs import Feed
from squeeze.targets.ort import config

__all__ = ["Plan", "Planned", "Timing", "feed_file", "write"]


@dataclass(frozen=True)
class Timing:
    """How long to time; 0 runs: load and run each feed once."""

    warmup_s: float = 0.0
    min_runs: int = 0
    min_s: float = 0.0
    max_s: float = 0.0


@dataclass(frozen=True)
class Planned:
    """One model of a plan.

    Attributes:
        file: on the device, from the working folder.
        number: of the model whose feeds it takes.
        feeds: values; their files lie on the device already.
    """

    file: str
    number: int
    feeds: Sequence[Feed]


@dataclass(frozen=True)
class Plan:
    """All of a run."""

    models: Sequence[Planned]
    threads: int
    cores: Sequence[int] = ()
    limit_s: float = 600.0
    timing: Timing = field(default_factory=Timing)
    outputs: bool = False
    spinning: bool = True


def feed_file(model: int, feed: int, place: int) -> str:
    """Name of the file of one input's values."""
    return f"in.{model}.{feed}.{place}.bin"


def write(plan: Plan) -> str:
    """The text.

    >>> print(write(Plan(models=[Planned("m0/a.onnx", 0, [])], threads=2, cores=(4, 5))), end="")
    threads 2
    limit_s 600
    warmup_s 0
    min_runs 0
    min_s 0
    max_s 0
    outputs 0
    cores 4,5
    config session.x64quantprecision 1
    config session.intra_op.allow_spinning 1
    model m0/a.onnx
    """
    timing = plan.timing
    lines = [
        f"threads {plan.threads}",
        f"limit_s {plan.limit_s:.0f}",
        f"warmup_s {timing.warmup_s:g}",
        f"min_runs {timing.min_runs}",
        f"min_s {timing.min_s:g}",
        f"max_s {timing.max_s:g}",
        f"outputs {int(plan.outputs)}",
    ]
    if plan.cores:
        lines.append(f"cores {','.join(map(str, plan.cores))}")
    lines += [f"config {key} {value}" for key, value in config(spinning=plan.spinning).items()]
    for model in plan.models:
        lines.append(f"model {model.file}")
        for number, values in enumerate(model.feeds):
            lines.append("feed")
            lines += [_input(model.number, number, place, name, values) for place, name in enumerate(values)]
    return "\n".join(lines) + "\n"


def _input(model: int, feed: int, place: int, name: str, values: Feed) -> str:
    if "\n" in name or not name:
        raise StageFailed(f"input {name!r}: a name with a line end cannot be put into the runner's plan")
    sizes = "x".join(map(str, values[name].shape)) or "scalar"
    return f"input {values[name].dtype.name} {sizes} {feed_file(model, feed, place)} {name}"
