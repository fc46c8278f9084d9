"""Hold the measured models of a bench report against budgets."""

from __future__ import annotations

from collections.abc import Sequence

from squeeze.budget import AT_LEAST, Budget
from squeeze.errors import UsageError
from squeeze.schema import Frozen
from squeeze.stages.gate.stage import Check
from squeeze.targets.compare import calls_needed, ratio_of
from squeeze.targets.limits import (
    Verdict,
    at_least,
    at_most,
    doubted,
    latency,
    overall,
    spread,
    throughput,
)
from squeeze.targets.machine import Disturbance, one_sided, reasons
from squeeze.targets.measurement import Comparison, Estimate, Measurement, Report
from squeeze.targets.quantiles import QUANTILES

__all__ = ["Judgement", "judge"]


class Judgement(Frozen):
    """All checks and the verdict over them."""

    verdict: Verdict
    checks: tuple[Check, ...]


def judge(report: Report, budgets: Sequence[Budget], confidence: float | None = None) -> Judgement:
    """Hold every measured model but the baseline and the reference workload against the budgets.

    Latency, throughput and ratios are judged by their intervals, so a limit inside one is inconclusive.
    Load time and first inference are judged by the range of their repeats, size and memory by their
    value. 1 - confidence is the chance of a false alarm: of a model that is exactly at a limit being
    judged at all, half of it as a failure and half as a pass, for each budget on its own.

    Args:
        report: with raw samples.
        budgets: limits; none at all is inconclusive, because nothing was judged.
        confidence: of the intervals; the report's own by default.

    Raises:
        UsageError: a relative budget, and the report has nothing that it is relative to.
    """
    _answerable(report, budgets)
    judged = [each for each in report.measurements if each.name not in (report.baseline, report.reference)]
    compared_with = next((each.baseline for each in report.comparisons if each.interleaved), None)
    checks = tuple(
        _check(report, each, budget, confidence or each.confidence, several=len(judged) > 1)
        for each in judged
        for budget in budgets
        if not (_of_comparison(budget) and each.name == compared_with)  # what others are compared with
    )
    return Judgement(verdict=overall(check.verdict for check in checks), checks=checks)


def _of_comparison(budget: Budget) -> bool:
    return budget.figure == "speedup" or budget.relative_to == "baseline"


def _answerable(report: Report, budgets: Sequence[Budget]) -> None:
    for budget in budgets:
        told = f"budget {budget.figure} of {budget.limit:g} {budget.unit}"
        if budget.relative_to == "baseline" and not report.comparisons:
            raise UsageError(f"{told}: nothing was compared", hint="measure with --baseline MODEL")
        if budget.relative_to == "reference" and report.reference is None:
            raise UsageError(
                f"{told}: the reference workload was not measured", hint="measure with --reference"
            )


def _check(report: Report, model: Measurement, budget: Budget, confidence: float, *, several: bool) -> Check:
    figure, verdict, note = _verdict(report, model, budget, confidence)
    return Check(
        name=f"{model.name} {budget.figure}" if several else budget.figure,
        value=None if figure is None else figure.value,
        limit=budget.limit,
        unit=budget.unit,
        verdict=verdict,
        note=note,
    )


def _verdict(
    report: Report, model: Measurement, budget: Budget, confidence: float
) -> tuple[Estimate | None, Verdict, str]:
    """A figure in the unit of its budget, its verdict, and what must be said about it."""
    name, limit = budget.figure, budget.limit
    if budget.relative_to == "reference":
        return _in_reference_units(report, model, budget, confidence)
    if _of_comparison(budget):
        return _against_baseline(report, model, budget, confidence)
    if name in QUANTILES:
        return latency(model, name, limit, confidence)
    if name == "throughput":
        return throughput(model, limit, confidence)
    figure, note = _cost(model, name)
    return figure, at_most(figure, limit), note


def _cost(model: Measurement, name: str) -> tuple[Estimate, str]:
    """Load time, first inference, size or memory."""
    if name in ("size", "rss"):
        value = (model.shipped_bytes if name == "size" else model.rss_bytes) / 1e6
        return spread(value, [value]), ""
    value, repeats = (model.load_ms, model.loads_ms) if name == "load" else (model.first_ms, model.firsts_ms)
    note = f"{min(repeats):.3g} to {max(repeats):.3g} ms in {len(repeats)} processes"
    return spread(value, repeats), note


def _in_reference_units(
    report: Report, model: Measurement, budget: Budget, confidence: float
) -> tuple[Estimate | None, Verdict, str]:
    unit = next(each for each in report.measurements if each.name == report.reference)
    figure = ratio_of(unit, model, budget.figure, report.level(confidence))
    pair = (one_sided(unit, budget.figure), one_sided(model, budget.figure))
    return _ratio_verdict(
        report, budget, figure, (unit.name, model.name), pair, _doubts(budget, unit, model), confidence
    )


def _against_baseline(
    report: Report, model: Measurement, budget: Budget, confidence: float
) -> tuple[Estimate | None, Verdict, str]:
    found = next((each for each in report.comparisons if each.name == model.name), None)
    if found is None:
        return None, "fail", "nothing to compare with: give a baseline"
    if found.other_machine and not found.through_reference and budget.figure not in ("size", "rss"):
        told = (
            f"{found.baseline} was measured on another machine and without this reference workload: "
            "make its report again there with squeeze bench MODEL --reference --json"
        )
        return None, "inconclusive", told
    baseline = next((each for each in report.measurements if each.name == found.baseline), None)
    figure = _compared(report, found, baseline if found.interleaved else None, model, budget, confidence)
    name = budget.figure if budget.figure in QUANTILES else "p50"
    pair = (_before(found, baseline, name), one_sided(model, name))
    if budget.figure in ("size", "rss"):  # which no other program changes
        pair = (None, None)
    doubts = _doubts(budget, *(() if baseline is None else (baseline,)), model)
    return _ratio_verdict(report, budget, figure, (found.baseline, model.name), pair, doubts, confidence)


def _before(found: Comparison, baseline: Measurement | None, name: str) -> Disturbance | None:
    """What other programs may have done to the baseline; of an earlier report only whether is known."""
    own = None if baseline is None else one_sided(baseline, name)
    stored = found.baseline_disturbed and (baseline is None or name == "p50")
    if own is not None or not stored:
        return own
    text = f"other programs took the core from {found.baseline}"
    return Disturbance(kind="preempted", text=text, hint="measure the baseline again", slows=False)


def _doubts(budget: Budget, *models: Measurement) -> list[Disturbance]:
    """What does not cancel in a ratio of times; sizes are what they are."""
    timed = budget.figure in QUANTILES or budget.figure == "speedup"
    return [each for model in models for each in reasons(model)] if timed else []


def _compared(
    report: Report,
    found: Comparison,
    baseline: Measurement | None,
    model: Measurement,
    budget: Budget,
    confidence: float,
) -> Estimate | None:
    """A ratio, from raw samples where this report has those of both sides; of an earlier report as it was."""
    if budget.figure == "speedup":
        if report.rounds is None or baseline is None:
            return Estimate(value=found.speedup, low=found.low, high=found.high)
        ratio = ratio_of(baseline, model, "p50", report.level(confidence))
        return None if ratio is None else _inverse(ratio)
    if baseline is None or (report.rounds is None and budget.figure in found.ratios):
        return found.ratios.get(budget.figure)
    return ratio_of(baseline, model, budget.figure, report.level(confidence))


def _inverse(figure: Estimate) -> Estimate:
    low, high = (None if end is None else 1 / end for end in (figure.high, figure.low))
    return Estimate(value=1 / figure.value, low=low, high=high)


def _ratio_verdict(
    report: Report,
    budget: Budget,
    figure: Estimate | None,
    names: tuple[str, str],
    sides: tuple[Disturbance | None, Disturbance | None],
    found: Sequence[Disturbance],
    confidence: float,
) -> tuple[Estimate | None, Verdict, str]:
    """Judge a ratio; other programs may have made it when they disturbed one side and not the other.

    A verdict stands that holds for all they may have done to that side.

    Turns are taken in random order, so what is as slow as the other side meets other programs as often.
    But they cut long calls and leave short ones whole, and they may come between two reports.
    """
    against = f"against {names[0]}: "
    if figure is None:
        calls = calls_needed(QUANTILES[budget.figure]) if budget.figure in QUANTILES else 0
        few = (
            f"a round has fewer than the {calls} calls that {budget.figure} needs: give this budget to bench"
        )
        return None, "inconclusive", against + few
    if figure.low is None or figure.high is None:
        return figure, "inconclusive", against + _too_few(report)
    holds = at_least if budget.figure in AT_LEAST else at_most
    verdict, doubt = doubted(figure, budget.limit, holds, found)
    note = f"{against}interval {figure.low:.4g} to {figure.high:.4g} {budget.unit} at {confidence:.0%}"
    if doubt:
        return figure, verdict, f"{note}; {doubt}"
    if verdict == "inconclusive":
        return figure, verdict, note + _went_on(report)
    suspect = 1 if verdict == "fail" else 0  # the disturbed side seems slower than it is
    slowed, other = sides[suspect], sides[1 - suspect]
    if slowed is not None and other is None:
        verdict, doubt = doubted(figure, budget.limit, holds, [slowed])
    return figure, verdict, f"{note}; {doubt}" if doubt else note


def _too_few(report: Report) -> str:
    if report.rounds is None:
        return "too few blocks for an interval: raise min_runs"
    rounds = report.rounds
    return f"{rounds.count} rounds in {rounds.seconds:.0f} s are too few for an interval: raise --within"


def _went_on(report: Report) -> str:
    rounds = report.rounds
    if rounds is None:
        return ""
    told = f" after {rounds.count} rounds in {rounds.seconds:.0f} s"
    return told + (": raise --within" if rounds.ended == "time" else ": measure with this budget")
