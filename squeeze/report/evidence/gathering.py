"""Everything that a page shows of one run, read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from squeeze.artifact import MANIFEST, Artifact
from squeeze.data import dataset
from squeeze.data.dataset import Dataset
from squeeze.errors import Corrupt, MissingBackend, visible
from squeeze.progress import Progress
from squeeze.report.collecting import by_kind, collect, parsed
from squeeze.report.comparing import shipped
from squeeze.report.evidence import answers as answering
from squeeze.report.evidence.answers import Answers
from squeeze.report.evidence.inside import Inside, look
from squeeze.report.evidence.origin import Origin, origins
from squeeze.report.model import RunReport
from squeeze.stages.data.stage import DataResult
from squeeze.stages.export.stage import ExportResult
from squeeze.stages.search.stage import TABLE, Row
from squeeze.targets.measurement import MEASUREMENTS, Report
from squeeze.tasks import DEFAULT

__all__ = ["Evidence", "gather"]

Found = TypeVar("Found")


@dataclass(frozen=True)
class Evidence:
    """One run; what it did not come to is None.

    Attributes:
        report: its figures.
        stages: its artefacts, in the order of the chain.
        data: what came in.
        export: what goes out.
        form: of the export that ships.
        bench: with raw samples.
        searched: all candidates that were scored.
        answers: of the teacher and of the shipped file.
        inside: of the shipped file.
        origins: of all artefacts.
    """

    report: RunReport
    stages: Mapping[str, Artifact]
    data: DataResult | None
    export: ExportResult | None
    form: str | None
    bench: Report | None
    searched: Sequence[Row]
    answers: Answers | None
    inside: Inside | None
    origins: tuple[Origin, ...]


def gather(name: str, stages: Mapping[str, Artifact], progress: Progress, run: str = "") -> Evidence:
    """Read a run, and ask its shipped file where it has one.

    Args:
        name: what the run is called.
        stages: its artefacts by stage.
        progress: where the asking is shown.
        run: the line that names the run.

    Raises:
        Corrupt: an artefact is not what this version writes.
        StageFailed: weights of the shipped file lie outside of its folder.
        MissingBackend: a file of weights is not there.
    """
    report = collect(name, by_kind(stages), run)
    data, bundle = stages.get("data"), stages.get("export")
    texts, unread = _texts(data)
    export = parsed(bundle, ExportResult)
    row = shipped(report)
    form = None if row is None else row.name
    file = None
    if bundle is not None and export is not None and form is not None:
        file = (bundle.path, form, export.forms[form].file)
        if file[2] not in bundle.manifest["files"]:
            raise Corrupt(f"{bundle.path / MANIFEST}: {visible(file[2])} is not a file of this folder")
    return Evidence(
        report=report,
        stages=stages,
        data=parsed(data, DataResult),
        export=export,
        form=form,
        bench=_bench(stages.get("bench")),
        searched=_searched(stages.get("search")),
        answers=Answers((), None, unread) if unread else _answers(report, stages, texts, file, progress),
        inside=None if file is None else look(file[0], file[2], _validation(texts)),
        origins=origins(stages),
    )


def _texts(data: Artifact | None) -> tuple[Dataset | None, str]:
    """The texts, or why this machine cannot read them."""
    if data is None:
        return None, ""
    try:
        return dataset.load(data.path), ""
    except MissingBackend as error:
        return None, f"The texts of the run cannot be read here: {error.message} ({error.hint})."


def _answers(
    report: RunReport,
    stages: Mapping[str, Artifact],
    texts: Dataset | None,
    shipped: tuple[Path, str, str] | None,
    progress: Progress,
) -> Answers | None:
    if texts is None or not report.labels:
        return None
    if report.problem_type != DEFAULT:
        return Answers((), None, "Changed answers are listed for one label a text only.")
    teacher = stages.get("teacher")
    folder = None if teacher is None else teacher.path
    return answering.read(report.labels, texts, folder, shipped, progress)


def _validation(texts: Dataset | None) -> Sequence[str]:
    return () if texts is None else texts.splits["validation"].texts


def _bench(found: Artifact | None) -> Report | None:
    """The bench report; one that cannot be read is named as part of a damaged run."""
    return None if found is None else _document(found.path / MEASUREMENTS, Report.model_validate_json)


def _searched(found: Artifact | None) -> Sequence[Row]:
    if found is None:
        return ()
    return _document(found.path / TABLE, _rows)


def _rows(text: bytes) -> Sequence[Row]:
    return [Row.parse(row) for row in json.loads(text)["rows"]]


def _document(path: Path, read: Callable[[bytes], Found]) -> Found:
    try:
        return read(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise Corrupt(
            f"{path}: not what this version writes ({first})", hint="run again with --fresh"
        ) from error
