"""From the results of a run's artefacts to the rows of its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from squeeze.artifact import MANIFEST, Artifact
from squeeze.errors import Corrupt
from squeeze.report.model import ModelRow, RunReport
from squeeze.schema import Frozen
from squeeze.stages.bench.stage import BenchResult
from squeeze.stages.distil.stage import DistilResult
from squeeze.stages.export.stage import ExportResult
from squeeze.stages.gate.stage import GateResult
from squeeze.stages.prune.stage import Measured, PruneResult
from squeeze.stages.quantize.stage import QuantizeResult
from squeeze.stages.search.stage import SearchResult
from squeeze.stages.teacher.stage import TeacherResult
from squeeze.targets.measurement import Measurement
from squeeze.tasks import DEFAULT, AnyTaskSection, TaskSection

__all__ = [
    "TEACHER",
    "by_kind",
    "collect",
    "exported_rows",
    "parsed",
    "torch_row",
    "with_retention",
]


class Asked(Frozen):
    """The task that an artefact was made for."""

    task: AnyTaskSection


Result = TypeVar("Result", bound=Frozen)
EncoderResult = DistilResult | PruneResult | QuantizeResult
InTorch = TeacherResult | EncoderResult | Measured
TEST, TEACHER, STUDENT = "test", "teacher", "student (torch)"


def collect(name: str, artifacts: Mapping[str, Artifact], run: str = "") -> RunReport:
    """The report of a run, as far as it went.

    Args:
        name: what the run is called.
        artifacts: its artefacts by kind.
        run: the line that names the run.
    """
    teacher = parsed(artifacts.get("teacher"), TeacherResult)
    encoder = _encoder(artifacts.get("encoder"))
    export = parsed(artifacts.get("bundle"), ExportResult)
    bench = parsed(artifacts.get("measurements"), BenchResult)
    rows: list[ModelRow] = []
    if teacher is not None:
        rows.append(torch_row(TEACHER, teacher))
    if encoder is not None:
        rows.extend(_rows(encoder))
    if export is not None:
        rows.extend(exported_rows(export, encoder, bench.measurements if bench else ()))
    rows, task = with_retention(rows), _task(artifacts.values())
    return RunReport(
        name=name,
        run=run,
        problem_type=DEFAULT if task is None else task.problem_type,
        labels=() if task is None else task.labels,
        splits=_splits(rows),
        rows=tuple(rows),
        search=parsed(artifacts.get("arch"), SearchResult),
        prune=encoder if isinstance(encoder, PruneResult) else None,
        quantize=encoder if isinstance(encoder, QuantizeResult) else None,
        teacher_time=bench.teacher if bench else None,
        gate=parsed(artifacts.get("verdict"), GateResult),
        warnings=_warnings(artifacts.values()),
        digests={kind: found.digest for kind, found in artifacts.items()},
    )


def by_kind(stages: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The last artefact of each kind."""
    return {found.kind: found for found in stages.values()}


def torch_row(name: str, found: InTorch) -> ModelRow:
    """A model that was measured in torch, so it has no latency here."""
    return ModelRow(
        name=name,
        quality=found.quality,
        embedding_parameters=found.embedding_parameters,
        other_parameters=found.parameters - found.embedding_parameters,
        size_bytes=found.size_bytes,
    )


def _pruned_rows(result: PruneResult) -> list[ModelRow]:
    """The student that was pruned, where it is not the teacher itself, and what it became."""
    after = torch_row("pruned (torch)", result)
    return [torch_row(STUDENT, result.before), after] if result.source == "student" else [after]


def _quantized_rows(result: QuantizeResult) -> list[ModelRow]:
    """The model before it was rounded, and what it became; both are stored in float here."""
    row = torch_row(STUDENT, result)
    after = {"name": f"{result.scheme} (torch)", "size_bytes": None}
    return [row.model_copy(update={"quality": result.before}), row.model_copy(update=after)]


def exported_rows(
    result: ExportResult, student: EncoderResult | None, measurements: Iterable[Measurement]
) -> list[ModelRow]:
    """One row for each exported file, with its latency on the first target where it was measured."""
    timed: dict[str, Measurement] = {}
    for measurement in measurements:
        timed.setdefault(measurement.file, measurement)
    rows = []
    for form, made in result.forms.items():
        latency = timed.get(made.file)
        row = ModelRow(
            name=form,
            quality=made.quality,
            embedding_parameters=student.embedding_parameters if student else None,
            other_parameters=student.parameters - student.embedding_parameters if student else None,
            size_bytes=made.size_bytes + result.tokenizer_bytes,
            p50_ms=latency.p50.value if latency else None,
            p95_ms=latency.p95.value if latency else None,
        )
        rows.append(row)
    return rows


def with_retention(rows: Iterable[ModelRow]) -> list[ModelRow]:
    """Hold every model's primary score on the test split against the first row's, which is the teacher's."""
    listed = list(rows)
    best = listed[0].quality.get(TEST) if listed and listed[0].name == TEACHER else None
    if best is None or best.score <= 0:
        return listed
    return [
        row.model_copy(update={"retention": row.quality[TEST].score / best.score})
        if TEST in row.quality
        else row
        for row in listed
    ]


def _warnings(artifacts: Iterable[Artifact]) -> tuple[str, ...]:
    """The warnings of all stages, in the order of the chain."""
    return tuple(str(line) for found in artifacts for line in found.result.get("warnings", ()))


def _splits(rows: Iterable[ModelRow]) -> tuple[str, ...]:
    """Test first, then the others as they come."""
    names = dict.fromkeys(name for row in rows for name in row.quality)
    return tuple(sorted(names, key=lambda name: name != TEST))


def _task(artifacts: Iterable[Artifact]) -> TaskSection | None:
    """The task, from whichever artefact was made knowing it."""
    for artifact in artifacts:
        config = artifact.manifest.get("config")
        if isinstance(config, dict) and config.get("task"):
            return _valid(artifact, Asked, {"task": config["task"]}, "task").task
    return None


def _encoder(found: Artifact | None) -> EncoderResult | None:
    """The result of the encoder's last stage, which is one of three."""
    stage = None if found is None else found.manifest.get("stage")
    if stage == "prune":
        return parsed(found, PruneResult)
    if stage == "quantize":
        return parsed(found, QuantizeResult)
    return parsed(found, DistilResult)


def _rows(encoder: EncoderResult) -> list[ModelRow]:
    if isinstance(encoder, PruneResult):
        return _pruned_rows(encoder)
    if isinstance(encoder, QuantizeResult):
        return _quantized_rows(encoder)
    return [torch_row(STUDENT, encoder)]


def parsed(found: Artifact | None, kind: type[Result]) -> Result | None:
    """The result of an artefact; None for none.

    Raises:
        Corrupt: it is not of this version.
    """
    return None if found is None else _valid(found, kind, found.result, "result")


def _valid(found: Artifact, kind: type[Result], value: object, what: str) -> Result:
    try:
        return kind.parse(value)
    except ValidationError as error:
        message = f"{found.path / MANIFEST}: the {what} is not a {kind.__name__} of this version"
        raise Corrupt(message, hint="run again with --fresh") from error
