"""The table of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from squeeze import __version__
from squeeze.cli import benching, chain, devices, inspect, measure, reporting, searching, setup, sweeping
from squeeze.cli.output import emit

__all__ = ["app"]

app = typer.Typer(
    name="squeeze",
    help="Make a text classifier small and fast enough for the device, and prove that it is still good.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: the same in a terminal, a file and the documentation
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        emit(__version__)
        raise typer.Exit


@app.callback(epilog="Example: squeeze run profiles/smoke.toml")
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand after any command.")
    ] = False,
) -> None:
    """Make a text classifier small and fast enough for the device, and prove that it is still good."""


COMMANDS = (
    (chain.run, "Example: squeeze run profiles/smoke.toml --set bench.min_runs=50"),
    (chain.search, "Example: squeeze search profiles/bert_crisis_budget.toml --set budget.p95_ms=2"),
    (chain.distil, "Example: squeeze distil profiles/smoke.toml"),
    (chain.prune, "Example: squeeze prune profiles/smoke.toml --set prune.share=0.5"),
    (chain.quantize, "Example: squeeze quantize profiles/smoke.toml --set quantize.scheme=int8-static"),
    (chain.export, "Example: squeeze export profiles/smoke.toml"),
    (searching.search_cnn, "Example: squeeze search-cnn photos/ --budget parameters=280k --budget macs=40M"),
    (benching.bench, "Example: squeeze bench model.int8.onnx --baseline model.onnx --budget p95=5ms"),
    (sweeping.sweep, "Example: squeeze sweep model.onnx --threads 1,2 --batch 1,4,16 --limit p95=10ms"),
    (measure.gate, "Example: squeeze gate runs/smoke"),
    (inspect.plan, "Example: squeeze plan profiles/smoke.toml"),
    (inspect.explain, "Example: squeeze explain profiles/smoke.toml --set seed=7"),
    (setup.init, "Example: squeeze init --teacher builtin:minilm-l6 --train train.csv --test test.csv"),
    (measure.predict, "Example: squeeze predict runs/smoke 'we need water'"),
    (reporting.report, "Example: squeeze report runs/smoke --html report.html"),
    (setup.doctor, "Example: squeeze doctor model.onnx"),
)
for function, example in COMMANDS:
    app.command(epilog=example)(function)
app.add_typer(devices.app, name="device")
