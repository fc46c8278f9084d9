"""The models of a run in the order they were made, each with the one it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from squeeze.artifact import Artifact
from squeeze.report.collecting import TEACHER, exported_rows, parsed, torch_row
from squeeze.report.model import ModelRow
from squeeze.stages.bench.stage import BenchResult
from squeeze.stages.distil.stage import DistilResult
from squeeze.stages.export.stage import ExportResult
from squeeze.stages.prune.stage import PruneResult
from squeeze.stages.quantize.stage import QuantizeResult
from squeeze.stages.teacher.stage import TeacherResult

__all__ = ["Step", "steps"]

FLOAT = "fp32"


@dataclass(frozen=True)
class Step:
    """One model.

    Attributes:
        row: its figures.
        before: the model that it was made from, or None.
    """

    row: ModelRow
    before: ModelRow | None


def steps(stages: Mapping[str, Artifact]) -> tuple[Step, ...]:
    """All models of a run.

    A form of the export is held against the float file it was made from, where the bundle has that; one that
    `[quantize]` trained against the rounded model.

    Args:
        stages: artefacts by stage.
    """
    torch = list(_in_torch(stages))
    made = [Step(row, torch[place - 1] if place else None) for place, row in enumerate(torch)]
    return (*made, *_exported(stages, torch))


def _in_torch(stages: Mapping[str, Artifact]) -> Iterator[ModelRow]:
    """Before the export."""
    teacher = parsed(stages.get("teacher"), TeacherResult)
    if teacher is not None:
        yield torch_row(TEACHER, teacher)
    student = parsed(stages.get("distil"), DistilResult)
    if student is not None:
        yield torch_row("student", student)
    pruned = parsed(stages.get("prune"), PruneResult)
    if pruned is not None:
        yield torch_row("pruned: cut", pruned.cut)
        yield torch_row("pruned: recovered", pruned)
    rounded = parsed(stages.get("quantize"), QuantizeResult)
    if rounded is not None:
        yield from _rounded(rounded)


def _rounded(found: QuantizeResult) -> Iterator[ModelRow]:
    """Without a size: weights are stored in float here."""
    row = torch_row(f"{found.scheme}: rounded", found)
    row = row.model_copy(update={"quality": found.rounded, "size_bytes": None})
    yield row
    if found.trained:
        yield row.model_copy(update={"name": f"{found.scheme}: trained", "quality": found.quality})


def _exported(stages: Mapping[str, Artifact], torch: list[ModelRow]) -> Iterator[Step]:
    export = parsed(stages.get("export"), ExportResult)
    if export is None:
        return
    bench = parsed(stages.get("bench"), BenchResult)
    rounded = parsed(stages.get("quantize"), QuantizeResult)
    scheme = None if rounded is None else rounded.scheme
    floats = [row for row in torch if scheme is None or not row.name.startswith(f"{scheme}: ")]
    kept = {}
    if torch:
        kept = {name: getattr(torch[-1], name) for name in ("embedding_parameters", "other_parameters")}
    measured = exported_rows(export, None, bench.measurements if bench else ())
    rows = [row.model_copy(update=kept) for row in measured]
    whole = next((row for row in rows if row.name == FLOAT), None)
    for row in rows:
        source = torch if row.name == scheme else floats
        last = source[-1] if source else None
        yield Step(row, last if row.name in (FLOAT, scheme) else whole or last)
