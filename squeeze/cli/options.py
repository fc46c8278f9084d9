"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["AsJson", "Budgets", "Fresh", "Out", "ProfilePath", "Sets", "Wait"]

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
    typer.Option("--budget", metavar="FIGURE=LIMIT", help="Such as p95=5ms or size=8MB; repeatable."),
]
