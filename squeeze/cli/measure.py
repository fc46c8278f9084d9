"""Commands that judge and answer; none of them loads torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from squeeze.cli.options import AsJson, Budgets
from squeeze.cli.output import emit, emit_json, exit_code, name_run
from squeeze.errors import visible

__all__ = ["gate", "lines_of", "predict"]


def gate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|REPORT", help="Folder of a run, or a report written with --json.")
    ],
    budget: Budgets = None,
    as_json: AsJson = False,
) -> int:
    """Say whether the budget is kept: 0 yes, 1 no, 5 too noisy.

    A run folder and the report of a run are judged by the profile's [budget]; the report of
    `squeeze bench --json` by --budget.
    """
    from squeeze.cli.gating import find_verdict

    line = name_run(run)
    verdict, lines = find_verdict(run, budget or ())
    if as_json:
        emit_json({**verdict.plain(), **({"run": line} if line else {})})
    else:
        emit("\n".join(lines))
    return exit_code(verdict.verdict)


def predict(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run, or with model, tokenizer and labels."),
    ],
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help="Texts, or - for one a line from stdin.")
    ],
    form: Annotated[
        str | None, typer.Option(metavar="NAME", help="Form to run; the judged one by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Classify texts with an exported bundle."""
    from squeeze import predict as library

    lines = lines_of(sys.stdin.buffer.read()) if texts == ["-"] else texts
    run = name_run(bundle)
    answers = library.predict(bundle, lines, form=form, threads=threads)
    if as_json:
        emit_json(
            {"schema": 1, **({"run": run} if run else {}), "answers": [answer.plain() for answer in answers]}
        )
        return
    for text, answer in zip(lines, answers, strict=True):
        emit("\t".join(map(visible, (*answer.cells(), text))))


def lines_of(data: bytes) -> list[str]:
    """Lines of any system's text file; bytes that are no UTF-8 are left for the check of the texts."""
    text = data.decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n").removesuffix("\n")
    return text.split("\n") if text else []
