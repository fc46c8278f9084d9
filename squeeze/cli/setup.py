"""Commands for getting started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli.options import AsJson
from squeeze.cli.output import emit, emit_json, emit_table

__all__ = ["doctor", "init"]


def init(
    teacher: Annotated[
        str,
        typer.Option(metavar="MODEL", help="builtin:minilm-l6, a folder, or a name of the Hugging Face hub."),
    ],
    train: Annotated[str, typer.Option(metavar="SOURCE", help="Labelled text: file, builtin: or hf: name.")],
    validation: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Labelled text to choose on.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="SOURCE", help="Labelled text to report on.")] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="A,B", help="Label names; read from --train by default.")
    ] = None,
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Column of the text.")] = "text",
    label_column: Annotated[str, typer.Option(metavar="NAME", help="Column of the label.")] = "label",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Profile to write.")] = Path(
        "profile.toml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Write a commented profile for a model and a data file."""
    from squeeze.init import Wanted, write

    names = tuple(name.strip() for name in labels.split(",")) if labels else None
    wanted = Wanted(
        teacher=teacher,
        train=train,
        validation=validation,
        test=test,
        labels=names,
        text=text_column,
        label=label_column,
    )
    write(wanted, output, force=force)
    emit(f"{output} written; next: squeeze plan {output}")


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
