"""Commands that walk the chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli.options import AsJson, Fresh, Out, ProfilePath, Sets, Wait, reached
from squeeze.cli.output import emit, emit_json, exit_code, shown

__all__ = ["RUNS", "distil", "export", "prune", "quantize", "run", "search"]

RUNS = Path("runs")


def run(
    profile: ProfilePath,
    until: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")
    ] = None,
    sets: Sets = None,
    out: Out = RUNS,
    fresh: Fresh = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> int:
    """Walk the whole chain of PROFILE.

    What is already done is not done again. Ends with 0 when the budget is kept, 1 when it is not, and
    5 when the figures are too noisy to say.
    """
    return _walk(profile, until, sets, out, fresh, wait, as_json)


def _until(stage: str, what: str) -> Callable[..., int]:
    """The command that walks the chain up to one stage, under the stage's name."""

    def command(
        profile: ProfilePath,
        sets: Sets = None,
        out: Out = RUNS,
        fresh: Fresh = False,
        wait: Wait = False,
        as_json: AsJson = False,
    ) -> int:
        return _walk(profile, stage, sets, out, fresh, wait, as_json)

    command.__name__, command.__doc__ = stage, what
    return command


search = _until(
    "search", "Choose the student's shape inside the budget of PROFILE, without training more than a few."
)
distil = _until("distil", "Walk the chain up to the trained student.")
prune = _until(
    "prune", "Walk the chain up to the pruned model; without a student it is the teacher that is pruned."
)
quantize = _until(
    "quantize", "Walk the chain up to the quantized model, trained while it is rounded or only rounded."
)
export = _until("export", "Walk the chain up to the exported files.")


def _walk(
    path: Path, until: str | None, sets: list[str] | None, out: Path, fresh: bool, wait: bool, as_json: bool
) -> int:
    from squeeze import pipeline
    from squeeze.profile import load
    from squeeze.report import collect, to_text

    profile = load(path, sets or ()).profile
    reached(sets or (), until)
    with shown() as progress:
        result = pipeline.run(profile, out, until=until, fresh=fresh, wait=wait, progress=progress)
    report = collect(result.name, result.artifacts)
    if as_json:
        emit_json({**result.plain(), "report": report.plain()})
    else:
        emit(to_text(report), drawn=True)
        emit(f"\nartefacts: {result.folder}")
    return exit_code(result.verdict)
