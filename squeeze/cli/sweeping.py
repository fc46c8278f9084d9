"""`squeeze sweep`: threads, batches and lengths, cold starts, text to label; loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from squeeze.cli.bench_table import save_markdown
from squeeze.cli.options import AsJson, checked
from squeeze.cli.output import emit, emit_json, exit_code, name_run, shown, writable

if TYPE_CHECKING:
    from squeeze.sweeping.options import SweepOptions
    from squeeze.sweeping.records import SweepReport
    from squeeze.sweeping.run import Wanted

__all__ = ["sweep"]

NAMES = {
    "sequence": "seq",
    "min_runs": "min-runs",
    "min_seconds": "seconds",
    "max_seconds": "max-seconds",
}  # of options, by key


Subject: TypeAlias = Annotated[
    Path, typer.Argument(metavar="MODEL|BUNDLE", help="ONNX or ORT file, or bundle folder.")
]
Threads: TypeAlias = Annotated[
    str | None, typer.Option(metavar="1,2", help="Threads inside one operator; 1 by default.")
]
Batch: TypeAlias = Annotated[str | None, typer.Option(metavar="1,4", help="Texts a call; 1,4,16 by default.")]
Lengths: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="16,own",
        help="Tokens a text; own: as the model or its bundle knows; 16,64,128 by default. "
        "A bundle's own lengths are always added.",
    ),
]
Form: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Form of a bundle; the one that ships by default.")
]
Target: TypeAlias = Annotated[
    str, typer.Option(metavar="TARGET", help="Where: cpu, adb[:SERIAL] or ssh:[USER@]HOST[:PORT].")
]
DeviceDir: TypeAlias = Annotated[
    str | None, typer.Option("--device-dir", metavar="DIR", help="Folder for our files on the device.")
]
Limit: TypeAlias = Annotated[
    str | None, typer.Option(metavar="p95=10ms", help="Find the most texts a second under this latency.")
]
Cold: TypeAlias = Annotated[
    bool, typer.Option("--cold", help="First answers of fresh processes, cold and warm page cache.")
]
Texts: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FILE|builtin", help="Time text to label with a bundle: a text a line.")
]
Energy: TypeAlias = Annotated[
    bool, typer.Option("--energy", help="Joules a call of each point, where RAPL is readable.")
]
Passes: TypeAlias = Annotated[int, typer.Option(help="Walks over the grid, each in random order.")]
Repeats: TypeAlias = Annotated[int, typer.Option(help="Cold starts, and as many warm ones.")]
MinRuns: TypeAlias = Annotated[int, typer.Option(help="Timed calls of a point at least.")]
Seconds: TypeAlias = Annotated[float, typer.Option(help="Seconds of timed calls of a point at least.")]
MaxSeconds: TypeAlias = Annotated[float, typer.Option(help="Most seconds of a point.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of inputs and order.")]
Confidence: TypeAlias = Annotated[float, typer.Option(help="Confidence of the intervals.")]
Markdown: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the report as Markdown.")
]


def sweep(
    model: Subject,
    threads: Threads = None,
    batch: Batch = None,
    seq: Lengths = None,
    form: Form = None,
    target: Target = "cpu",
    device_dir: DeviceDir = None,
    limit: Limit = None,
    cold: Cold = False,
    texts: Texts = None,
    energy: Energy = False,
    passes: Passes = 6,
    repeats: Repeats = 7,
    min_runs: MinRuns = 200,
    seconds: Seconds = 1.5,
    max_seconds: MaxSeconds = 60.0,
    seed: Seed = 0,
    confidence: Confidence = 0.95,
    as_json: AsJson = False,
    markdown: Markdown = None,
) -> int:
    """Measure threads x batches x lengths, cold starts, text to label.

    --cold and --texts leave the grid out, unless a part of it or --limit or --energy is given. With --limit
    the exit code is 1 when no point keeps it and 5 when the figures are too noisy to say.
    """
    from squeeze.sweeping import run

    writable(markdown, apart=(model,))
    values: dict[str, Any] = {"passes": passes, "repeats": repeats, "seed": seed, "confidence": confidence}
    values |= {"target": target, "device_dir": device_dir}
    values |= {"min_runs": min_runs, "min_seconds": seconds, "max_seconds": max_seconds}
    found = _options(values, threads, batch, seq, limit)
    grid = energy or not (cold or texts) or any(part is not None for part in (threads, batch, seq, limit))
    wanted = _wanted(texts, grid=grid, cold=cold, energy=energy)
    run.followed(found, wanted)
    name_run(model)
    with shown() as progress:
        report = run.run(model, form, wanted, found, progress)
    _write(report, markdown, as_json=as_json)
    return exit_code(report.choice.verdict if report.choice else None)


def _options(
    values: dict[str, Any], threads: str | None, batch: str | None, seq: str | None, limit: str | None
) -> SweepOptions:
    """What was given; what was not given keeps its default."""
    from squeeze.sweeping import options

    given = {
        "threads": None if threads is None else options.parse_counts(threads, "--threads"),
        "batch": None if batch is None else options.parse_counts(batch, "--batch"),
        "sequence": None if seq is None else options.parse_lengths(seq),
        "limit": None if limit is None else options.parse_limit(limit),
    }
    values |= {name: value for name, value in given.items() if value is not None}
    return checked(options.SweepOptions, values, NAMES)


def _write(report: SweepReport, markdown: Path | None, *, as_json: bool) -> None:
    from squeeze.sweeping import formats

    drawn = formats.markdown(report)
    if markdown is not None:
        save_markdown(markdown, drawn)
    if as_json:
        emit_json(report.plain())
    else:
        emit(drawn.rstrip("\n"))


def _wanted(source: str | None, *, grid: bool, cold: bool, energy: bool) -> Wanted:
    from squeeze.cli.measure import lines_of
    from squeeze.sweeping.run import Wanted
    from squeeze.sweeping.texts import BUILTIN, builtin, checked

    if source is None:
        return Wanted(grid=grid, cold=cold, energy=energy)
    texts = builtin() if source == BUILTIN else checked(lines_of(Path(source).read_bytes()), source)
    return Wanted(grid=grid, cold=cold, energy=energy, texts=texts, source=Path(source).name)
