"""Distil the best candidates for a short time and choose among them on the validation text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from squeeze.artifact import Artifact, write_json
from squeeze.distillation.config import AugmentSection, Phase
from squeeze.distillation.initialize import initialize
from squeeze.distillation.inputs import TrainingPlan, load_inputs, train
from squeeze.errors import ProfileError
from squeeze.stage import Work
from squeeze.stages.search.stage import Finalist, Row, SearchConfig
from squeeze.tasks import task_of

__all__ = ["best", "bisect", "distilled", "trial_phase"]


def bisect(
    front: Sequence[Row], count: int, tolerance: float, train: Callable[[Row], Finalist]
) -> list[Finalist]:
    """Train the most worthy row of a front, then look for the fastest one that is as good, by halves.

    Along a front worth rises with latency. So one that is too bad speaks against all faster ones, and
    each training halves what is left of the front.

    Args:
        front: rows of which none is slower and less worthy than another.
        count: most trainings.
        tolerance: primary score that a row may lie below the best one trained and still be as good.
        train: gives the primary score of a row on validation.

    Returns:
        What was trained, in that order.
    """
    order = sorted(front, key=lambda row: (row.worth, -row.p50_ms, row.name))
    bad, good = -1, len(order) - 1
    tried = [train(order[good])]
    while len(tried) < count and good - bad > 1:
        middle = (bad + good) // 2
        tried.append(train(order[middle]))
        if tried[-1] in _good(tried, tolerance):
            good = middle
        else:
            bad = middle
    return tried


def distilled(config: SearchConfig, row: Row, artifacts: Mapping[str, Artifact], work: Work) -> Finalist:
    """Train one candidate for `[search] epochs` on `[search] rows` texts.

    What is finished is kept in the scratch folder, so that a kill costs one candidate at most.
    """
    folder = work.scratch / f"finalist-{row.name}"
    known = folder / "result.json"
    if known.is_file():
        return Finalist.parse(json.loads(known.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    found = _train(config, row, artifacts, replace(work, scratch=folder))
    write_json(known, found.plain())
    return found


def _train(config: SearchConfig, row: Row, artifacts: Mapping[str, Artifact], work: Work) -> Finalist:
    started = time.monotonic()
    training = TrainingPlan(
        task=task_of(config.task),
        seed=config.seed,
        phases=(trial_phase(config.distil.phases, config.search.epochs),),
        augment=AugmentSection(),
        rows=config.search.rows,
    )
    inputs = load_inputs(artifacts, training, row.student, work.scratch)
    student = initialize(inputs, config.distil.importance_batches, work.scratch)
    _, (report,) = train(student, inputs, work)
    return Finalist(
        name=row.name,
        score=report.history[report.best_epoch - 1]["score"],  # of the epoch whose weights were kept
        p95_ms=row.p95_ms,
        size_bytes=row.size_bytes,
        seconds=round(time.monotonic() - started, 3),
    )


def trial_phase(phases: Sequence[Phase], epochs: int) -> Phase:
    """How a finalist learns: as in the first phase that trains the classification head.

    Finalists are compared by their answers. A phase that compares hidden states or attention alone
    leaves the head as it was, so its answers say nothing about the candidate.

    Raises:
        ProfileError: no phase trains the head.
    """
    for phase in phases:
        if phase.trains_head:
            return phase.model_copy(update={"name": "trial", "epochs": epochs, "patience": None})
    message = "[distil] phases: none trains the head, and finalists of [search] are compared by their answers"
    raise ProfileError(message, hint="add a loss on answers, such as logit_mse or cross_entropy")


def best(finalists: Sequence[Finalist], tolerance: float) -> Finalist:
    """The fastest of those whose score is at most `tolerance` below the best one's."""
    return min(_good(finalists, tolerance), key=lambda each: (each.p95_ms, each.size_bytes, each.name))


def _good(finalists: Sequence[Finalist], tolerance: float) -> list[Finalist]:
    top = max(each.score for each in finalists)
    return [each for each in finalists if each.score >= top - tolerance]
