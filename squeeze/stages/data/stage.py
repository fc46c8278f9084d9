"""Read, check and freeze the text before anything is spent on it."""

from __future__ import annotations

from collections.abc import Mapping

from squeeze.artifact import Artifact
from squeeze.data.config import DataSection, Source
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work
from squeeze.tasks import AnyTaskSection

__all__ = ["STAGE", "DataConfig", "DataResult", "DataSection", "Source", "SplitCount"]


class DataConfig(Frozen):
    """All that the data stage depends on."""

    seed: int
    task: AnyTaskSection
    data: DataSection


class SplitCount(Frozen):
    """What one split holds."""

    rows: int
    per_label: Mapping[str, int]
    dropped_duplicates: int = 0
    dropped_near_duplicates: int = 0
    source: str
    sha256: str


class DataResult(Frozen):
    """What the data stage reports."""

    splits: Mapping[str, SplitCount]
    warnings: tuple[str, ...] = ()


def run(config: DataConfig, inputs: Mapping[str, Artifact], work: Work) -> DataResult:
    """See run.py."""
    from squeeze.stages.data import run as implementation

    return implementation.run(config, inputs, work)


def check(config: DataConfig, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """See planned.py."""
    from squeeze.stages.data import planned

    return planned.check(config)


def sources(config: DataConfig) -> dict[str, str]:
    """Digest of every source the section names, so that a changed file is another key."""
    from squeeze.data.sources import fingerprints

    return fingerprints(config.data)


STAGE = Stage(
    name="data",
    section="data",
    version=6,
    takes={},
    gives="dataset",
    config=DataConfig,
    result=DataResult,
    run=run,
    sources=sources,
    at_plan=Check(DataConfig, check),
)
