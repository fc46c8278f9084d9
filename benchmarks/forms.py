"""What each exported form is worth: size and latency against fp32, all forms of a model in turns.

    python -m benchmarks.forms runs/students

Integer forms are timed twice: with exact products, as `squeeze` opens its sessions, and with ONNX
Runtime's default, which on x86 takes a kernel whose 16-bit sums can saturate. With weights of 7 bits they
cannot, and ONNX Runtime takes that kernel in both. Steps of int8-static come from random tokens, which
changes no latency.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, Results, cli, ratio, write
from benchmarks.datasets import chosen
from benchmarks.students import SHAPES, student_name
from squeeze import pipeline
from squeeze.errors import StageFailed
from squeeze.targets.ort import CPU, installed, options

__all__ = ["Variant", "main", "measured"]

CALLS = 10
"""Calls of one variant in a block."""
WARM = 30


@dataclass(frozen=True)
class Variant:
    """One file, opened in one way.

    Attributes:
        name: of the form and of how it is opened.
        path: the file.
        exact: whether integer products are.
    """

    name: str
    path: Path
    exact: bool = True

    def open(self) -> Any:
        """An ONNX Runtime session on one thread."""
        settings = options(threads=1, exact=self.exact)
        return installed("onnxruntime").InferenceSession(str(self.path), settings, providers=[CPU])


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose students.")] = "sst2",
    shapes: Annotated[str, typer.Option(help="Which students; their teacher is always measured.")] = ",".join(
        SHAPES
    ),
    seed: Annotated[int, typer.Option(help="Which student.")] = 0,
    length: Annotated[int, typer.Option(help="Tokens a text.")] = 48,
    blocks: Annotated[int, typer.Option(help="Blocks; in each, every variant runs 10 times.")] = 60,
    results: Results = RESULTS,
) -> None:
    """Measure the students and their teacher; writes forms-SET.json."""
    found: dict[str, Any] = {}
    wanted = chosen(shapes, SHAPES, "--shapes")
    with tempfile.TemporaryDirectory() as folder:
        for name, fp32 in _graphs(runs, which, wanted, seed, Path(folder)):
            variants = list(_variants(fp32, length))
            found[name] = measured(variants, length, blocks, seed)
            _show(name, found[name])
    write(results, f"forms-{which}", {"set": which, "seed": seed, "tokens": length, "models": found})


def _graphs(
    runs: Path, which: str, shapes: Sequence[str], seed: int, folder: Path
) -> Iterator[tuple[str, Path]]:
    """fp32 graphs of the students, and of the teacher exported as they are."""
    from squeeze.graphs import lean
    from squeeze.models import conversion
    from squeeze.models.storage import load_student
    from squeeze.models.teacher import load_classifier

    for shape in shapes:
        made = pipeline.open_run(runs / student_name(which, shape, seed))
        lean.export(load_student(made["encoder"].path), folder / f"{shape}.onnx", lean.OPSET)
        yield shape, folder / f"{shape}.onnx"
    labels = tuple(made["bundle"].manifest["config"]["task"]["labels"])
    teacher = load_classifier(made["teacher"].path / "members" / "0", labels, untrained_head=False)
    lean.export(conversion.read(teacher), folder / "teacher.onnx", lean.OPSET)
    yield "teacher", folder / "teacher.onnx"


def _variants(fp32: Path, length: int) -> Iterator[Variant]:
    from squeeze.graphs import int4, int8, static
    from squeeze.graphs.calibration import calibrate

    def to(name: str) -> Path:
        return fp32.with_suffix(f".{name.replace(' ', '-')}.onnx")

    yield Variant("fp32", fp32)
    scales = calibrate(fp32, [_feed(length, seed) for seed in range(8)], "minmax", 1)
    for bits in (8, 7):
        int8.quantize(fp32, to(f"dynamic{bits}"), weight_bits=bits)
        static.quantize(fp32, to(f"static{bits}"), scales, weight_bits=bits)
        for form in ("dynamic", "static"):
            for exact in (True, False):
                mode = "exact" if exact else "fast"
                yield Variant(f"int8-{form}, {bits} bits, {mode}", to(f"{form}{bits}"), exact)
    for accuracy in (4, 1):
        int4.quantize(fp32, to(f"int4-{accuracy}"), accuracy=accuracy)
        yield Variant(f"int4-weight, accuracy level {accuracy}", to(f"int4-{accuracy}"))
    int4.quantize(fp32, to("int4-tables"), table_bits=4)
    yield Variant("int4-weight, tables in 4 bits", to("int4-tables"))


def _feed(length: int, seed: int) -> dict[str, Any]:
    ids = np.random.default_rng(seed).integers(5, 10_000, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def measured(variants: list[Variant], length: int, blocks: int, seed: int) -> dict[str, Any]:
    """Latency, size and logits of each file against the first, all in turns on random tokens."""
    from squeeze.graphs.weights import bytes_by_kind

    sessions = {each.name: each.open() for each in variants}
    feeds = [_feed(length, place) for place in range(CALLS)]
    answers = {name: _answers(session, feeds) for name, session in sessions.items()}
    for session in sessions.values():
        _block(session, feeds * (WARM // CALLS))
    times: dict[str, list[list[float]]] = {name: [] for name in sessions}
    order = np.random.default_rng(seed)
    gc.disable()
    for _ in range(blocks):
        for name in order.permutation(list(sessions)):
            times[name].append(_block(sessions[name], feeds))
    gc.enable()
    size = variants[0].path.stat().st_size
    return {
        each.name: {
            "p50_ms": round(float(np.median(times[each.name])), 4),
            "against_fp32": ratio(times[each.name], times["fp32"]),
            "bytes": each.path.stat().st_size,
            "size_against_fp32": round(each.path.stat().st_size / size, 4),
            "stored": bytes_by_kind(each.path),
            "largest_difference": float(np.abs(answers[each.name] - answers["fp32"]).max()),
        }
        for each in variants
    }


def _answers(session: Any, feeds: list[dict[str, Any]]) -> Any:
    found = np.concatenate([session.run(["logits"], feed)[0] for feed in feeds])
    if not np.isfinite(found).all():
        raise StageFailed("logits are not finite")
    return found


def _block(session: Any, feeds: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for feed in feeds:
        start = time.perf_counter()
        session.run(["logits"], feed)
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def _show(name: str, found: Mapping[str, Any]) -> None:
    print(name)
    for variant, each in found.items():
        share = each["against_fp32"]["value"]
        print(f"  {variant:34s} {each['p50_ms']:8.3f} ms  {share:6.3f}  size {each['size_against_fp32']:.3f}")


if __name__ == "__main__":
    cli(main)
