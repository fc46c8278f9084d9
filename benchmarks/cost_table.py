"""Latencies predicted from the cost table against measured ones, of random students that it never saw.

    python -m benchmarks.cost_table

The space is that of students carved from MiniLM: hidden width 384, heads of 32, 1 to 6 layers, each with
1 to 12 heads and 64 to 1,536 neurons, 14,000 pieces in 96 codes. Students are exported as they are shipped,
with random weights, which do not change how long anything takes. The table's probes and the students run in
turns in one process: on shared cores the pace of a machine drifts by more than what is asked here, and the
question is whether the parts that probes are made of add up to a student. Ends with 1 when too few
predictions are near.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.cli.output import shown
from squeeze.errors import GateFailed
from squeeze.progress import Progress
from squeeze.stages.search.stage import PREDICTED
from squeeze.targets.cpu import measure
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import FORM_FILES, Subject

if TYPE_CHECKING:
    from squeeze.costs.request import CostRequest
    from squeeze.costs.table import CostTable
    from squeeze.models.encoder import EncoderShape

__all__ = ["NEAR", "SHARE", "main"]

NEAR, SHARE = 0.10, 0.95
"""A prediction is near within this share of the measured median; so many must be, in each form."""
DEPTH, HEADS, NEURONS, STEP = 6, 12, 1_536, 64
VOCABULARY = 14_000


def main(
    students: Annotated[int, typer.Option(help="How many random students.")] = 20,
    lengths: Annotated[str, typer.Option(help="Tokens a text: the table's grid.")] = "8,16,32,64,128",
    between: Annotated[
        str, typer.Option(help="Tokens a text at which students are judged.")
    ] = "12,16,27,48,100",
    min_runs: Annotated[int, typer.Option(help="Timed calls of each graph at least.")] = 800,
    most_seconds: Annotated[float, typer.Option(help="Seconds of each graph at most.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the choice of students.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Measure probes and students in turns; writes cost-table.json."""
    from squeeze.costs.measure import measuring, priced, written

    shapes, judged = _students(students, np.random.default_rng(seed)), _numbers(between)
    request = _request(_numbers(lengths), min_runs, most_seconds)
    timed = tuple(sorted({*request.lengths, *judged}))
    settings = measuring(request, 1)
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        probes = [replace(each, lengths=timed) for each in written(request, Path(folder), progress)]
        subjects = list(_subjects(shapes, timed, Path(folder), progress))
        started = time.monotonic()
        measured = measure([*probes, *subjects], settings, progress)
        took = time.monotonic() - started
    table = priced(request, settings.threads, measured[: len(probes)])
    rows = _rows(measured, len(probes), shapes, table, judged)
    record = _record(table, took, shapes, judged, rows, measured)
    write(results, "cost-table", record)
    for form, found in record["forms"].items():
        if found["share"] < SHARE:
            said = f"{form}: {found['share']:.1%} of the predictions within {NEAR:.0%}, at least {SHARE:.0%}"
            raise GateFailed(said, hint="on a quiet machine; the notes of the result say whether it was")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(number) for number in text.split(",")))


def _shape(layers: Sequence[tuple[int, int]]) -> EncoderShape:
    from squeeze.models.embedding import EmbeddingShape
    from squeeze.models.encoder import EncoderShape, LayerShape

    return EncoderShape(
        vocabulary=VOCABULARY,
        embedding=EmbeddingShape(kind="product", width=384, subvectors=96),
        hidden=384,
        head_size=32,
        layers=tuple(LayerShape(heads=heads, ffn=neurons) for heads, neurons in layers),
        positions=128,
        labels=3,
    )


def _request(lengths: Sequence[int], min_runs: int, most_seconds: float) -> CostRequest:
    from squeeze.costs.request import CostRequest

    ends = (_shape([(1, STEP)]), _shape([(HEADS, NEURONS)] * DEPTH))
    return CostRequest.spanning(ends, lengths, min_runs=min_runs, max_seconds=most_seconds)


def _students(count: int, generator: np.random.Generator) -> list[EncoderShape]:
    """Depth, heads and neurons drawn evenly, layer by layer."""
    return [
        _shape(
            [
                (
                    int(generator.integers(1, HEADS + 1)),
                    STEP * int(generator.integers(1, NEURONS // STEP + 1)),
                )
                for _ in range(generator.integers(1, DEPTH + 1))
            ]
        )
        for _ in range(count)
    ]


def _subjects(
    shapes: Sequence[EncoderShape], lengths: tuple[int, ...], folder: Path, progress: Progress
) -> Iterator[Subject]:
    import torch

    from squeeze.graphs import int8, lean
    from squeeze.models.encoder import Encoder

    torch.manual_seed(0)
    with progress.task("export students", len(shapes)) as advance:
        for number, shape in enumerate(shapes):
            paths = {
                form: folder / f"{number}-{file}" for form, file in FORM_FILES.items() if form in PREDICTED
            }
            lean.export(Encoder(shape).eval(), paths["fp32"], lean.OPSET)
            int8.quantize(paths["fp32"], paths["int8-dynamic"])
            for form, path in paths.items():
                yield Subject(path, str(number), form=form, vocabulary=VOCABULARY, lengths=lengths)
            advance(1)


def _rows(
    measured: Sequence[Measurement],
    probes: int,
    shapes: Sequence[EncoderShape],
    table: CostTable,
    lengths: Sequence[int],
) -> list[dict[str, Any]]:
    """Every student in both forms: levels by length, and what was predicted."""
    from squeeze.costs.measure import medians
    from squeeze.costs.model import levels

    found = np.array([levels(medians(measured, length)) for length in lengths]).T[probes:]
    rows = []
    for each, ms in zip(measured[probes:], found, strict=True):
        shape, form = shapes[int(each.name)], str(each.form)
        predicted = table.latencies_ms(shape, form, lengths)
        rows.append(
            {
                "student": int(each.name),
                "form": form,
                "layers": [[layer.heads, layer.ffn] for layer in shape.layers],
                "measured_ms": ms.tolist(),
                "predicted_ms": predicted.tolist(),
                "errors": (predicted / ms - 1).tolist(),
                "cv": each.cv,
            }
        )
    return rows


def _record(
    table: CostTable,
    took: float,
    shapes: Sequence[EncoderShape],
    lengths: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    measured: Sequence[Measurement],
) -> dict[str, Any]:
    notes = [note for each in measured for note in each.notes]
    return {
        "students": len(shapes),
        "lengths": list(lengths),
        "near": NEAR,
        "table": {
            "seconds": took,
            "probes": len(table.probes),
            "lengths": list(table.request.lengths),
            "prices": [each.plain() for each in table.prices],
            "notes": list(table.notes),
        },
        "forms": {form: _form([row for row in rows if row["form"] == form]) for form in PREDICTED},
        "rows": list(rows),
        "notes": list(dict.fromkeys(notes)),
    }


def _form(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How near the predictions of one form are, every length of every student counted."""
    errors = np.array([row["errors"] for row in rows])
    return {
        "share": float((np.abs(errors) <= NEAR).mean()),
        "worst": float(errors.ravel()[np.abs(errors).argmax()]),
        "mean": float(np.abs(errors).mean()),
    }


if __name__ == "__main__":
    cli(main)
