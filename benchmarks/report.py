"""Write RESULTS.md from the JSON files of all benchmarks: `python -m benchmarks.report`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import quantize_section, score_sections, sections
from benchmarks.agreement_section import agreement
from benchmarks.any_section import any_models
from benchmarks.cnn_section import cnn_search
from benchmarks.common import RESULTS, cli, read
from benchmarks.estimates_section import estimates
from benchmarks.faults_section import faults
from benchmarks.forms_section import forms
from benchmarks.front_section import fronts
from benchmarks.gate_section import gate
from benchmarks.init_section import first_files, run_times
from benchmarks.mobile_section import mobile_formats
from benchmarks.mutated_section import mutated_data, mutated_models, mutated_profiles
from benchmarks.near_section import near_duplicates
from benchmarks.order_section import label_order
from benchmarks.peers_section import peers
from benchmarks.prune_section import prune
from benchmarks.readers_section import readers
from benchmarks.reference_section import reference_units
from benchmarks.store_section import flipped_bytes, mutated_bundles
from benchmarks.tables import Record, source
from benchmarks.training_section import training_peers

__all__ = ["SECTIONS", "Section", "main", "render"]

HEAD = """# Results

Written by `python -m benchmarks.report` from the files in results/; do not edit. What each script
shows and how long it takes: README.md. Intervals are at 95 %; a limit inside one is inconclusive.
"""


@dataclass(frozen=True)
class Section:
    """One heading of the report.

    Attributes:
        title: the heading.
        files: pattern of its result files.
        draw: from a record to lines.
        command: what makes the files.
    """

    title: str
    files: str
    draw: Callable[[Record], list[str]]
    command: str


SECTIONS = (
    Section("Students", "students-*", sections.students, "python -m benchmarks.students ../shared/data"),
    Section("Speed", "speed-*", sections.speed, "python -m benchmarks.speed runs/students"),
    Section("Lean graph", "graph", sections.graph, "python -m benchmarks.graph"),
    Section("Choices in the graph", "lean", sections.lean, "python -m benchmarks.lean"),
    Section(
        "Initialisation",
        "initialisation",
        sections.initialisation,
        "python -m benchmarks.initialisation ../shared/data",
    ),
    Section("Pruning", "prune-*", prune, "python -m benchmarks.prune runs/students"),
    Section(
        "Quantization", "quantize-*", quantize_section.quantize, "python -m benchmarks.quantize runs/students"
    ),
    Section(
        "Cost of training while rounded",
        "qat-cost-*",
        quantize_section.cost,
        "python -m benchmarks.qat_cost runs/students",
    ),
    Section("Teacher cache", "cache", sections.cache, "python -m benchmarks.cache ../shared/data"),
    Section(
        "Scores without training",
        "correlation-*",
        score_sections.correlation,
        "python -m benchmarks.correlation ../shared/data",
    ),
    Section(
        "DisWOT's published pair",
        "faithful",
        score_sections.faithful,
        "python -m benchmarks.faithful ../shared/data",
    ),
    Section(
        "DisWOT's 64 ResNets", "cnn-search", cnn_search, "python -m benchmarks.cnn_search ../shared/data"
    ),
    Section("Forms", "forms-*", forms, "python -m benchmarks.forms runs/students"),
    Section("Peers", "peers-*", peers, "python -m benchmarks.peers runs/students"),
    Section(
        "Training beside peers",
        "training-peers-*",
        training_peers,
        "python -m benchmarks.training_peers ../shared/data --limit 1000",
    ),
    Section("Fronts", "front-*", fronts, "python -m benchmarks.front runs/students"),
    Section("Reference units", "reference-units", reference_units, "python -m benchmarks.reference_units"),
    Section("Other runtimes", "mobile-formats", mobile_formats, "python -m benchmarks.mobile_formats"),
    Section("Cost table", "cost-table", sections.cost_table, "python -m benchmarks.cost_table"),
    Section("Gate", "gate-trials", gate, "python -m benchmarks.gate_trials"),
    Section("Models of others", "any-models", any_models, "python -m benchmarks.any_models"),
    Section("Estimates", "estimates", estimates, "python -m benchmarks.estimates"),
    Section("Killed and started again", "kill", sections.kill, "python -m benchmarks.kill"),
    Section("Without network", "offline", sections.offline, "benchmarks/offline.sh"),
    Section("Agreement", "agreement", agreement, "python -m benchmarks.agreement"),
    Section("Start", "startup", sections.startup, "python -m benchmarks.startup"),
    Section("Inputs read wrongly once", "faults", faults, "python -m benchmarks.faults ../shared/faults"),
    Section("Random teachers", "readers", readers, "python -m benchmarks.readers"),
    Section(
        "Mutated profiles", "mutated-profiles", mutated_profiles, "python -m benchmarks.mutated_profiles"
    ),
    Section("Mutated data files", "mutated-data", mutated_data, "python -m benchmarks.mutated_data"),
    Section("Mutated model files", "mutated-models", mutated_models, "python -m benchmarks.mutated_models"),
    Section(
        "Near-duplicates",
        "near-duplicates",
        near_duplicates,
        "python -m benchmarks.near_duplicates ../shared/data",
    ),
    Section("Order of labels", "label-order", label_order, "python -m benchmarks.label_order"),
    Section("Flipped bytes", "flipped-bytes", flipped_bytes, "python -m benchmarks.flipped_bytes runs/smoke"),
    Section(
        "Mutated bundles",
        "mutated-bundles",
        mutated_bundles,
        "python -m benchmarks.mutated_bundles runs/smoke",
    ),
    Section(
        "Files that nobody prepared",
        "first-files",
        first_files,
        "python -m benchmarks.first_files ../shared/data",
    ),
    Section(
        "Time that init predicts", "run-times", run_times, "python -m benchmarks.run_times ../shared/data"
    ),
    Section("First run", "first-run", sections.first_run, "benchmarks/first_run.sh"),
)


def main(
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the JSON files.")] = RESULTS,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="RESULTS.md beside them.")] = None,
) -> None:
    """Write the report."""
    target = output or results.parent / "RESULTS.md"
    target.write_text(render(results), encoding="utf-8")
    typer.echo(f"{target} written")


def render(results: Path) -> str:
    """The whole page."""
    lines = [HEAD]
    for section in SECTIONS:
        lines += [f"## {section.title}", "", *_body(section, results)]
    return "\n".join(lines)


def _body(section: Section, results: Path) -> Iterator[str]:
    paths = sorted(results.glob(f"{section.files}.json"))
    if not paths:
        yield from (f"Not measured yet: `{section.command}`", "")
    for path in paths:
        record = read(path)
        yield from (*section.draw(record), "", f"Made by {source(record)}", "")


if __name__ == "__main__":
    cli(main)
