"""A process beside the first one that scores candidates of the same search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from squeeze.artifact import Artifact
from squeeze.progress import Silent
from squeeze.runtime import quiet
from squeeze.stage import Work
from squeeze.stages.search.search_inputs import load_inputs
from squeeze.stages.search.space import Candidate, Space
from squeeze.stages.search.stage import SearchConfig
from squeeze.stages.search.study import evolve, open_storage

__all__ = ["Order", "evolve_one"]


@dataclass(frozen=True)
class Order:
    """All that a worker needs to know.

    Attributes:
        config: the stage's settings, JSON-ready.
        inputs: the stage's inputs.
        folder: where the journal of the trials lies.
        cache: where the cost table lies.
        name: of the study.
        space: the choices.
        usual: mean and standard deviation of each score.
    """

    config: Mapping[str, object]
    inputs: Mapping[str, Artifact]
    folder: Path
    cache: Path
    name: str
    space: Space
    usual: Mapping[str, tuple[float, float]]


def evolve_one(order: Order, stream: int) -> None:
    """One worker: evolve until the trials that all share are finished."""
    quiet()
    torch.set_num_threads(1)
    config = SearchConfig.parse(dict(order.config))
    work = Work(out=order.folder, scratch=order.folder, cache=order.cache, threads=1, progress=Silent())
    judge = load_inputs(config, order.inputs, work).judge(order.space)
    judge.usual = order.usual

    storage = open_storage(config.search.storage, order.folder)
    evolve(
        storage,
        order.name,
        order.space,
        Candidate,
        judge,
        trials=config.search.trials,
        population=config.search.population,
        seed=config.seed,
        stream=stream,
    )
