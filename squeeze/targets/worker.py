"""The measuring process: one request as a JSON line on stdin, one JSON answer on stdout.

`python -m squeeze.targets.worker` is started by squeeze/targets/process.py and by nobody else. Three
kinds of request on any target, and one on a GPU (more stand in squeeze/targets/roles.py):

start
    Load one model and run it, to learn what a fresh process pays: time to load, first inference,
    peak memory.
time
    Hold one or more models and run them in turns, block by block, to learn how fast they are.
round
    The same for a short time: one of many fresh processes, each with another order of models.
device
    Say which GPU and which libraries there are, or what is missing.

It imports as little as it can, because what it imports counts as memory, and it ends with its
parent: stdin stays open for as long as the parent lives.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import SqueezeError
from squeeze.targets import memory, roles, sessions, turns
from squeeze.targets.inputs import (
    DEFAULT_LENGTH,
    Feed,
    Slot,
    draw_lengths,
    feed,
    first_that_runs,
    has_length,
    hint,
    slots,
)
from squeeze.targets.ort import guarded, specs
from squeeze.targets.usage import peak_bytes, preemptions

__all__ = ["WARM_SHARE", "WARM_TOLERANCE", "WARM_WINDOW", "main"]

BLOCK_CALLS = 20  # calls of one model in a block; long enough to be in its own rhythm
LEAST_BLOCKS = 10  # a ratio's bootstrap needs 6; a few more make its interval worth reading
MOST_PASSES = 64  # how often a fast model repeats a block while a slow one runs it once
WARM_WINDOW = 10  # calls whose median must not change any more
WARM_TOLERANCE = 0.05
WARM_SHARE = 0.25  # most of a model's time that warming up may take
ROUND_WARM_S = 0.05  # of one model in a round
ROUND_WARM_CALLS = 3
MEMORY_CALLS = 32  # calls that let ONNX Runtime's arena grow to its working size


@dataclass
class Model:
    """A loaded model and its timed calls."""

    path: Path
    session: Any
    slots: tuple[Slot, ...]
    bound: int
    fixed: bool = False
    passes: int = 1
    warmup_runs: int = 0
    warm: bool = False
    typical_s: float = 0.0
    preemptions: int = 0
    blocks: list[list[float]] = field(default_factory=list)

    def feed(self, lengths: Sequence[int] | None, generator: np.random.Generator) -> Feed:
        """Inputs for one call; a fixed workload has its own size whatever the others are asked for."""
        return feed(self.slots, None if self.fixed else lengths, self.bound, generator)


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bind(request["cores"])
    memory.hold(request)
    try:
        answer = ROLES[request["role"]](request)
    except SqueezeError as error:
        answer = _told(error)
    except MemoryError:
        answer = _told(memory.failure(request))
    json.dump(answer, sys.stdout)


def _told(error: SqueezeError) -> dict[str, Any]:
    return {"error": {"code": error.exit_code, "message": error.message, "hint": error.hint}}


def start(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load the one model of the request and run it."""
    import onnxruntime

    (wanted,) = request["models"]
    baseline = peak_bytes()
    model, load_ms, first_ms = first_run(request, wanted)
    generator = np.random.default_rng(request["seed"])
    with guarded(model.path, "cannot be run"):
        for lengths in _memory_lengths(request):
            model.session.run(None, model.feed(lengths, generator))
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "bound": model.bound,
        "rss_bytes": peak_bytes(),
        "rss_baseline_bytes": baseline,
        "inputs": {spec.name: str(spec) for spec in specs(model.session)},
        "onnxruntime": onnxruntime.__version__,
        "providers": model.session.get_providers(),
        "left": sessions.left_to_cpu(model.path, request),
    }


def first_run(request: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Model, float, float]:
    """Load a model and run it once.

    When nobody knows how many ids its embedding has, smaller and smaller ids are tried, each time
    with a fresh session, so that the first inference really is the first.

    Returns:
        The model, and how long loading and the first inference took, in milliseconds.
    """
    lengths = None if request["lengths"] is None else [_median(request["lengths"])]
    return first_that_runs(partial(_load_and_run, request, wanted, lengths), wanted["bound"])


def _load_and_run(
    request: Mapping[str, Any], wanted: Mapping[str, Any], lengths: Sequence[int] | None, bound: int
) -> tuple[Model, float, float]:
    before = time.perf_counter_ns()
    model = open_model(request, wanted, bound)
    load_ms = (time.perf_counter_ns() - before) / 1e6
    values = model.feed(lengths, np.random.default_rng(request["seed"]))
    with guarded(model.path, "cannot be run", hint(specs(model.session), model.slots, values)):
        before = time.perf_counter_ns()
        model.session.run(None, values)
        return model, load_ms, (time.perf_counter_ns() - before) / 1e6


def open_model(request: Mapping[str, Any], wanted: Mapping[str, Any], bound: int) -> Model:
    """Open a session and settle its inputs."""
    path = Path(wanted["path"])
    session = sessions.open_model(path, request)
    with guarded(path, "cannot be read"):
        declared = specs(session)
    fixed = bool(wanted.get("fixed"))
    if fixed:
        return Model(path, session, slots(declared, {}, 1), bound, fixed)
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    settled = slots(declared, shapes, request["batch"], request.get("sequence"))
    return Model(path, session, settled, bound, fixed)


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Time all models of the request in turns."""
    from squeeze.targets import watch

    models = [open_model(request, wanted, int(wanted["bound"])) for wanted in request["models"]]
    generator = np.random.default_rng(request["seed"])
    deadline = time.perf_counter() + request["max_seconds"] * len(models)
    typical = None if request["lengths"] is None else [_median(request["lengths"])] * request["batch"]
    for model in models:
        with guarded(model.path, "cannot be run"):
            warm_up(model, model.feed(typical, generator), request["max_seconds"] * WARM_SHARE)
    calls = balance(models, request["min_runs"], deadline - time.perf_counter(), even=request["even"])
    before = watch.snapshot()
    widths = interleave(models, request, calls, deadline, generator)
    return {
        "machine": watch.between(before, watch.snapshot()),
        "calls": calls,
        "widths": widths,
        "stopped": not enough(models, request),
        "models": [
            {
                "warmup_runs": model.warmup_runs,
                "warm": model.warm,
                "passes": model.passes,
                "preemptions": model.preemptions,
                "samples_ms": [sample for block in model.blocks for sample in block],
                "has_length": has_length(model.slots),
            }
            for model in models
        ],
    }


def play_round(request: Mapping[str, Any]) -> dict[str, Any]:
    """Open all models in the order of the request and time them in turns for as long as a round is."""
    from squeeze.targets import watch

    opened = {place: first_run(request, request["models"][place]) for place in request["order"]}
    models = [opened[place][0] for place in sorted(opened)]
    generator = np.random.default_rng(request["seed"])
    typical = None if request["lengths"] is None else [_median(request["lengths"])] * request["batch"]
    warming = {}
    for place in request["order"]:
        with guarded(models[place].path, "cannot be run"):
            warming[place] = _warming(models[place], models[place].feed(typical, generator))
    size: turns.Sizes = request["sizes"] or turns.sizes(
        [model.typical_s for model in models], request["round_seconds"], request["least_calls"]
    )
    for model, passes in zip(models, size["passes"], strict=True):
        model.passes = passes
    before = watch.snapshot()
    gc.disable()
    widths = [
        _one_block(models, order, _block_lengths(request, size["calls"], generator), generator)
        for order in turns.orders(len(models), size["cycles"], generator)
    ]
    gc.enable()
    return {
        "machine": watch.between(before, watch.snapshot()),
        "sizes": size,
        "widths": widths,
        "models": [
            {
                "load_ms": opened[place][1],
                "first_ms": opened[place][2],
                "warming_ms": warming[place],
                "preemptions": model.preemptions,
                "blocks_ms": model.blocks,
                "has_length": has_length(model.slots),
            }
            for place, model in enumerate(models)
        ],
    }


def _warming(model: Model, values: Feed) -> list[float]:
    """Milliseconds of a few calls, the first of which bring code and weights into the caches."""
    end = time.perf_counter() + ROUND_WARM_S
    found: list[float] = []
    while len(found) < ROUND_WARM_CALLS or time.perf_counter() < end:
        found.append(_timed(model.session, values))
    model.typical_s = float(np.median(found[len(found) // 2 :])) / 1e3
    return found


def _one_block(
    models: Sequence[Model],
    order: Sequence[int],
    lengths: Sequence[list[int] | None],
    generator: np.random.Generator,
) -> list[int]:
    """One block of each model, in this order, on the same lengths; returns tokens of the calls."""
    for place in order:
        model = models[place]
        values = [model.feed(each, generator) for each in lengths]
        with guarded(model.path, "cannot be run"):
            model.blocks.append(run_block(model, values))
    return [max(each) if each else DEFAULT_LENGTH for each in lengths]


def warm_up(model: Model, values: Feed, most_seconds: float) -> None:
    """Run until two windows of calls agree, or until the time for it is over."""
    from squeeze.core.stats import steady

    end = time.perf_counter() + most_seconds
    seconds: list[float] = []
    while not model.warm and (time.perf_counter() < end or len(seconds) < 2):
        seconds.append(_timed(model.session, values) / 1e3)
        model.warm = steady(seconds, WARM_WINDOW, WARM_TOLERANCE)
    model.warmup_runs = len(seconds)
    model.typical_s = float(np.median(seconds[-WARM_WINDOW:]))


def balance(models: Sequence[Model], min_runs: int, seconds: float, *, even: bool = True) -> int:
    """Give every model about the same time in a block, unless told not to; returns the calls of a block.

    A fast model repeats the block's inputs while a slow one runs them once, so that neither
    has few samples and the block's inputs stay equal.
    """
    slowest = max(model.typical_s for model in models)
    for model in models:
        repeats = round(slowest / model.typical_s) if even else 1
        model.passes = max(1, min(MOST_PASSES, repeats))
    round_s = sum(model.typical_s * model.passes for model in models)
    affordable = int(seconds / LEAST_BLOCKS / round_s)
    return max(1, min(BLOCK_CALLS, -(-min_runs // LEAST_BLOCKS), affordable))


def interleave(
    models: Sequence[Model],
    request: Mapping[str, Any],
    calls: int,
    deadline: float,
    generator: np.random.Generator,
) -> list[list[int]]:
    """Run blocks, the models in random order within each, until all have enough or time is up.

    Returns:
        Tokens of every call of every block, the default where nobody gave lengths.
    """
    widths: list[list[int]] = []
    gc.disable()
    while not widths or (not enough(models, request) and time.perf_counter() < deadline):
        lengths = _block_lengths(request, calls, generator)
        widths.append(_one_block(models, generator.permutation(len(models)).tolist(), lengths, generator))
    gc.enable()
    return widths


def run_block(model: Model, values: Sequence[Feed]) -> list[float]:
    """Time one block, in milliseconds a call.

    The first call is not counted: it brings the model's weights back into the caches that another
    model has used.
    """
    _timed(model.session, values[-1])
    before = preemptions()
    samples = [_timed(model.session, each) for _ in range(model.passes) for each in values]
    model.preemptions += preemptions() - before
    return samples


def enough(models: Sequence[Model], request: Mapping[str, Any]) -> bool:
    """Whether every model has its runs and its seconds."""
    return all(
        sum(map(len, model.blocks)) >= request["min_runs"]
        and sum(map(sum, model.blocks)) >= request["min_seconds"] * 1e3
        for model in models
    )


def bind(cores: Sequence[int]) -> None:
    """Stay on these cores, where the system can do that."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _timed(session: Any, values: Feed) -> float:
    """Milliseconds of one call."""
    call = sessions.prepared(session, values)
    before = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - before) / 1e6


def _block_lengths(
    request: Mapping[str, Any], calls: int, generator: np.random.Generator
) -> list[list[int]] | list[None]:
    if request["lengths"] is None:
        return [None] * calls
    drawn: list[list[int]] = draw_lengths(request["lengths"], calls, request["batch"], generator).tolist()
    return drawn


def _memory_lengths(request: Mapping[str, Any]) -> list[list[int]] | list[None]:
    """Lengths for the memory calls: all there are or an even choice, the longest always among them."""
    if request["lengths"] is None:
        return [None] * 3
    distinct = np.unique(request["lengths"])
    places = np.linspace(0, len(distinct) - 1, min(MEMORY_CALLS, len(distinct))).astype(int)
    return [[int(length)] * request["batch"] for length in distinct[places]]


def _median(lengths: Sequence[int]) -> int:
    return sorted(lengths)[len(lengths) // 2]


def _end_with_parent() -> None:
    """Wait for the end of stdin, which is the end of the parent."""
    sys.stdin.read()
    os._exit(1)


ROLES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "start": start,
    "time": measure,
    "round": play_round,
    "device": sessions.device,
    **roles.ROLES,
}

if __name__ == "__main__":
    main()
