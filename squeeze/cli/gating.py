"""Find the verdict on a run folder, the report of a run, or a bench report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.bench import BenchReport, Judgement, judge, parse_budget
from squeeze.errors import Corrupt, UsageError, visible
from squeeze.pipeline import open_run
from squeeze.report import RunReport, collect
from squeeze.report.coverage import coverage
from squeeze.report.render import checks_text
from squeeze.targets.limits import overall

if TYPE_CHECKING:
    from squeeze.stages.gate.stage import GateResult

__all__ = ["find_verdict"]


def find_verdict(path: Path, budgets: Sequence[str]) -> tuple[GateResult | Judgement, list[str]]:
    """The verdict and its lines for people.

    Args:
        path: a run folder or a report (.json).
        budgets: limits for a bench report, such as `p95=5ms`.

    Raises:
        UsageError: nothing there was judged, or budgets do not fit what is given.
        Corrupt: the run or the report was changed, or an older version wrote it.
    """
    if path.is_file() and _kind(path) == "bench-report":
        if not budgets:
            raise UsageError(f"{path}: a bench report has no budget of its own", hint="give --budget p95=5ms")
        judged = judge(BenchReport.read(path), [parse_budget(text) for text in budgets])
        return judged, [checks_text(judged.checks), f"verdict: {judged.verdict}"]
    if budgets:
        hint = "leave --budget out, or give the report of squeeze bench --json"
        raise UsageError(f"{path}: a run is judged by the [budget] of its profile", hint=hint)
    is_document = path.is_file()
    report = (
        RunReport.read(path) if is_document else collect(path.absolute().name, open_run(path, judged=True))
    )
    if report.gate is None:
        hint = "the profile needs a [budget], and squeeze run must have come to its end"
        raise UsageError(f"{path}: nothing was judged here", hint=hint)
    if is_document:
        _require_consistent(path, report.gate)
    return report.gate, [
        checks_text(report.gate.checks),
        f"verdict on {report.gate.form}: {report.gate.verdict}",
        *map(visible, coverage(report)),
    ]


def _require_consistent(path: Path, gate: GateResult) -> None:
    """Refuse a report, which has no digest, whose verdict does not follow from its checks."""
    expected = overall(check.verdict for check in gate.checks)
    if gate.verdict != expected:
        message = f"{path}: says {gate.verdict}, and its checks say {expected}"
        raise Corrupt(message, hint="make the report again, or judge the folder of the run")


def _kind(path: Path) -> str:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not JSON ({error})", hint="give a run folder or a report made with --json"
        ) from error
    return str(document.get("kind")) if isinstance(document, dict) else ""
