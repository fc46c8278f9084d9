"""Commands that look and change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from squeeze.cli.chain import RUNS
from squeeze.cli.options import AsJson, Out, ProfilePath, Sets, reached
from squeeze.cli.output import emit_json, emit_table, shown

__all__ = ["explain", "plan"]


def plan(
    profile: ProfilePath,
    until: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")
    ] = None,
    sets: Sets = None,
    out: Out = RUNS,
    as_json: AsJson = False,
) -> None:
    """Show what is done and what would run, and why."""
    from squeeze import pipeline
    from squeeze.profile import load

    loaded = load(profile, sets or ()).profile
    reached(sets or (), until)
    steps = pipeline.plan(loaded, out, until)
    if as_json:
        emit_json({"schema": 1, "steps": [_plain(step.__dict__) for step in steps]})
        return
    with shown() as progress:
        for step in steps:
            for line in step.warnings:
                progress.warn(f"{step.stage}: {line}")
    rows = []
    for step in steps:
        seconds = "-" if step.last_seconds is None else f"{step.last_seconds:.0f} s"
        name = step.folder.name if step.folder else step.stage
        rows.append((step.stage, step.state, seconds, name, step.why))
    emit_table(("stage", "state", "last took", "artefact", "why"), rows)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def explain(profile: ProfilePath, sets: Sets = None, as_json: AsJson = False) -> None:
    """Show every effective value and its origin."""
    from squeeze import profile as profiles

    values = profiles.explain(profiles.load(profile, sets or ()))
    if as_json:
        emit_json({"schema": 1, "values": [value.plain() for value in values]})
        return
    rows = [
        (value.key, json.dumps(value.value, ensure_ascii=False, default=str), value.origin, value.meaning)
        for value in values
    ]
    emit_table(("key", "value", "from", "meaning"), rows)
