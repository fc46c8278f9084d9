"""`squeeze search-cnn`: rank CIFAR ResNets inside a budget, without a profile and without training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from squeeze.cli.options import AsJson, checked
from squeeze.cli.output import emit, emit_json, emit_table, shown

if TYPE_CHECKING:
    from squeeze.stages.search.cnn.settings import CnnResult, CnnRow

__all__ = ["search_cnn"]

Pictures: TypeAlias = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder with a folder of PNG or JPEG files a class, or .npz.")
]
Space: TypeAlias = Annotated[str, typer.Option(help="resnet-cifar or resnet-cifar-wide.")]
Limits: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="FIGURE=LIMIT",
        help="Such as parameters=280k, macs=40M, size=300KB or p50=3ms; repeatable.",
    ),
]
Score: TypeAlias = Annotated[
    str, typer.Option(help="Ranks: parameters, macs, diswot, diswot_relation, diswot_semantic or random.")
]
Blocks: TypeAlias = Annotated[
    str, typer.Option(metavar="N,N,N", help="Blocks of the teacher's stages; 9,9,9 is ResNet-56.")
]
Batch: TypeAlias = Annotated[int, typer.Option(help="Images that networks are compared on.")]
Starts: TypeAlias = Annotated[int, typer.Option(help="Random starts of each network, averaged.")]
Trials: TypeAlias = Annotated[int, typer.Option(help="Networks to propose; of fewer, all are looked at.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of images, starts and proposals.")]
Workers: TypeAlias = Annotated[int, typer.Option(help="Processes that score.")]
Storage: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="Optuna database to share the trials between machines.")
]
Folder: TypeAlias = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the result goes.")]
SHOWN = 20  # rows of the table; search.json has all


def search_cnn(
    images: Pictures,
    space: Space = "resnet-cifar",
    budget: Limits = None,
    score: Score = "parameters",
    teacher: Blocks = "9,9,9",
    batch: Batch = 64,
    starts: Starts = 5,
    trials: Trials = 200,
    seed: Seed = 0,
    workers: Workers = 1,
    storage: Storage = None,
    out: Folder = Path("runs/search-cnn"),
    as_json: AsJson = False,
) -> None:
    """Rank image classifiers (CIFAR ResNets) inside a budget, without training any.

    Writes arch.json, the depths and widths that were chosen, and search.json, every network inside the
    budget with all its scores. The same command goes on where it was cut short. Training the network is
    not part of squeeze, whose chain handles text.
    """
    from squeeze.runtime import need
    from squeeze.stages.search.cnn.settings import CnnLimits, CnnSearch

    limits = CnnLimits.read(budget or [])
    values = {"images": images, "space": space, "limits": limits, "score": score, "teacher": _blocks(teacher)}
    values |= {"batch": batch, "starts": starts, "trials": trials, "seed": seed, "workers": workers}
    config = checked(CnnSearch, {**values, "storage": storage}, {})
    for part in ("torch", "optuna"):
        need(part, extra="train")
    from squeeze.stages.search.cnn.run import search

    with shown() as progress:
        result = search(config, out, progress)
    if as_json:
        emit_json(result.plain())
        return
    _show(result)
    emit(f"\nwritten: {out}")


def _blocks(text: str) -> tuple[int, ...]:
    from squeeze.errors import UsageError, brief

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--teacher {brief(text, 80)!r}: not N,N,N", hint="9,9,9 is ResNet-56") from error


def _show(result: CnnResult) -> None:
    """The best rows, and what was chosen by what."""
    timed = result.limits.p50 is not None
    names = list(result.chosen.scores)
    costs = ("network", "parameters", "M macs", "int8 KB", *(("p50 ms",) if timed else ()))
    scores = [name for name in names if name not in ("parameters", "macs", "latency")]
    rows = [
        (*_costs(row), *(f"{row.scores[name]:.3g}" for name in scores), "*" * row.front)
        for row in result.rows
    ]
    emit_table((*costs, *scores, "front"), rows[:SHOWN])
    if len(rows) > SHOWN:
        emit(f"and {len(rows) - SHOWN} more in search.json")
    emit(
        f"\n{result.chosen.name} is the first of {len(rows)} networks by {result.score}; "
        f"{result.inside} of {result.candidates} in {result.space} are inside the budget"
    )
    if result.semantic == "extension":
        emit("diswot_semantic compares samples, not classes: the paper's needs one width of the last layer")


def _costs(row: CnnRow) -> Iterator[str]:
    yield from (row.name, f"{row.parameters:,}", f"{row.macs / 1e6:.1f}", f"{row.int8_bytes / 1e3:.1f}")
    if row.p50_ms is not None:
        yield f"{row.p50_ms:.2f}"
