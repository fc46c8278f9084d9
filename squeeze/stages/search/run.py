"""Costs first, then scores, then evolution, then a short distillation of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch

from squeeze.artifact import Artifact, digest_json, write_json
from squeeze.distillation.config import ARCH
from squeeze.errors import GateFailed, masked
from squeeze.stage import Work
from squeeze.stages.search import finalists as last
from squeeze.stages.search.clock import Clock
from squeeze.stages.search.judging import Cost, Judge
from squeeze.stages.search.processes import share
from squeeze.stages.search.search_inputs import SearchInputs, load_inputs
from squeeze.stages.search.space import Candidate, Space, fitting, sample, settings, size, space_of
from squeeze.stages.search.stage import STAGE, TABLE, Finalist, Row, SearchConfig, SearchResult
from squeeze.stages.search.study import evolve, open_storage, pareto, recorded
from squeeze.stages.search.workers import Order, evolve_one

__all__ = ["run"]

TRIES = 50  # random draws a member of the first generation before a budget counts as out of reach


def run(config: SearchConfig, artifacts: Mapping[str, Artifact], work: Work) -> SearchResult:
    """Choose the student's shape; writes arch.json (a `[student]` section) and search.json (the table).

    Raises:
        ProfileError: the space has nothing that can be made of this teacher.
        GateFailed: no candidate fits the budget; the nearest miss is named.
    """
    torch.set_num_threads(work.threads)
    clock = Clock()
    inputs = load_inputs(config, artifacts, work)
    carved = config.student.init == "carve"
    space = fitting(space_of(config.search), inputs.teacher.shape, carved=carved)
    judge = inputs.judge(space)
    clock.lap("costs")
    found = _explore(config, space, judge, artifacts, work)
    clock.lap("scores")
    rows = _rows(config, inputs, judge, found)
    search, train = config.search, partial(_distilled, config, artifacts, work)
    tried = last.bisect([row for row in rows if row.front], search.finalists, search.tolerance, train)
    clock.lap("finalists")
    winner = last.best(tried, search.tolerance)
    rows = _fully_scored(rows, {each.name: found[each.name] for each in tried}, judge)
    clock.lap("other scores")
    chosen = next(row for row in rows if row.name == winner.name)
    write_json(work.out / ARCH, chosen.student.plain())
    write_json(
        work.out / TABLE, {"rows": [row.plain() for row in rows], "finalists": [f.plain() for f in tried]}
    )
    return SearchResult(
        space=config.search.space,
        candidates=size(space),
        proposed=config.search.trials,
        scored=len(rows),
        outside=len(found) - len(rows),
        chosen=chosen,
        front=tuple(row for row in rows if row.front),
        finalists=tuple(tried),
        seconds=clock.parts,
    )


def _distilled(config: SearchConfig, artifacts: Mapping[str, Artifact], work: Work, row: Row) -> Finalist:
    work.progress.log(f"search: short distillation of {row.name}")
    return last.distilled(config, row, artifacts, work)


def _explore(
    config: SearchConfig, space: Space, judge: Judge, artifacts: Mapping[str, Artifact], work: Work
) -> dict[str, Candidate]:
    """Standardise on random candidates, then evolve; every candidate that was looked at, by name."""
    search = config.search
    choices = {key: list(values) for key, values in space.items()}
    settings = config.plain()
    settings["search"]["storage"] = search.storage and masked(search.storage)
    name = digest_json([STAGE.version, settings, choices])[:24]  # of a study that others may share
    storage = open_storage(search.storage, work.scratch)
    _remember(judge, recorded(storage, name, Candidate))
    first = _first_generation(config, space, judge)
    judge.standardise(first)
    order = Order(config.plain(), artifacts, work.scratch, work.cache, name, space, judge.usual)
    wait = share(evolve_one, order, search.workers - 1)
    with work.progress.task("score candidates", search.trials) as advance:
        evolve(
            storage,
            name,
            space,
            Candidate,
            judge,
            trials=search.trials,
            population=search.population,
            seed=config.seed,
            advance=lambda: advance(1),
        )
    wait()
    found = recorded(storage, name, Candidate)
    _remember(judge, found)
    return {candidate.name: candidate for candidate in (*first, *found)}


def _remember(judge: Judge, found: Mapping[Candidate, Mapping[str, float]]) -> None:
    judge.remember({candidate.name: scores for candidate, scores in found.items() if scores})


def _first_generation(config: SearchConfig, space: Space, judge: Judge) -> list[Candidate]:
    """Random candidates inside the budget, on which scores are standardised.

    Raises:
        GateFailed: none was found.
    """
    rng = np.random.default_rng(config.seed)
    inside: dict[str, Candidate] = {}
    nearest: tuple[float, Candidate | None] = (float("inf"), None)
    for _ in range(config.search.population * TRIES):
        candidate = sample(space, rng)
        violation = judge.cost(candidate).violation(judge.limits)
        if violation == 0:
            inside[candidate.name] = candidate
        nearest = min(nearest, (violation, candidate), key=lambda pair: pair[0])
        if len(inside) >= config.search.population:
            break
    if not inside and nearest[1] is not None:
        raise GateFailed(
            f"[search] space {config.search.space}: no student fits the budget;"
            f" the nearest is {nearest[1].name} with {_figures(judge.cost(nearest[1]))}",
            hint="raise [budget] p95_ms, p50_ms or size_mb, or give the space smaller choices",
        )
    return list(inside.values())


def _figures(cost: Cost) -> str:
    return f"p50 {cost.p50_ms:.3g} ms, p95 {cost.p95_ms:.3g} ms (predicted), {cost.size_bytes / 1e6:.3g} MB"


def _rows(
    config: SearchConfig, inputs: SearchInputs, judge: Judge, seen: Mapping[str, Candidate]
) -> list[Row]:
    """The table of all candidates inside the budget, the most worthy first."""
    inside = [c for c in seen.values() if judge.cost(c).violation(judge.limits) == 0]
    points = [(judge.worth(candidate), judge.cost(candidate).p50_ms) for candidate in inside]
    front = set(pareto(points))
    rows = [
        _row(config, inputs, judge, candidate, front=place in front) for place, candidate in enumerate(inside)
    ]
    return sorted(rows, key=lambda row: (-row.worth, row.p50_ms, row.name))


def _fully_scored(rows: Sequence[Row], finalists: Mapping[str, Candidate], judge: Judge) -> list[Row]:
    """The table, in which those that were trained have all scores beside their primary score."""
    return [
        row.model_copy(update={"scores": judge.every(finalists[row.name])}) if row.name in finalists else row
        for row in rows
    ]


def _row(
    config: SearchConfig, inputs: SearchInputs, judge: Judge, candidate: Candidate, *, front: bool
) -> Row:
    cost = judge.cost(candidate)
    return Row(
        name=candidate.name,
        student=settings(candidate, config.student, inputs.teacher.shape.hidden),
        p50_ms=cost.p50_ms,
        p95_ms=cost.p95_ms,
        size_bytes=cost.size_bytes,
        parameters=cost.parameters,
        scores=judge.scores(candidate),
        worth=judge.worth(candidate),
        front=front,
    )
