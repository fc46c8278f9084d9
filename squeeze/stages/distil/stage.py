"""Carve a student out of the teacher and let it learn from the teacher."""

from __future__ import annotations

from collections.abc import Mapping

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.distillation.config import (
    CacheReport,
    DistilConfig,
    PhaseReport,
    PoolReport,
    StudentSections,
    VocabularyReport,
)
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work

__all__ = ["STAGE", "DistilResult"]


class DistilResult(Frozen):
    """What the distil stage reports."""

    parameters: int
    embedding_parameters: int
    size_bytes: int
    embedding_variance_kept: float
    vocabulary: VocabularyReport
    pool: PoolReport
    cache: CacheReport
    phases: tuple[PhaseReport, ...]
    quality: Mapping[str, Quality]
    transformers_folder: bool
    """whether the student is also saved for AutoModelForSequenceClassification"""
    seconds: float


def run(config: DistilConfig, inputs: Mapping[str, Artifact], work: Work) -> DistilResult:
    """See run.py."""
    from squeeze.stages.distil import run as implementation

    return implementation.run(config, inputs, work)


def check(config: StudentSections, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """Hold shape and phases against the teacher's config.json and headers."""
    from squeeze.distillation.planning import check_distil

    return check_distil(config)


def sources(config: DistilConfig) -> dict[str, str]:
    """Digest of an earlier student that the section names."""
    if config.student.path is None:
        return {}
    from squeeze.models.hub import fingerprint

    return {config.student.path: fingerprint(config.student.path)}


STAGE = Stage(
    name="distil",
    section="distil",
    version=5,
    takes={"dataset": "dataset", "teacher": "teacher"},
    gives="encoder",
    config=DistilConfig,
    result=DistilResult,
    run=run,
    libraries=("torch", "transformers", "tokenizers", "numpy"),
    sources=sources,
    may_take={"arch": "arch"},
    at_plan=Check(StudentSections, check),
)
