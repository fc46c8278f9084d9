"""`squeeze bench`: measure model files, compare them, hold them against budgets; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from squeeze.cli import bench_table
from squeeze.cli.estimating import PREFIX, estimated
from squeeze.cli.options import AsJson, Budgets, checked
from squeeze.cli.output import emit, emit_json, exit_code, name_run, note, shown, writable

if TYPE_CHECKING:
    from squeeze.bench import BenchOptions, BenchReport, Judgement

__all__ = ["bench"]

Models: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="MODEL...", help="ONNX, ORT or plan files, or bundle folders.")
]
Baseline: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="MODEL|REPORT", help="Model or earlier report to compare with.")
]
Form: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="Form of a bundle, or all.")]
Threads: TypeAlias = Annotated[int, typer.Option(help="Threads inside one operator.")]
Batch: TypeAlias = Annotated[int, typer.Option(help="Texts a call.")]
Length: TypeAlias = Annotated[
    int | None, typer.Option(help="Tokens a text; the bundle's own lengths by default.")
]
Shapes: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="INPUT=1x128", help="Whole shape of an input; repeatable.")
]
Target: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="Where: cpu, gpu, adb[:SERIAL], ssh:[USER@]HOST[:PORT]; qemu:CPU compares outputs only, "
        "estimate:DEVICE guesses.",
    ),
]
Keep: TypeAlias = Annotated[
    bool, typer.Option("--keep", help="On a device: leave the runner there for the next time.")
]
DeviceDir: TypeAlias = Annotated[
    str | None, typer.Option("--device-dir", metavar="DIR", help="On a device: folder for our files.")
]
Provider: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="ONNX Runtime's provider: cpu, xnnpack or openvino; on a GPU cuda or tensorrt.",
    ),
]
MaxMemory: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="8GB", help="Memory a measuring process may take; most of what is free by default."),
]
CudaGraph: TypeAlias = Annotated[
    bool, typer.Option("--cuda-graph", help="On a GPU: record each shape of a plan as a CUDA graph.")
]
NoSpin: TypeAlias = Annotated[
    bool, typer.Option("--no-spin", help="On a GPU: wait for a plan asleep, not in a loop.")
]
NoTransfers: TypeAlias = Annotated[
    bool, typer.Option("--no-transfers", help="On a GPU: leave the copies of inputs and outputs out.")
]
MinRuns: TypeAlias = Annotated[int, typer.Option(help="Timed calls of a single model at least.")]
Seconds: TypeAlias = Annotated[float, typer.Option(help="Seconds of timed calls of a single model at least.")]
Within: TypeAlias = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Time limit of a comparison; it ends when the answer is known."),
]
Reference: TypeAlias = Annotated[
    bool,
    typer.Option("--reference", help="Also time the reference workload, so that other machines can compare."),
]
Confidence: TypeAlias = Annotated[
    float, typer.Option(help="Confidence of the intervals; the rest to 1 is the chance of a false alarm.")
]
Junit: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the checks as JUnit XML.")
]
Markdown: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the report as Markdown.")
]
NAMES = {
    "sequence": "seq",
    "min_runs": "min-runs",
    "min_seconds": "seconds",
    "device_dir": "device-dir",
}  # of options, by key
MOST_MAX_S = 259_200.0
LEAST_MAX_S = 60.0  # one model may take a minute, or three times the timed seconds asked for


def bench(
    models: Models,
    baseline: Baseline = None,
    budget: Budgets = None,
    form: Form = None,
    threads: Threads = 1,
    batch: Batch = 1,
    seq: Length = None,
    shape: Shapes = None,
    target: Target = "cpu",
    provider: Provider = None,
    max_memory: MaxMemory = None,
    cuda_graph: CudaGraph = False,
    no_spin: NoSpin = False,
    no_transfers: NoTransfers = False,
    keep: Keep = False,
    device_dir: DeviceDir = None,
    min_runs: MinRuns = 200,
    seconds: Seconds = 3.0,
    within: Within = 60.0,
    reference: Reference = False,
    confidence: Confidence = 0.95,
    as_json: AsJson = False,
    junit: Junit = None,
    markdown: Markdown = None,
) -> int:
    """Measure latency, load time, memory and size.

    Two models, or one with a --baseline, are compared: timed in turns, in several fresh processes, until
    the answer is known. With --budget the exit code is 1 when a limit is exceeded and 5 when the figures
    are too noisy to say.
    """
    values: dict[str, Any] = {"target": target, "form": form, "baseline": baseline, "keep": keep}
    values |= {"threads": threads, "batch": batch, "transfers": not no_transfers, "device_dir": device_dir}
    values |= {"provider": provider, "cuda_graph": cuda_graph, "spin": not no_spin, "confidence": confidence}
    values |= {"sequence": seq, "shapes": shape, "max_memory": max_memory, "within": within}
    values |= {"min_runs": min_runs, "min_seconds": seconds, "reference": reference}
    return _bench(models, values, budget or (), (junit, markdown), as_json=as_json)


def _bench(
    models: list[Path],
    values: dict[str, Any],
    limits: Sequence[str],
    files: tuple[Path | None, Path | None],
    *,
    as_json: bool,
) -> int:
    """Measure and judge, what was given being read first; `files` are those of JUnit XML and Markdown."""
    from squeeze import bench as library
    from squeeze.budget import read_bytes

    memory, seconds = values["max_memory"], values["min_seconds"]
    values |= {"shapes": dict(library.parse_shape(text) for text in values["shapes"] or ())}
    values |= {"max_seconds": min(max(LEAST_MAX_S, 3 * seconds), MOST_MAX_S)}
    values |= {"max_memory": None if memory is None else read_bytes(memory, "--max-memory")}
    options = checked(library.BenchOptions, values, NAMES)
    budgets = [library.parse_budget(text) for text in limits]
    junit, markdown = files
    _prepare(junit, judged=bool(budgets))
    writable(junit, markdown, apart=(*models, options.baseline))
    judged = bool(budgets or options.baseline)
    library.followed(options, models)
    for path in (*models, *([options.baseline] if options.baseline else [])):
        name_run(path)
    if library.is_functional(options):
        return _check(models, options, markdown, judged=judged, as_json=as_json)
    if options.target.startswith(PREFIX):
        return estimated(models, options, markdown, judged=judged, as_json=as_json)
    _timed(options, compared=library.compares(models, options, budgets))
    with shown() as progress:
        report = library.bench(models, options, progress, budgets)
    judgement = library.judge(report, budgets) if budgets else None
    _write(report, judgement, junit, markdown, as_json=as_json)
    return exit_code(judgement.verdict if judgement else None)


def _timed(options: BenchOptions, *, compared: bool) -> None:
    """Refuse the options of a single model where models are compared, and the other way round."""
    from squeeze.errors import UsageError

    unused = ("min_runs", "min_seconds") if compared else ("within",)
    for name in unused:
        if getattr(options, name) != type(options).model_fields[name].default:
            option = f"--{NAMES.get(name, name)}"
            if compared:
                raise UsageError(f"{option}: no effect on a comparison", hint="--within sets its time")
            raise UsageError(f"{option}: no effect on a single model", hint="--seconds sets its time")


def _check(
    models: list[Path], options: BenchOptions, markdown: Path | None, *, judged: bool, as_json: bool
) -> int:
    """What a model computes on an emulated core."""
    from squeeze import bench as library
    from squeeze.errors import UsageError
    from squeeze.targets.devices.formats import functional

    if judged:
        raise UsageError(
            f"{options.target}: emulated, it has no times to judge or compare",
            hint="leave --budget and --baseline out",
        )
    with shown() as progress:
        report = library.check(models, options, progress)
    if markdown is not None:
        bench_table.save_markdown(markdown, functional(report))
    if as_json:
        emit_json(report.plain())
    else:
        emit(functional(report).rstrip("\n"))
    return 0


def _write(
    report: BenchReport,
    judgement: Judgement | None,
    junit: Path | None,
    markdown: Path | None,
    *,
    as_json: bool,
) -> None:
    try:
        bench_table.save(report, judgement, junit, markdown)
    finally:  # a file that cannot be written now takes nothing of the result away
        if as_json:
            _checks_to_stderr(judgement)
            emit_json(report.plain())
        else:
            bench_table.show(report, judgement)


def _prepare(junit: Path | None, *, judged: bool) -> None:
    """Files of which nothing could be written are refused before anything is measured."""
    from squeeze.errors import UsageError

    if junit is not None and not judged:
        raise UsageError("--junit: there are no checks to write", hint="give at least one --budget")


def _checks_to_stderr(judgement: Judgement | None) -> None:
    """The document on stdout is the report alone, so that it can be a --baseline; the checks go beside it."""
    for check in judgement.checks if judgement else ():
        value = "-" if check.value is None else f"{check.value:.4g}"
        note(f"{check.name}: {value} of {check.limit:g} {check.unit}: {check.verdict} {check.note}")
