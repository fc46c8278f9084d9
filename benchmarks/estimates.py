"""Estimated against measured latencies: random encoders on this machine, and published runs on other devices.

    python -m benchmarks.estimates

First, a device (`--target`, this machine by default) is calibrated as `squeeze device calibrate` does it,
and random encoders that the calibration never saw are estimated and measured there, in fp32 and both
integer forms. The small graphs and the encoders run in turns in one process: on shared cores the pace of a
machine drifts by more than what is asked here. `--apart` measures them one after the other, as a user
would, with the drift in it. Second, published latencies (published/latencies.csv) are held against the
shipped table; they are modelled by their stated operations alone. Some of these runs are where the table's
shares of the peak come from, so this shows that the intervals are wide enough for what is known, not that
they hold elsewhere. Ends with 1 when too few lie inside.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.cli.output import shown
from squeeze.core.stats import levels
from squeeze.errors import GateFailed
from squeeze.progress import Progress
from squeeze.targets.figures import medians
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import FORM_FILES, Subject

__all__ = ["ASKED", "NEAR", "WIDEST", "main", "published"]

PUBLISHED = Path(__file__).resolve().parent / "published" / "latencies.csv"
NEAR = 0.15
"""A middle is near within this share of the measured median."""
ASKED: Mapping[str, float] = {"inside": 0.9, "near": 0.9, "published": 0.8}
WIDEST = 1.5
"""Most that half the width of an interval may be, as a factor."""
FORMS = ("fp32", "int8-dynamic", "int8-static")
VOCABULARY = 4_000
WIDTHS, MOST_LAYERS = (64, 96, 128, 192, 256, 312, 384), 6


def main(
    encoders: Annotated[int, typer.Option(help="How many random encoders; 0: published runs alone.")] = 20,
    lengths: Annotated[
        str, typer.Option(help="Tokens a text at which encoders are judged.")
    ] = "12,27,64,100",
    min_runs: Annotated[int, typer.Option(help="Timed calls of each graph at least.")] = 240,
    most_seconds: Annotated[float, typer.Option(help="Seconds of each graph at most.")] = 10.0,
    apart: Annotated[bool, typer.Option("--apart", help="Calibrate first, then measure.")] = False,
    target: Annotated[str, typer.Option(help="cpu, ssh:[USER@]HOST[:PORT] or adb[:SERIAL].")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of the choice of encoders.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Calibrate, estimate, measure; writes estimates.json."""
    judged = tuple(sorted(int(each) for each in lengths.split(",")))
    record: dict[str, Any] = {
        "near": NEAR,
        "asked": dict(ASKED),
        "widest": WIDEST,
        "published": published(),
    }
    if encoders:
        with shown() as progress:
            record["here"] = _here(
                encoders, judged, (min_runs, most_seconds), progress, apart=apart, target=target, seed=seed
            )
    write(results, "estimates", record)
    for name, share in _shares(record).items():
        if share < ASKED[name]:
            raise GateFailed(f"{name}: {share:.1%}, at least {ASKED[name]:.0%}", hint="on a quiet machine")
    if "here" in record and record["here"]["spread"] > WIDEST:
        raise GateFailed(f"intervals: x {record['here']['spread']:.2f}, at most x {WIDEST:g}")


def published() -> list[dict[str, Any]]:
    """Every published run with the interval of its device."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return [_published(row) for row in csv.DictReader(file)]


def _published(row: Mapping[str, str]) -> dict[str, Any]:
    """The operations at the table's rate; nothing is known of a run's nodes and bytes."""
    from squeeze.estimates.table import rows

    device, threads, kind = rows()[row["device"]], int(row["threads"]), row["type"]
    rate = device.rates(threads).kinds["int8-static" if kind == "int8" else "product"].gops
    assert rate is not None
    # Halves are twice as many a vector; the table has floats only.
    middle, spread = float(row["gflop"]) / (rate * (2 if kind == "fp16" else 1)) * 1e3, device.width(threads)
    ms = float(row["ms"])
    return {
        **{name: row[name] for name in ("device", "type", "model", "source")},
        "threads": threads,
        "measured_ms": ms,
        "low_ms": middle / spread,
        "mid_ms": middle,
        "high_ms": middle * spread,
        "inside": middle / spread <= ms <= middle * spread,
    }


def _here(
    count: int,
    lengths: tuple[int, ...],
    effort: tuple[int, float],
    progress: Progress,
    *,
    apart: bool,
    target: str,
    seed: int,
) -> dict[str, Any]:
    """Random encoders on the device."""
    from dataclasses import replace

    from squeeze.estimates import calibrate, micro
    from squeeze.targets.devices.visiting import Habits
    from squeeze.targets.reach import measuring

    settings = replace(calibrate.settings(), min_runs=effort[0], max_seconds=effort[1])
    with tempfile.TemporaryDirectory() as folder:
        timed = tuple(sorted({*lengths, *micro.LENGTHS}))
        small = [replace(each, lengths=timed) for each in micro.written(Path(folder))]
        drawn = list(_encoders(count, timed, Path(folder), np.random.default_rng(seed), progress))
        turns = [small, drawn] if apart else [[*small, *drawn]]
        with measuring(target, Habits(), progress) as measure:
            measured = [each for turn in turns for each in measure(turn, settings, progress)]
        cut = len(small)
        found = calibrate.calibrated(target, small, measured[:cut], micro.LENGTHS, micro.LAYERS)
        rows = list(_rows(drawn, measured[cut:], found, lengths))
    return {
        "encoders": count,
        "lengths": list(lengths),
        "apart": apart,
        "target": target,
        "spread": found.spread,
        "graphs": cut,
        "rates": found.rates.plain(),
        "samples": [each.plain() for each in found.samples],
        "forms": {form: _form([row for row in rows if row["form"] == form]) for form in FORMS},
        "rows": rows,
        "notes": list(dict.fromkeys(note for each in measured for note in each.notes)),
    }


def _encoders(
    count: int, lengths: tuple[int, ...], folder: Path, generator: np.random.Generator, progress: Progress
) -> Iterator[Subject]:
    """Widths, depth, heads and neurons drawn evenly; one table in four is made of pieces."""
    import onnx_ir as ir

    from benchmarks.exports import random_student
    from squeeze.graphs import int8, lean, sites, static
    from squeeze.graphs.scales import Scales
    from squeeze.models.embedding import EmbeddingShape

    with progress.task("export encoders", count) as advance:
        for number in range(count):
            width = int(generator.choice(WIDTHS))
            pieces = {"kind": "product", "subvectors": width // 4} if number % 4 == 0 else {"kind": "dense"}
            layers, heads = int(generator.integers(1, MOST_LAYERS + 1)), int(generator.integers(1, 13))
            neurons = 32 * int(generator.integers(2, width // 8 + 1))
            table = EmbeddingShape(width=width, **pieces)
            student = random_student(VOCABULARY, table, 32, layers, heads, neurons, max(lengths))
            name = f"{layers}x{width}, {heads} heads, {neurons}, {pieces['kind']}"
            paths = {form: folder / f"drawn-{number}-{FORM_FILES[form]}" for form in FORMS}
            lean.export(student, paths["fp32"], lean.OPSET)
            int8.quantize(paths["fp32"], paths["int8-dynamic"])
            wide = sites.wide(ir.load(paths["fp32"]))
            static.quantize(paths["fp32"], paths["int8-static"], Scales(inputs=dict.fromkeys(wide, 0.05)))
            for form, path in paths.items():
                yield Subject(path, name, form=form, vocabulary=VOCABULARY, lengths=lengths)
            advance(1)


def _rows(
    drawn: Sequence[Subject], measured: Sequence[Measurement], found: Any, lengths: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Every encoder at every length: estimate and measured level."""
    from squeeze.estimates.estimate import interval
    from squeeze.estimates.known import Known
    from squeeze.estimates.trace import trace

    known = Known(found.rates, found.spread, found.source, calibrated=True)
    ms = np.array([levels(medians(measured, length)) for length in lengths]).T
    for subject, line in zip(drawn, ms, strict=True):
        nodes = trace(subject, lengths, 1, {})
        for length, took in zip(lengths, line.tolist(), strict=True):
            low, middle, high = interval(nodes[length], known)
            yield {
                "encoder": subject.name,
                "form": str(subject.form),
                "tokens": length,
                "measured_ms": took,
                "low_ms": low,
                "mid_ms": middle,
                "high_ms": high,
                "error": middle / took - 1,
                "inside": low <= took <= high,
            }


def _form(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    errors = np.array([row["error"] for row in rows])
    return {
        "inside": float(np.mean([row["inside"] for row in rows])),
        "near": float((np.abs(errors) <= NEAR).mean()),
        "mean": float(np.abs(errors).mean()),
        "worst": float(errors[np.abs(errors).argmax()]),
    }


def _shares(record: Mapping[str, Any]) -> dict[str, float]:
    """What is held against `ASKED`."""
    shares = {"published": float(np.mean([row["inside"] for row in record["published"]]))}
    if "here" in record:
        rows = _form(record["here"]["rows"])
        shares |= {"inside": rows["inside"], "near": rows["near"]}
    return shares


if __name__ == "__main__":
    cli(main)
