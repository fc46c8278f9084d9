"""Hold the measured figures against the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from squeeze.artifact import Artifact
from squeeze.budget import BudgetSection
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work

__all__ = ["STAGE", "Check", "GateConfig", "GateResult"]


class GateConfig(Frozen):
    """All that the gate depends on."""

    budget: BudgetSection


class Check(Frozen):
    """One line of the budget."""

    name: str
    value: float | None
    limit: float
    unit: str
    verdict: Literal["pass", "fail", "inconclusive"]
    note: str = ""


class GateResult(Frozen):
    """What the gate says."""

    verdict: Literal["pass", "fail", "inconclusive"]
    form: str
    checks: tuple[Check, ...]
    targets: tuple[str, ...] = ()
    """where the judged form was timed"""


def run(config: GateConfig, inputs: Mapping[str, Artifact], work: Work) -> GateResult:
    """See run.py."""
    from squeeze.stages.gate import run as implementation

    return implementation.run(config, inputs, work)


STAGE = Stage(
    name="gate",
    section="budget",
    version=3,
    takes={"teacher": "teacher", "bundle": "bundle", "measurements": "measurements"},
    gives="verdict",
    config=GateConfig,
    result=GateResult,
    run=run,
)
