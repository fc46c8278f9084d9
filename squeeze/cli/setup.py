"""Commands for getting started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from squeeze.cli.chain import RUNS
from squeeze.cli.options import AsJson
from squeeze.cli.output import emit, emit_json, emit_table, shown

if TYPE_CHECKING:
    from squeeze.init import Written

__all__ = ["doctor", "init"]


def init(
    teacher: Annotated[
        str,
        typer.Option(metavar="MODEL", help="builtin:minilm-l6, a folder, or a name of the Hugging Face hub."),
    ],
    train: Annotated[str, typer.Option(metavar="SOURCE", help="Labelled text: file, builtin: or hf: name.")],
    validation: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Labelled text to choose on; without it --train is split."),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="SOURCE", help="Labelled text to report on.")] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="A,B", help="Label names; read from --train by default.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the text; found by default.")
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of the label, or A,B of numbers."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Profile to write.")] = Path(
        "profile.toml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Write a commented profile for a model and a data file.

    Columns, labels and what the teacher is are found, and notes on stderr say what was assumed. The recipe
    is chosen by a short measurement of this machine: a first run ends within 15 minutes.
    """
    from squeeze.init import Wanted, write

    names = tuple(name.strip() for name in labels.split(",")) if labels else None
    wanted = Wanted(
        teacher=teacher,
        train=train,
        validation=validation,
        test=test,
        labels=names,
        text=text_column,
        label_columns=tuple(label_column.split(",")) if label_column else (),
    )
    _say(write(wanted, output, runs=RUNS, force=force), output)


def _say(written: Written, output: Path) -> None:
    """What was assumed goes to stderr, what to do next to stdout."""
    from squeeze.init.template import duration

    with shown() as progress:
        for line in written.notes:
            progress.log(f"note: {line}")
        for line in written.warnings:
            progress.warn(line)
    emit(f"{output} written; a run takes about {duration(written.seconds)}; next: squeeze plan {output}")


def doctor(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="ONNX file to check for TensorRT instead.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show versions, optional parts and devices, or check a MODEL.

    Each missing part says what it would give and how to install it. A MODEL is checked for TensorRT
    10 and 11, without a GPU; the exit code is 1 when an engine could not be built from it.
    """
    return _parts(as_json=as_json) if model is None else _model(model, as_json=as_json)


def _parts(*, as_json: bool) -> int:
    from squeeze.doctor import examine

    findings = examine()
    if as_json:
        emit_json({"schema": 1, "findings": [finding.plain() for finding in findings]})
        return 0
    rows = [(f.name, f.state, f.value, f.gives, f.install) for f in findings]
    emit_table(("part", "state", "found", "gives", "install"), rows)
    return 0


def _model(path: Path, *, as_json: bool) -> int:
    from squeeze.doctor import examine_model

    found = examine_model(path)
    code = 0 if found.ready else 1
    if as_json:
        emit_json({"schema": 1, **found.plain()})
        return code
    rows = [(i.severity, i.rule, i.node, i.what, i.limit, i.hint) for i in found.issues]
    if rows:
        emit_table(("severity", "rule", "where", "found", "TensorRT takes", "hint"), rows)
    errors = sum(issue.severity == "error" for issue in found.issues)
    verdict = "ready for TensorRT" if found.ready else f"not ready for TensorRT: {errors} errors"
    emit(f"{found.file}: {verdict} ({found.precision}, operator set {found.opset})")
    return code
