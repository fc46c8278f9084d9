"""Compare models on the CPU of this machine in rounds, and stop as soon as the answer is known.

A round is a fresh process on the same cores that opens all models, warms each up and times them in turns;
squeeze/core/rounds.py says why, and what follows from rounds. This process sleeps meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, TypeAlias

import numpy as np

from squeeze.core.rounds import Look, Round, looks, quotient, ratio
from squeeze.core.stats import Quantile, steady
from squeeze.progress import Progress
from squeeze.targets.compare import calls_needed
from squeeze.targets.cpu import (
    CPU,
    GRACE,
    START_TIMEOUT_S,
    Settings,
    Where,
    all_starts,
    measurement,
    names,
    request_for,
    surroundings,
)
from squeeze.targets.figures import of_calls, of_starts
from squeeze.targets.machine import together
from squeeze.targets.measurement import MachineState, Measurement, Rounds
from squeeze.targets.process import ask
from squeeze.targets.subjects import Subject
from squeeze.targets.turns import LEAST_CALLS

__all__ = ["NARROW", "Question", "measure", "settled"]

NARROW = 0.01  # a ratio known to 1 % is known well
PLANNING = 6  # rounds after which it is known how many fit; the first ones find nothing in the caches
ROUND_S = 0.2  # timed calls of one model in a round
WARM_TOLERANCE = 0.05

Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A ratio that must be known.

    Attributes:
        above: place of the model among the subjects.
        below: place of the model or reference workload that it is held against.
        share: which quantile; 0.95 for p95.
        limit: the ratio must be known to lie on one side of it; None: it must be known to 1 %.
        other: what the ratio is divided by, when the baseline was measured elsewhere.
    """

    above: int
    below: int
    share: float = 0.5
    limit: float | None = None
    other: Quantile | None = None


def measure(
    subjects: Sequence[Subject],
    settings: Settings,
    progress: Progress,
    questions: Sequence[Question],
    *,
    where: Where = CPU,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[tuple[Measurement, ...], Rounds]:
    """Measure models side by side until every question is answered or ``settings.within`` is over.

    Each is loaded in ``starts`` fresh processes of its own first, for memory; then come the rounds.

    Args:
        subjects: at least two.
        settings: how; ``min_runs``, ``min_seconds`` and ``even`` do not count here.
        progress: told before it starts.
        questions: what must be known.
        where: which provider of ONNX Runtime runs them.
        clock: seconds.

    Raises:
        UsageError: more threads than usable cores, or a file that is no model.
        StageFailed: a model cannot be run.
    """
    began = clock()
    around = surroundings(settings, where)
    starts = all_starts(subjects, settings, progress, where)
    around |= {"onnxruntime": starts[0][0]["onnxruntime"]}
    bounds = [found[0]["bound"] for found in starts]
    progress.log(
        f"comparing {names(subjects)} in rounds for up to {settings.within:.0f} s; nothing is drawn meanwhile"
    )
    request = request_for("round", subjects, bounds, settings, subjects, where)
    least = max([LEAST_CALLS, *(calls_needed(each.share) for each in questions)])
    request |= {"round_seconds": ROUND_S, "least_calls": least}
    answers, rounds = _rounds(request, settings, questions, began, clock)
    measured = tuple(
        _measurement(place, subject, starts[place], answers, request, around, settings)
        for place, subject in enumerate(subjects)
    )
    return measured, rounds


def settled(question: Question, rounds: Sequence[Sequence[Round]], level: float) -> bool:
    """Whether a question is answered by the rounds of all models, at the confidence of one look."""
    found = ratio(rounds[question.above], rounds[question.below], question.share, level)
    if question.other is not None:
        found = quotient(found, question.other)
    if found.low is None or found.high is None:
        return False
    if question.limit is None:
        return math.log(found.high / found.low) <= 2 * NARROW
    return found.high <= question.limit or found.low > question.limit


def _rounds(
    request: dict[str, Any],
    settings: Settings,
    questions: Sequence[Question],
    began: float,
    clock: Callable[[], float],
) -> tuple[list[Answer], Rounds]:
    """Rounds until the first look at which all is known, the last one at the latest."""
    answers: list[Answer] = []
    planned: tuple[Look, ...] = ()
    started = clock()
    orders = _orders(len(request["models"]), settings.seed)
    while True:
        order = next(orders)
        sizes = answers[0]["sizes"] if answers else None
        asked = {**request, "order": order, "seed": [settings.seed, len(answers)], "sizes": sizes}
        answers.append({**ask(asked, max(START_TIMEOUT_S, settings.within * GRACE)), "order": order})
        now = clock()
        typical = (now - started) / len(answers)
        late = now - began + typical > settings.within
        if not planned and (late or len(answers) == PLANNING):
            most = len(answers) if late else int((settings.within - (started - began)) / typical)
            planned = looks(max(len(answers), most), settings.confidence)
        look = _due(planned, len(answers), late=late)
        if look is None:
            continue
        level = 1 - (1 - settings.confidence) * look.share
        samples = [_blocks(answers, place) for place in range(len(request["models"]))]
        known = all(settled(each, samples, level) for each in questions)
        if known or late or look is planned[-1]:
            break
    return answers, Rounds(
        count=len(answers),
        seconds=round(now - started, 3),
        within=settings.within,
        looks=tuple(each.rounds for each in planned),
        share=look.share,
        ended=_ended(questions, known=known),
    )


def _due(planned: Sequence[Look], rounds: int, *, late: bool) -> Look | None:
    """The look that is to be taken after so many rounds; when the time is over the next one is taken early.

    When that is depends on how long rounds take and not on what they say.
    """
    for look in planned:
        if look.rounds >= rounds:
            return look if late or look.rounds == rounds else None
    return None


def _ended(questions: Sequence[Question], *, known: bool) -> Literal["decided", "narrow", "time"]:
    if not known:
        return "time"
    return "narrow" if all(each.limit is None for each in questions) else "decided"


def _orders(models: int, seed: int) -> Iterator[list[int]]:
    """In which order each round opens the models: drawn at random, every second one the other way round."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(models).tolist()
        yield order
        yield order[::-1]


def _blocks(answers: Sequence[Answer], place: int) -> list[Round]:
    return [answer["models"][place]["blocks_ms"] for answer in answers]


def _measurement(
    place: int,
    subject: Subject,
    starts: Sequence[Answer],
    answers: Sequence[Answer],
    request: Mapping[str, Any],
    around: Mapping[str, Any],
    settings: Settings,
) -> Measurement:
    """Put one model's rounds together."""
    own = [answer["models"][place] for answer in answers]
    timing = _timing(place, answers, 1 if subject.fixed else settings.batch, settings.confidence)
    warming = {
        "warm": median(_steady(each["warming_ms"]) for each in own) > 0,
        "warmup_runs": sum(len(each["warming_ms"]) for each in own),
    }
    preempted = sum(each["preemptions"] for each in own)
    state = together([MachineState.parse(answer["machine"]) for answer in answers]).plain()
    told = {**warming, "preemptions": preempted, "stopped": False, "samples_ms": timing["samples_ms"]}
    told |= {"machine": state, "left": starts[0]["left"]}
    figures = {**timing, **_starts(place, starts, answers), **warming, "preemptions": preempted}
    return measurement(subject, starts[0]["inputs"], figures, told, request, around)


def _timing(place: int, answers: Sequence[Answer], batch: int, confidence: float) -> dict[str, Any]:
    """Fields that come from timed calls; the round is the unit of every interval."""
    passes = int(answers[0]["sizes"]["passes"][place])
    return {
        **of_calls(
            [[ms for block in blocks for ms in block] for blocks in _blocks(answers, place)],
            [[width for each in answer["widths"] for width in each * passes] for answer in answers],
            batch=batch,
            confidence=confidence,
            has_length=answers[0]["models"][place]["has_length"],
        ),
        "passes": passes,
        "block_widths": tuple(tuple(each) for answer in answers for each in answer["widths"]),
        "round_blocks": tuple(len(answer["widths"]) for answer in answers),
    }


def _starts(place: int, starts: Sequence[Answer], answers: Sequence[Answer]) -> dict[str, Any]:
    """Fields that come from fresh processes: those of this model alone, and rounds that opened it first.

    A model that is opened later finds the libraries' code and memory in place.
    """
    fresh = [answer["models"][place] for answer in answers if answer["order"][0] == place]
    return of_starts(
        *([each[key] for each in (*starts, *fresh)] for key in ("load_ms", "first_ms")),
        *([each[key] for each in starts] for key in ("rss_bytes", "rss_baseline_bytes")),
    )


def _steady(warming_ms: Sequence[float]) -> bool:
    """Whether the second half of a warm-up was as fast as the quarter before its end."""
    return steady(warming_ms, max(1, len(warming_ms) // 4), WARM_TOLERANCE)
