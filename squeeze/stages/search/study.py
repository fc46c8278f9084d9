"""Evolution over a space: NSGA-II (Deb et al. 2002) through Optuna, worth against cost.

Every draw depends on the seed and on how many trials are finished, never on what a process did
before: a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from squeeze.errors import UsageError, masked
from squeeze.schema import Frozen
from squeeze.stages.search.stage import Choice

__all__ = ["Judged", "evolve", "finished", "open_storage", "pareto", "recorded"]

Candidate = TypeVar("Candidate", bound=Frozen)
"""One point of a space; its fields, in their order, are the dimensions."""

VIOLATION, SCORES = "violation", "scores"
SPREAD = 7919  # a prime: draws of neighbouring trials of neighbouring seeds do not meet
WORKERS_APART = 1_000_003


@dataclass(frozen=True)
class Judged:
    """What a candidate is found to be.

    Attributes:
        worth: higher is better; None: outside the budget, never scored.
        cost: lower is better, such as predicted milliseconds.
        violation: by how much the budget is missed, as a share of the limit; 0 inside.
        scores: by name, kept with the trial; empty outside the budget.
    """

    worth: float | None
    cost: float
    violation: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)


def open_storage(url: str | None, folder: Path, setting: str = "[search] storage") -> BaseStorage:
    """Where the trials of a search are kept.

    Args:
        url: of a database that several machines share; None: a journal in the folder, which workers of
            one machine share and which costs a hundredth of a database's time.
        folder: that survives a kill.
        setting: what the user calls the URL.

    Raises:
        UsageError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        return JournalStorage(JournalFileBackend(str(folder / "trials.journal")))
    try:
        return RDBStorage(url)
    except (SQLAlchemyError, ImportError) as error:  # no such database, or no driver for it
        raise UsageError(
            f"{setting}: {masked(url)} cannot be opened ({masked(str(error).splitlines()[0])})",
            hint="an Optuna URL such as sqlite:////folder/search.db or postgresql://user@host/name",
        ) from error


def evolve(
    storage: BaseStorage,
    name: str,
    space: Mapping[str, Sequence[Choice]],
    kind: type[Candidate],
    judge: Callable[[Candidate], Judged],
    *,
    trials: int,
    population: int,
    seed: int,
    stream: int = 0,
    first: Sequence[Candidate] = (),
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Propose and judge candidates until so many trials are finished, by whoever shares the storage.

    Args:
        storage: where trials are kept.
        name: of the study; one search has one name.
        space: choices by dimension.
        kind: of candidate, whose fields are the dimensions.
        judge: worth and cost of a candidate.
        trials: finished ones at the end.
        population: of a generation.
        seed: of all draws.
        stream: number of this worker: two that see the same trials must not draw alike.
        first: candidates that are judged before any is drawn.
        advance: called after each trial.
    """
    study = _study(storage, name)
    while (done := len(finished(study))) < trials:
        draw = (seed * SPREAD + done + stream * WORKERS_APART) % 2**32
        study.sampler = NSGAIISampler(population_size=population, seed=draw)
        if waiting := _left(study, first):
            study.enqueue_trial(waiting[draw % len(waiting)].plain())
        trial = study.ask()
        values = {key: trial.suggest_categorical(key, list(space[key])) for key in kind.model_fields}
        found = judge(kind.model_validate(values))
        trial.set_constraint(VIOLATION, found.violation)  # above 0 is outside
        trial.set_user_attr(SCORES, dict(found.scores))
        worst = -1e9  # outside the budget: the constraint decides, the worth is never read
        study.tell(trial, [worst if found.worth is None else found.worth, found.cost])
        advance()


def recorded(storage: BaseStorage, name: str, kind: type[Candidate]) -> dict[Candidate, Mapping[str, float]]:
    """Candidates of all finished trials, from before a kill and from other workers too, and their scores."""
    trials = finished(_study(storage, name))
    return {kind.model_validate(trial.params): trial.user_attrs[SCORES] for trial in trials}


def _left(study: optuna.Study, first: Sequence[Candidate]) -> list[Candidate]:
    """Which of these no trial has finished yet."""
    known = {frozenset(trial.params.items()) for trial in finished(study)} if first else set()
    return [candidate for candidate in first if frozenset(candidate.plain().items()) not in known]


def _study(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name=name, directions=["maximize", "minimize"], load_if_exists=True
    )


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were told; one that a kill cut short stays open and is not counted."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other one beats in both: (worth, higher) and (cost, lower).

    >>> pareto([(1.0, 5.0), (2.0, 9.0), (1.5, 9.5), (2.0, 9.0)])
    [0, 1, 3]
    """
    return [
        place
        for place, (worth, cost) in enumerate(points)
        if not any(w >= worth and c <= cost and (w > worth or c < cost) for w, c in points)
    ]
