"""Who is held against whom: the parts that models have in a comparison, and what must be known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from squeeze.artifact import digest_file
from squeeze.budget import Budget
from squeeze.core.stats import Quantile
from squeeze.targets.compare import Through, against_report, in_rounds, interleaved, ratio_of
from squeeze.targets.measurement import Comparison, Measurement, Report, Rounds
from squeeze.targets.paired import Question
from squeeze.targets.quantiles import QUANTILES
from squeeze.targets.subjects import Subject

__all__ = ["Cast", "compare", "questions"]


class Named(Protocol):
    """A model before or after it was measured."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def form(self) -> str | None:
        """Which form of a bundle it is."""
        ...


@dataclass(frozen=True)
class Cast:
    """The part of each subject.

    Attributes:
        subjects: all that is measured.
        judged: places of those that are held against something.
        baseline: place of the one that they are compared with; None where that is an earlier report.
        reference: place of the reference workload.
        report: the earlier report.
        shared: whether the report measured the same reference workload.
    """

    subjects: tuple[Subject, ...]
    judged: tuple[int, ...]
    baseline: int | None
    reference: int | None
    report: Report | None
    shared: bool

    @classmethod
    def of(cls, subjects: Sequence[Subject], report: Report | None, *, has_baseline: bool) -> Cast:
        """Parts by place: the baseline comes first, the reference workload last."""
        reference = len(subjects) - 1 if subjects[-1].fixed else None
        judged = tuple(place for place in range(int(has_baseline), len(subjects)) if place != reference)
        return cls(
            subjects=tuple(subjects),
            judged=judged,
            baseline=0 if report is None else None,
            reference=reference,
            report=report,
            shared=reference is not None and _has_measured(report, subjects[reference]),
        )

    def there(self) -> Measurement | None:
        """The reference workload as the earlier report has it, where it is the same."""
        if self.report is None or not self.shared:
            return None
        return next(each for each in self.report.measurements if each.name == self.report.reference)


def questions(cast: Cast, budgets: Sequence[Budget]) -> tuple[Question, ...]:
    """What rounds must tell: on which side of each relative budget a model is, else its ratio.

    Load time, first inference, size and memory are not asked for: rounds are not what tells them.
    """
    asked = tuple(
        question for place in cast.judged for budget in budgets for question in _asked(cast, place, budget)
    )
    if asked:
        return asked
    bases = [place for place in (cast.baseline, cast.reference) if place is not None] or [cast.judged[0]]
    return tuple(Question(place, base) for place in cast.judged for base in bases if place != base)


def compare(cast: Cast, measurements: Sequence[Measurement], rounds: Rounds | None) -> tuple[Comparison, ...]:
    """All comparisons, in the order of the models."""
    models = [measurements[place] for place in cast.judged]
    if cast.report is not None:
        through = _through(cast, cast.report, measurements, rounds)
        return tuple(against_report(_counterpart(cast.report, each), each, through) for each in models)
    others = [each for each in models if each is not measurements[0]]
    if rounds is None:
        return tuple(interleaved(measurements[0], each) for each in others)
    return tuple(in_rounds(measurements[0], each, rounds.level(each.confidence)) for each in others)


def _asked(cast: Cast, place: int, budget: Budget) -> Iterator[Question]:
    figure, limit = budget.figure, budget.limit
    if figure == "speedup":
        figure, limit = "p50", 1 / limit
    elif budget.relative_to is None:
        return
    if figure not in QUANTILES:
        return
    share = QUANTILES[figure]
    if budget.relative_to == "reference" and cast.reference is not None:
        yield Question(place, cast.reference, share, limit)
    elif budget.relative_to != "reference" and cast.baseline is not None:
        if place != cast.baseline:
            yield Question(place, cast.baseline, share, limit)
    elif budget.relative_to != "reference":
        yield from _asked_through(cast, place, figure, limit)


def _asked_through(cast: Cast, place: int, figure: str, limit: float) -> Iterator[Question]:
    there = cast.there()
    if cast.report is None or cast.reference is None or there is None:
        return
    before = _counterpart(cast.report, cast.subjects[place])
    then = ratio_of(there, before, figure, cast.report.level(before.confidence))
    if then is not None:
        other = Quantile(value=then.value, low=then.low, high=then.high)
        yield Question(place, cast.reference, QUANTILES[figure], limit, other)


def _through(
    cast: Cast, report: Report, measurements: Sequence[Measurement], rounds: Rounds | None
) -> Through | None:
    there = cast.there()
    if there is None or cast.reference is None or rounds is None:
        return None
    here = measurements[cast.reference]
    return Through(there, report.level(there.confidence), here, rounds.level(here.confidence))


def _has_measured(report: Report | None, reference: Subject) -> bool:
    digest = digest_file(reference.path)
    return report is not None and any(
        each.name == report.reference and each.sha256 == digest for each in report.measurements
    )


def _counterpart(report: Report, model: Named) -> Measurement:
    """The earlier measurement of the same model by name or form, else the report's first."""
    known = [each for each in report.measurements if each.name != report.reference]
    candidates = [
        *(each for each in known if each.name == model.name),
        *(each for each in known if each.form and each.form == model.form),
        *known,
    ]
    return candidates[0]
