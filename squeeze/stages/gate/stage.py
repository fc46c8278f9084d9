"""Hold the measured figures against the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from squeeze.artifact import Artifact
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work

__all__ = ["STAGE", "BudgetSection", "Check", "GateConfig", "GateResult"]


class BudgetSection(Frozen):
    """The `[budget]` section: what the artefact must keep; what is left out is not judged."""

    form: str | None = None
    """which exported form is judged; the last one of `[export] forms` by default"""
    p50_ms: float | None = Field(default=None, gt=0)
    """median latency, milliseconds"""
    p95_ms: float | None = Field(default=None, gt=0)
    """95th percentile of latency, milliseconds"""
    p99_ms: float | None = Field(default=None, gt=0)
    """99th percentile of latency, milliseconds"""
    load_ms: float | None = Field(default=None, gt=0)
    """time to open the model, milliseconds"""
    size_mb: float | None = Field(default=None, gt=0)
    """model file and tokenizer.json together, in units of 1,000,000 bytes"""
    rss_mb: float | None = Field(default=None, gt=0)
    """peak memory of the measuring process, in units of 1,000,000 bytes"""
    accuracy: float | None = Field(default=None, ge=0, le=1)
    """least accuracy on the test split, 0..1"""
    macro_f1: float | None = Field(default=None, ge=0, le=1)
    """least macro-F1 on the test split, 0..1"""
    retention: float | None = Field(default=None, ge=0, le=2)
    """least share of the teacher's macro-F1 on the test split"""
    agreement: float | None = Field(default=None, ge=0, le=1)
    """least share of test texts with the teacher's label"""
    recall: Mapping[str, float] = Field(default_factory=dict)
    """least recall of single labels on the test split, 0..1"""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """confidence of the latency intervals; a limit inside its interval is inconclusive"""


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


def run(config: GateConfig, inputs: Mapping[str, Artifact], work: Work) -> GateResult:
    """See run.py."""
    from squeeze.stages.gate import run as implementation

    return implementation.run(config, inputs, work)


STAGE = Stage(
    name="gate",
    section="budget",
    version=1,
    takes={"teacher": "teacher", "bundle": "bundle", "measurements": "measurements"},
    gives="verdict",
    config=GateConfig,
    result=GateResult,
    run=run,
)
