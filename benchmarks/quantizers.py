"""What ONNX Runtime's quantizer and NNCF make of a student, beside ours: size, latency, labels kept.

    python -m benchmarks.quantizers runs/students

All forms have one shape (squeeze/graphs/backends), so what differs is how ranges are cut, how weights are
rounded and how the runtime reads what is written. NNCF may lose what `[export] int8_tolerance` allows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.forms import Variant, measured
from benchmarks.quality import macro_f1, rows_right
from benchmarks.students import student_name
from squeeze import pipeline

__all__ = ["main"]


@dataclass(frozen=True)
class Subject:
    """A student and its text.

    Attributes:
        fp32: its graph.
        training: texts that ranges are taken from.
        validation: texts that forms are judged on.
        labels: (N,) the right answers of these.
    """

    fp32: Path
    training: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    labels: NDArray[np.int64]


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose student.")] = "sst2",
    shape: Annotated[str, typer.Option(help="Which student: tiny or small.")] = "tiny",
    seed: Annotated[int, typer.Option(help="Which student.")] = 0,
    texts: Annotated[int, typer.Option(help="Training texts that ranges are taken from.")] = 512,
    length: Annotated[int, typer.Option(help="Tokens a text, for latency.")] = 48,
    blocks: Annotated[int, typer.Option(help="Blocks; in each, every file runs 10 times.")] = 60,
    results: Results = RESULTS,
) -> None:
    """Make and measure the int8 forms of all quantizers; writes quantizers-SET-SHAPE.json."""
    with tempfile.TemporaryDirectory() as folder:
        subject = _subject(runs / student_name(which, shape, seed), texts, Path(folder))
        variants = list(_variants(subject))
        found = measured(variants, length, blocks, seed)
        for name, report in _judged(variants, subject).items():
            found[name] |= report
    _show(found)
    head = {"set": which, "shape": shape, "seed": seed, "tokens": length, "texts": texts}
    write(results, f"quantizers-{which}-{shape}", {**head, "forms": found})


def _subject(run: Path, texts: int, folder: Path) -> Subject:
    from squeeze.data import dataset
    from squeeze.graphs import lean
    from squeeze.models import tokens
    from squeeze.models.storage import load_student
    from squeeze.stages.export.calibrating import feed, training_feeds
    from squeeze.stages.export.stage import ExportConfig

    made = pipeline.open_run(run)
    student, data = load_student(made["encoder"].path), dataset.load(made["dataset"].path)
    lean.export(student, folder / "model.onnx", lean.OPSET)
    kept = made["bundle"].manifest["config"]
    config = ExportConfig.parse({**kept, "export": {"calibration_texts": texts}})
    reach = min(config.task.max_length, student.shape.positions)
    tokenizer = tokens.make_tokenizer(tokens.read_spec(made["encoder"].path), reach)
    rows = tokens.encode(tokenizer, data.splits["validation"].texts)
    return Subject(
        folder / "model.onnx",
        training_feeds(config, data.splits["train"], tokenizer),
        [feed(rows[row]) for row in range(len(rows))],
        data.splits["validation"].labels,
    )


def _variants(subject: Subject) -> Iterator[Variant]:
    from squeeze.core.calibration import METHODS
    from squeeze.core.rounding import WEIGHT_BITS
    from squeeze.graphs import int8, static
    from squeeze.graphs.backends import by_nncf, by_onnxruntime
    from squeeze.graphs.calibration import calibrate
    from squeeze.stages.export.stage import ExportSection

    fp32, texts = subject.fp32, subject.training
    yield Variant("fp32", fp32)

    def to(form: str, by: str, method: str = "") -> Variant:
        name = ", ".join(filter(None, (form, by, method)))
        return Variant(name, fp32.with_suffix(f".{name.replace(', ', '.')}.onnx"))

    for by, quantize in (("squeeze", int8.quantize), ("onnxruntime", by_onnxruntime.dynamic)):
        made = to("int8-dynamic", by)
        quantize(fp32, made.path, weight_bits=WEIGHT_BITS)
        yield made
    for method in METHODS:
        made = to("int8-static", "squeeze", method)
        static.quantize(fp32, made.path, calibrate(fp32, texts, method, 1))
        yield made
    for method in by_onnxruntime.METHODS:
        made = to("int8-static", "onnxruntime", method)
        by_onnxruntime.static(fp32, made.path, texts, method, WEIGHT_BITS)
        yield made
    drop = ExportSection().int8_tolerance.metric_drop
    control = by_nncf.Control(subject.validation, subject.labels, macro_f1, rows_right, drop)
    for method in by_nncf.METHODS:
        made = to("int8-static", "nncf", method)
        by_nncf.static(fp32, made.path, texts, method, WEIGHT_BITS, control, 1)
        yield made


def _judged(variants: Sequence[Variant], subject: Subject) -> dict[str, dict[str, Any]]:
    """Each file on the validation text, against fp32."""
    from squeeze.stages.export.parity import compare

    said: dict[str, Any] = {}
    for each in variants:
        session = each.open()
        said[each.name] = np.concatenate(
            [session.run(["logits"], dict(feed))[0] for feed in subject.validation]
        )
    return {
        name: {
            **compare("fp32", said["fp32"], logits, subject.labels).plain(),
            "macro_f1": macro_f1(logits, subject.labels),
        }
        for name, logits in said.items()
    }


def _show(found: Mapping[str, Any]) -> None:
    for name, each in found.items():
        share, low, high = (each["against_fp32"][key] for key in ("value", "low", "high"))
        print(
            f"{name:36s} {each['p50_ms']:7.3f} ms  {share:6.3f} ({low:.3f} to {high:.3f})  "
            f"size {each['size_against_fp32']:.4f}  labels kept {each['agreement']:.4f}  "
            f"macro-F1 {each['macro_f1']:.4f}  spread {each['spread']:.4f}"
        )


if __name__ == "__main__":
    cli(main)
