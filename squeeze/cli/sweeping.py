"""`squeeze sweep`: threads, batches and lengths, cold starts, text to label; loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from squeeze.cli.options import AsJson, checked
from squeeze.cli.output import emit, emit_json, exit_code, shown, writable

if TYPE_CHECKING:
    from squeeze.sweeping.run import Wanted

__all__ = ["sweep"]

NAMES = {
    "sequence": "seq",
    "min_runs": "min-runs",
    "min_seconds": "seconds",
    "max_seconds": "max-seconds",
}  # of options, by key


def sweep(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL|BUNDLE", help="ONNX or ORT file, or bundle folder.")
    ],
    threads: Annotated[
        str | None, typer.Option(metavar="1,2", help="Threads inside one operator; 1 by default.")
    ] = None,
    batch: Annotated[str | None, typer.Option(metavar="1,4", help="Texts a call; 1,4,16 by default.")] = None,
    seq: Annotated[
        str | None,
        typer.Option(
            metavar="16,own",
            help="Tokens a text; own: as the model or its bundle knows; 16,64,128 by default. "
            "A bundle's own lengths are always added.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option(metavar="NAME", help="Form of a bundle; the one that ships by default.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="p95=10ms", help="Find the most texts a second under this latency.")
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="First answers of fresh processes, cold and warm page cache.")
    ] = False,
    texts: Annotated[
        str | None,
        typer.Option(metavar="FILE|builtin", help="Time text to label with a bundle: a text a line."),
    ] = None,
    energy: Annotated[
        bool, typer.Option("--energy", help="Joules a call of each point, where RAPL is readable.")
    ] = False,
    passes: Annotated[int, typer.Option(help="Walks over the grid, each in random order.")] = 6,
    repeats: Annotated[int, typer.Option(help="Cold starts, and as many warm ones.")] = 7,
    min_runs: Annotated[int, typer.Option(help="Timed calls of a point at least.")] = 200,
    seconds: Annotated[float, typer.Option(help="Seconds of timed calls of a point at least.")] = 1.5,
    max_seconds: Annotated[float, typer.Option(help="Most seconds of a point.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of inputs and order.")] = 0,
    confidence: Annotated[float, typer.Option(help="Confidence of the intervals.")] = 0.95,
    as_json: AsJson = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the report as Markdown.")
    ] = None,
) -> int:
    """Measure threads x batches x lengths, cold starts, text to label.

    --cold and --texts leave the grid out, unless a part of it or --limit or --energy is given. With --limit
    the exit code is 1 when no point keeps it and 5 when the figures are too noisy to say.
    """
    from squeeze.sweeping import formats, options, run

    writable(markdown)
    values: dict[str, Any] = {"passes": passes, "repeats": repeats, "seed": seed, "confidence": confidence}
    values |= {"min_runs": min_runs, "min_seconds": seconds, "max_seconds": max_seconds}
    values |= {} if threads is None else {"threads": options.parse_counts(threads, "--threads")}
    values |= {} if batch is None else {"batch": options.parse_counts(batch, "--batch")}
    values |= {} if seq is None else {"sequence": options.parse_lengths(seq)}
    values |= {} if limit is None else {"limit": options.parse_limit(limit)}
    found = checked(options.SweepOptions, values, NAMES)
    grid = energy or not (cold or texts) or any(part is not None for part in (threads, batch, seq, limit))
    wanted = _wanted(texts, grid=grid, cold=cold, energy=energy)
    with shown() as progress:
        report = run.run(model, form, wanted, found, progress)
    drawn = formats.markdown(report)
    if markdown is not None:
        markdown.write_text(drawn, encoding="utf-8")
    if as_json:
        emit_json(report.plain())
    else:
        emit(drawn.rstrip("\n"))
    return exit_code(report.choice.verdict if report.choice else None)


def _wanted(source: str | None, *, grid: bool, cold: bool, energy: bool) -> Wanted:
    from squeeze.cli.measure import lines_of
    from squeeze.sweeping.run import Wanted
    from squeeze.sweeping.texts import BUILTIN, builtin, checked

    if source is None:
        return Wanted(grid=grid, cold=cold, energy=energy)
    texts = builtin() if source == BUILTIN else checked(lines_of(Path(source).read_bytes()), source)
    return Wanted(grid=grid, cold=cold, energy=energy, texts=texts, source=Path(source).name)
