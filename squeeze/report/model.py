"""The report of a run: plain figures with their units in their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from squeeze.core.metrics import Quality
from squeeze.schema import Document, Frozen
from squeeze.stages.bench.stage import TeacherTime
from squeeze.stages.gate.stage import GateResult
from squeeze.stages.prune.stage import PruneResult
from squeeze.stages.quantize.stage import QuantizeResult
from squeeze.stages.search.stage import SearchResult

__all__ = ["VERSION", "ModelRow", "RunReport"]

VERSION: Literal[2] = 2


class ModelRow(Frozen):
    """One model of the chain, from the teacher to the smallest file; what was not measured is None."""

    name: str
    """`teacher`, `student (torch)`, or the exported form such as `int8-dynamic`"""
    quality: Mapping[str, Quality] = {}
    """by split: validation, test and the further tests"""
    retention: float | None = None
    """share of the teacher's primary score on the test split; 1.0 is all of it"""
    embedding_parameters: int | None = None
    other_parameters: int | None = None
    size_bytes: int | None = None
    """what is shipped: weights, and the tokenizer for exported files"""
    p50_ms: float | None = None
    p95_ms: float | None = None


class RunReport(Document):
    """The JSON document of `squeeze report`."""

    called: ClassVar[str] = "run report"
    made_by: ClassVar[str] = "squeeze report RUN --json > report.json"

    kind: Literal["run-report"] = "run-report"
    version: Literal[2] = VERSION
    name: str
    run: str = ""
    """which run it is, in one line; empty while it is being made"""
    problem_type: str
    """of the task, as in `[task]`"""
    labels: tuple[str, ...]
    """names of the outputs"""
    splits: tuple[str, ...]
    """splits with figures, `test` first"""
    rows: tuple[ModelRow, ...]
    search: SearchResult | None = None
    """what the student was chosen from"""
    prune: PruneResult | None = None
    """what was cut, and what recovery gave back"""
    quantize: QuantizeResult | None = None
    """what rounding took, and what training gave back"""
    teacher_time: TeacherTime | None = None
    """how long the teacher takes beside the exported files"""
    gate: GateResult | None = None
    warnings: tuple[str, ...] = ()
    """what the stages found that is no reason to stop"""
    digests: Mapping[str, str]
    """sha256 of every artefact by kind"""
