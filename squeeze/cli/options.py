"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

if TYPE_CHECKING:
    from squeeze.schema import Frozen

__all__ = ["AsJson", "Budgets", "Fresh", "Out", "ProfilePath", "Sets", "Wait", "checked", "reached"]

Model = TypeVar("Model", bound="Frozen")

ProfilePath: TypeAlias = Annotated[Path, typer.Argument(metavar="PROFILE", help="Profile (TOML).")]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one value, such as distil.phases.0.epochs=3; repeatable."
    ),
]
Out: TypeAlias = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all runs.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Fresh: TypeAlias = Annotated[
    bool, typer.Option("--fresh", help="Make everything again, also what is stored.")
]
Wait: TypeAlias = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that works on this run.")
]
Budgets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", metavar="FIGURE=LIMIT", help="Such as p95=5ms, size=8MB or p50<=1.05x; repeatable."
    ),
]


def reached(sets: Sequence[str], until: str | None) -> None:
    """Refuse changes of sections that no stage reads before the run ends.

    Args:
        sets: as `--set` has them.
        until: the last stage.

    Raises:
        UsageError: a change without effect.
    """
    from squeeze.errors import UsageError
    from squeeze.registry import STAGES

    names = [stage.name for stage in STAGES]
    if until not in names:
        return
    last = names.index(until) + 1
    read = {section for stage in STAGES[:last] for section in stage.config.model_fields}
    for key in (text.partition("=")[0].strip() for text in sets):
        section = key.partition(".")[0]
        later = (stage.name for stage in STAGES[last:] if section in stage.config.model_fields)
        if section not in read and (stage := next(later, None)):
            raise UsageError(f"--set {key}: no effect, {stage} reads it and the run ends with {until}")


def checked(model: type[Model], values: Mapping[str, Any], names: Mapping[str, str]) -> Model:
    """Options as the record of a library.

    Args:
        model: the record.
        values: by its keys.
        names: of options that are called otherwise than their keys.

    Raises:
        UsageError: values that the record refuses, one line each, with the option's name.
    """
    from pydantic import ValidationError

    from squeeze.errors import UsageError
    from squeeze.profile.problems import dotted, problems

    try:
        return model(**values)
    except ValidationError as error:
        lines = [
            f"--{names.get(dotted(one.place), dotted(one.place))}: {one.message}"
            for one in problems(error, dict(values), model)
        ]
        raise UsageError.of_lines(lines) from error
