"""Commands that measure, judge and answer; none of them loads torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli.options import AsJson
from squeeze.cli.output import emit, emit_json, exit_code, shown

if TYPE_CHECKING:
    from squeeze.bench import BenchOptions, Judgement

__all__ = ["bench", "gate", "predict"]

Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="FIGURE=LIMIT", help="Such as p95=5ms or size=8MB; repeatable."),
]


def bench(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="ONNX or ORT files, or bundle folders.")
    ],
    baseline: Annotated[
        Path | None, typer.Option(metavar="MODEL|REPORT", help="Model or earlier report to compare with.")
    ] = None,
    budget: Budgets = None,
    form: Annotated[str | None, typer.Option(metavar="NAME", help="Form of a bundle, or all.")] = None,
    threads: Annotated[int, typer.Option(help="Threads inside one operator.")] = 1,
    batch: Annotated[int, typer.Option(help="Texts a call.")] = 1,
    seq: Annotated[
        int | None, typer.Option(help="Tokens a text; the bundle's own lengths by default.")
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="INPUT=1x128", help="Whole shape of an input; repeatable.")
    ] = None,
    target: Annotated[str, typer.Option(help="Where to measure.")] = "cpu",
    min_runs: Annotated[int, typer.Option(help="Timed calls at least.")] = 200,
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls at least.")] = 3.0,
    confidence: Annotated[float, typer.Option(help="Confidence of the intervals.")] = 0.95,
    as_json: AsJson = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the checks as JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the report as Markdown.")
    ] = None,
) -> int:
    """Measure latency, load time, memory and size.

    Two models, or one with a --baseline, are timed in turns and compared. With --budget the exit
    code is 1 when a limit is exceeded and 5 when the figures are too noisy to say.
    """
    from squeeze import bench as library
    from squeeze import bench_formats

    values = {
        "target": target,
        "form": form,
        "baseline": baseline,
        "threads": threads,
        "batch": batch,
        "sequence": seq,
        "shapes": dict(library.parse_shape(text) for text in shape or ()),
        "min_runs": min_runs,
        "min_seconds": seconds,
        "max_seconds": max(60.0, 3 * seconds),
        "confidence": confidence,
    }
    options, budgets = _options(values), [library.parse_budget(text) for text in budget or ()]
    _prepare(junit, markdown, judged=bool(budgets))
    with shown() as progress:
        report = library.bench(models, options, progress)
    judgement = library.judge(report, budgets) if budgets else None
    drawn = bench_formats.markdown(report, judgement)
    if markdown is not None:
        markdown.write_text(drawn, encoding="utf-8")
    if junit is not None and judgement is not None:
        junit.write_text(bench_formats.junit(judgement), encoding="utf-8")
    if as_json:
        _checks_to_stderr(judgement)
        emit_json(report.plain())
    else:
        emit(drawn.rstrip("\n"))
    return exit_code(judgement.verdict if judgement else None)


def _options(values: dict[str, Any]) -> BenchOptions:
    from pydantic import ValidationError

    from squeeze.bench import BenchOptions
    from squeeze.errors import UsageError
    from squeeze.profile.problems import dotted, problems

    names = {"sequence": "seq", "min_runs": "min-runs", "min_seconds": "seconds"}
    try:
        return BenchOptions(**values)
    except ValidationError as error:
        found = problems(error, values, BenchOptions)
        lines = [f"--{names.get(dotted(one.place), dotted(one.place))}: {one.message}" for one in found]
        raise UsageError("\n".join(lines)) from error


def _prepare(junit: Path | None, markdown: Path | None, *, judged: bool) -> None:
    """Files that cannot be written are found out before anything is measured."""
    from squeeze.errors import UsageError

    if junit is not None and not judged:
        raise UsageError("--junit: there are no checks to write", hint="give at least one --budget")
    for path in (junit, markdown):
        if path is not None and not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path}: cannot be written, {path.parent} is no folder that may be written to")


def _checks_to_stderr(judgement: Judgement | None) -> None:
    """The document on stdout is the report alone, so that it can be a --baseline; the checks go beside it."""
    for check in judgement.checks if judgement else ():
        value = "-" if check.value is None else f"{check.value:.4g}"
        sys.stderr.write(
            f"{check.name}: {value} of {check.limit:g} {check.unit}: {check.verdict} {check.note}\n"
        )


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

    verdict, lines = find_verdict(run, budget or ())
    if as_json:
        emit_json(verdict.plain())
    else:
        emit("\n".join(lines))
    return exit_code(verdict.verdict)


def predict(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder with model, tokenizer and labels.")
    ],
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help="Texts, or - for one a line from stdin.")
    ],
    form: Annotated[
        str | None, typer.Option(metavar="NAME", help="Form to run; the smallest by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Answer texts with an exported bundle."""
    from squeeze import predict as library

    lines = [line.rstrip("\n") for line in sys.stdin] if texts == ["-"] else texts
    answers = library.predict(bundle, lines, form=form, threads=threads)
    if as_json:
        emit_json({"schema": 1, "answers": [answer.plain() for answer in answers]})
        return
    for text, answer in zip(lines, answers, strict=True):
        emit(f"{answer.label}\t{answer.probability:.3f}\t{text}")
