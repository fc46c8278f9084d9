"""Costs of the whole space first, then scores of what is inside: of all of it, or by evolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from squeeze.artifact import digest_json, write_json
from squeeze.distillation.config import ARCH
from squeeze.errors import GateFailed
from squeeze.progress import Progress
from squeeze.runtime import quiet, usable_cores
from squeeze.stages.search.clock import Clock
from squeeze.stages.search.cnn.judging import LATENCY, CnnJudge, judge
from squeeze.stages.search.cnn.settings import CnnResult, CnnRow, CnnSearch
from squeeze.stages.search.cnn.space import SPACES, CnnCandidate, all_of
from squeeze.stages.search.processes import share
from squeeze.stages.search.stage import TABLE
from squeeze.stages.search.study import evolve, open_storage, pareto, recorded

__all__ = ["evolve_one", "search"]

VERSION = 1
"""Raised when the same settings would give other scores."""


@dataclass(frozen=True)
class Order:
    """All that a worker needs to know.

    Attributes:
        config: the search.
        folder: where the journal of the trials lies.
        name: of the study.
        first: candidates to begin with.
        trials: finished ones at the end.
    """

    config: CnnSearch
    folder: Path
    name: str
    first: tuple[CnnCandidate, ...]
    trials: int


def search(config: CnnSearch, out: Path, progress: Progress) -> CnnResult:
    """Rank the networks of a space; writes arch.json (the chosen shape) and search.json (all of the result).

    The trials lie in the same folder, or in the storage: a search that was cut short goes on.

    Args:
        config: what is searched, and how.
        out: folder, made if it is not there.
        progress: told of each network.

    Raises:
        DataError: the images cannot be used.
        UsageError: the storage cannot be opened.
        GateFailed: no network fits the budget; the nearest miss is named.
    """
    torch.set_num_threads(max(1, usable_cores() // config.workers))
    clock = Clock()
    judged, digest = judge(config)
    space = all_of(config.space)
    inside = [candidate for candidate in space if not judged.excess(candidate)]
    if not inside:
        raise _nothing_fits(space, judged)
    clock.lap("costs")
    out.mkdir(parents=True, exist_ok=True)
    found = _explore(config, judged, inside, digest, out, progress)
    rows = _rows(judged, found)
    if not rows:
        raise GateFailed(
            f"no network of {config.space} runs within p50 {config.limits.p50:g} ms on this machine",
            hint="raise the budget on p50",
        )
    clock.lap("scores")
    result = CnnResult(
        space=config.space,
        limits=config.limits,
        score=config.score,
        semantic="extension" if judged.ground.extended else "paper",
        candidates=len(space),
        inside=len(inside),
        chosen=rows[0],
        rows=tuple(rows),
        seconds=clock.parts,
    )
    chosen = next(each for each in found if each.name == rows[0].name)
    write_json(out / ARCH, chosen.shape(judged.labels).plain())
    write_json(out / TABLE, result.plain())
    return result


def _explore(
    config: CnnSearch,
    judged: CnnJudge,
    inside: Sequence[CnnCandidate],
    digest: str,
    out: Path,
    progress: Progress,
) -> Sequence[CnnCandidate]:
    """Candidates that were looked at: all that are inside where these are few, else the evolved ones."""
    depends = config.model_copy(update={"images": Path(), "workers": 1, "storage": None})
    name = digest_json([VERSION, depends.plain(), digest])[:24]
    storage = open_storage(config.storage, out, "--storage")
    judged.remember(recorded(storage, name, CnnCandidate))
    everything = len(inside) <= config.trials
    first = inside if everything else _some(inside, config)
    order = Order(config, out, name, tuple(first), len(inside) if everything else config.trials)
    wait = share(evolve_one, order, config.workers - 1)
    with progress.task("score networks", order.trials) as advance:
        _evolve(order, judged, stream=0, advance=lambda: advance(1))
    wait()
    found = recorded(storage, name, CnnCandidate)
    judged.remember(found)
    # Without scores: outside. Not there at all: its worker was killed, and the table judges it.
    return [each for each in (inside if everything else found) if found.get(each, True)]


def _some(inside: Sequence[CnnCandidate], config: CnnSearch) -> list[CnnCandidate]:
    """A first generation inside the budget, which random draws may not find in a large space."""
    rows = np.random.default_rng(config.seed).permutation(len(inside))[: config.population]
    return [inside[row] for row in rows]


def evolve_one(order: Order, stream: int) -> None:
    """One worker beside the first: judge until the trials that all share are finished."""
    quiet()
    torch.set_num_threads(max(1, usable_cores() // order.config.workers))
    _evolve(order, judge(order.config)[0], stream)


def _evolve(order: Order, judged: CnnJudge, stream: int, advance: Callable[[], None] = lambda: None) -> None:
    evolve(
        open_storage(order.config.storage, order.folder, "--storage"),
        order.name,
        SPACES[order.config.space],
        CnnCandidate,
        judged,
        trials=order.trials,
        population=order.config.population,
        seed=order.config.seed,
        stream=stream,
        first=order.first,
        advance=advance,
    )


def _rows(judged: CnnJudge, candidates: Sequence[CnnCandidate]) -> list[CnnRow]:
    """The table of all candidates that fit, the best first."""
    found = [(each, judged(each)) for each in candidates]
    fitting = [(each, verdict.worth, verdict) for each, verdict in found if verdict.worth is not None]
    front = set(pareto([(worth, verdict.cost) for _, worth, verdict in fitting]))
    order = sorted(
        range(len(fitting)), key=lambda row: (-fitting[row][1], fitting[row][2].cost, fitting[row][0].name)
    )
    return [_row(judged, fitting[row][0], front=row in front) for row in order]


def _row(judged: CnnJudge, candidate: CnnCandidate, *, front: bool) -> CnnRow:
    figures, scores = judged.figures(candidate), judged(candidate).scores
    shape = candidate.shape(judged.labels)
    return CnnRow(
        name=candidate.name,
        depths=shape.depths,
        widths=shape.widths,
        parameters=int(figures["parameters"]),
        macs=int(figures["macs"]),
        int8_bytes=round(figures["size"] * 1e6),
        p50_ms=scores.get(LATENCY),
        scores=scores,
        front=front,
    )


def _nothing_fits(space: Sequence[CnnCandidate], judged: CnnJudge) -> GateFailed:
    nearest = min(space, key=judged.excess)
    figures = judged.figures(nearest)
    return GateFailed(
        f"no network fits the budget; the nearest is {nearest.name} with {figures['parameters']:,.0f}"
        f" parameters, {figures['macs'] / 1e6:.3g}M multiply-accumulates, {figures['size']:.3g} MB in int8",
        hint="raise the budget; resnet-cifar-wide has the smallest networks",
    )
