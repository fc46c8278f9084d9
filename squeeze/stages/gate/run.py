"""Hold the chosen form's figures against the budget, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze.artifact import Artifact, write_json
from squeeze.budget import BudgetSection
from squeeze.core.metrics import Quality
from squeeze.errors import Corrupt, ProfileError
from squeeze.stage import Work
from squeeze.stages.gate.stage import Check, GateConfig, GateResult
from squeeze.targets.devices.address import same
from squeeze.targets.limits import Verdict, at_most, latency, overall, spread
from squeeze.targets.measurement import MEASUREMENTS, Estimate, Measurement, Report
from squeeze.targets.quantiles import QUANTILES
from squeeze.tasks import METRICS

__all__ = ["FILE", "judge", "run"]

FILE = "verdict.json"
SPLIT = "test"


def run(config: GateConfig, inputs: Mapping[str, Artifact], work: Work) -> GateResult:
    """Judge and write verdict.json; a budget that is not met is a result, not an error."""
    bundle = inputs["bundle"]
    forms: Mapping[str, Any] = bundle.result["forms"]
    form = _form(config.budget, forms)
    report = Report.read(inputs["measurements"].path / MEASUREMENTS)
    measured = [
        each for each in report.measurements if each.form == form and _is_judged(each, config.budget.target)
    ]
    checks = judge(
        config.budget,
        measured,
        quality=_quality(forms[form]),
        teacher=_quality(inputs["teacher"].result),
        labels=_labels(bundle.path / "labels.json"),
    )
    result = GateResult(
        verdict=overall(check.verdict for check in checks),
        form=form,
        checks=checks,
        targets=tuple(each.target for each in measured),
    )
    write_json(work.out / FILE, result.plain())
    return result


def judge(
    budget: BudgetSection,
    measurements: Sequence[Measurement],
    *,
    quality: Quality | None,
    teacher: Quality | None,
    labels: Sequence[str],
) -> tuple[Check, ...]:
    """Every line of the budget, held against its figure.

    A line whose figure is missing fails: a budget that nobody checked is not met.

    Args:
        budget: the limits.
        measurements: of the judged form, one a target, with raw samples.
        quality: of the judged form on the test split.
        teacher: the teacher's on the same split.
        labels: label names in the order of the recalls.
    """
    return (
        *_cost_checks(budget, measurements),
        *_quality_checks(budget, quality, teacher),
        *_recall_checks(budget, quality, labels),
    )


def _is_judged(measurement: Measurement, target: str | None) -> bool:
    return target is None or same(target, measurement.target)


def _form(budget: BudgetSection, forms: Mapping[str, Any]) -> str:
    """The judged form: the one named, else the last one exported."""
    form = budget.form or list(forms)[-1]
    if form not in forms:
        raise ProfileError(f"[budget].form {form!r} is not in the bundle, which holds {', '.join(forms)}")
    return form


def _cost_checks(budget: BudgetSection, measurements: Sequence[Measurement]) -> Iterator[Check]:
    names = [*(f"{name}_ms" for name in QUANTILES), "load_ms", "size_mb", "rss_mb"]
    for name in names:
        limit = getattr(budget, name, None)
        if limit is None:
            continue
        unit = "ms" if name.endswith("_ms") else "MB"
        if not measurements:
            where = f" on {budget.target}" if budget.target else ""
            yield _missing(name, limit, unit, f"this form was not measured{where}")
        for each in measurements:
            figure, verdict, note = _cost(each, name, limit, budget.confidence)
            title = f"{name} on {each.target}" if len(measurements) > 1 else name
            yield Check(name=title, value=figure.value, limit=limit, unit=unit, verdict=verdict, note=note)


def _cost(each: Measurement, name: str, limit: float, confidence: float) -> tuple[Estimate, Verdict, str]:
    """A figure of time or space, its verdict, and what must be said about it."""
    if name.removesuffix("_ms") in QUANTILES:
        return latency(each, name.removesuffix("_ms"), limit, confidence)
    if name == "load_ms":
        low, high = min(each.loads_ms), max(each.loads_ms)
        figure = spread(each.load_ms, each.loads_ms)
        note = f"{low:.3g} to {high:.3g} ms in {len(each.loads_ms)} processes"
    elif name == "size_mb":
        figure = spread(each.shipped_bytes / 1e6, [each.shipped_bytes / 1e6])
        note = "model and tokenizer"
    else:
        figure = spread(each.rss_bytes / 1e6, [each.rss_bytes / 1e6])
        note = f"of which {each.rss_baseline_bytes / 1e6:.1f} MB before the model"
    return figure, at_most(figure, limit), note


def _quality_checks(
    budget: BudgetSection, quality: Quality | None, teacher: Quality | None
) -> Iterator[Check]:
    figures = {
        **({} if quality is None else quality.scores),
        "retention": _retention(quality, teacher),
    }
    limits = {name: getattr(budget, name) for name in ("accuracy", "macro_f1", "retention", "agreement")}
    for name, limit in {**limits, **budget.scores}.items():
        if limit is not None:
            lower = name in METRICS and METRICS[name].better < 0
            yield _limited(name, figures.get(name), limit, quality, lower=lower)


def _retention(quality: Quality | None, teacher: Quality | None) -> float | None:
    """Share of the teacher's primary score that is left; None where there is nothing to share."""
    if quality is None or teacher is None or teacher.score <= 0:
        return None
    return quality.score / teacher.score


def _recall_checks(budget: BudgetSection, quality: Quality | None, labels: Sequence[str]) -> Iterator[Check]:
    for label, limit in budget.recall.items():
        name = f"recall.{label}"
        if label not in labels:
            yield _missing(name, limit, "", f"no such label; there are {', '.join(labels)}")
        else:
            recall = () if quality is None else quality.recall
            value = recall[labels.index(label)] if recall else None
            yield _limited(name, value, limit, quality)


def _limited(
    name: str, value: float | None, limit: float, quality: Quality | None, *, lower: bool = False
) -> Check:
    """A figure that must reach its limit, or (`lower`) must not exceed it."""
    if value is None or quality is None:
        return _missing(name, limit, "", f"no such figure for the {SPLIT} split")
    verdict: Verdict = "pass" if (value <= limit if lower else value >= limit) else "fail"
    note = f"on {quality.rows} rows of {SPLIT}"
    return Check(name=name, value=value, limit=limit, unit="", verdict=verdict, note=note)


def _missing(name: str, limit: float, unit: str, note: str) -> Check:
    return Check(name=name, value=None, limit=limit, unit=unit, verdict="fail", note=note)


def _quality(result: Mapping[str, Any]) -> Quality | None:
    """Quality on the test split out of a stage's result."""
    found = result.get("quality", {}).get(SPLIT)
    return None if found is None else Quality.parse(found)


def _labels(path: Path) -> list[str]:
    try:
        return [str(label) for label in json.loads(path.read_text(encoding="utf-8"))["labels"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path}: no readable labels ({error})", hint="export the bundle again") from error
