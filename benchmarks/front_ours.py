"""What squeeze makes of one set without the tools of others: the teacher's forms, and its students'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.front_files import Entry, Training
from benchmarks.peer_files import SQUEEZE, Contestant, Subject
from squeeze.artifact import Artifact
from squeeze.stages.export.stage import ExportSection
from squeeze.targets.subjects import TOKENIZER, bundle_forms

__all__ = ["FP32", "NARROWEST", "SHIPPED", "of_student", "of_teacher"]

FP32 = "teacher fp32"
"""The uncompressed model, which all answers are compared with."""
SHIPPED = "int8-dynamic"
"""The form of a student that is held against others: what `squeeze` ships by default."""
NARROWEST = "int4-weight, tables in 4 bits"
PIECES = 14_000
"""Vocabulary of a trimmed teacher, as that of the students (benchmarks/profiles)."""


def of_teacher(
    teacher: Subject, labels: Sequence[str], texts: Sequence[str], longest: int
) -> Iterator[Entry]:
    """The fine-tuned model in every form, with its whole vocabulary and trimmed to what a task needs.

    Nothing is trained.

    Args:
        teacher: its fp32 graph, and its folder.
        labels: of the task.
        texts: of the task, without those that it is tested on; they decide which pieces stay.
        longest: tokens that a text is cut to.
    """
    source = teacher.transformers
    assert source is not None
    whole = source / TOKENIZER
    yield _entry(FP32, teacher.fp32, whole, "none")
    for name, path in _forms(teacher.fp32, teacher.train):
        yield _entry(f"teacher {name}", path, whole, "none")
    graph, cut, calibration = _trimmed(teacher, labels, texts, longest)
    for name, path in _forms(graph, calibration):
        yield _entry(f"teacher, trimmed vocabulary, {name}", path, cut, "none")


def of_student(shape: str, made: Mapping[str, Artifact], folder: Path) -> Iterator[Entry]:
    """All forms of a student's bundle, and the narrowest, which is made of its fp32 graph where it has one.

    Args:
        shape: of the student.
        made: what its run left.
        folder: where the narrowest goes.
    """
    from squeeze.graphs import int4

    bundle = made["bundle"].path
    files = {form: bundle / file for form, file in bundle_forms(bundle).items()}
    if "fp32" in files:
        narrow = folder / f"{shape}-narrow" / "model.onnx"
        narrow.parent.mkdir(parents=True)
        int4.quantize(files["fp32"], narrow, table_bits=4)
        files[NARROWEST] = narrow
    for form, path in files.items():
        yield _entry(f"{shape} {form}", path, bundle / TOKENIZER, "distilled")


def _entry(name: str, path: Path, tokenizer: Path, training: Training) -> Entry:
    return Entry(Contestant(name, SQUEEZE, path), training, tokenizer)


def _forms(fp32: Path, texts: Sequence[Sequence[int]]) -> Iterator[tuple[str, Path]]:
    """Name and file of each form of a graph.

    Args:
        fp32: the graph.
        texts: token numbers to calibrate on.
    """
    from squeeze.graphs import int4, int8, static
    from squeeze.graphs.calibration import calibrate
    from squeeze.stages.export.calibrating import feed

    folders = [fp32.parent / f"ours-{number}" for number in range(4)]
    for folder in folders:
        folder.mkdir()
    paths = [folder / "model.onnx" for folder in folders]
    feeds = [feed(np.array(text, dtype=np.int32)) for text in texts]
    int8.quantize(fp32, paths[0])
    static.quantize(fp32, paths[1], calibrate(fp32, feeds, ExportSection().calibration, 1))
    int4.quantize(fp32, paths[2])
    int4.quantize(fp32, paths[3], table_bits=4)
    yield from zip((SHIPPED, "int8-static", "int4-weight", NARROWEST), paths, strict=True)


def _trimmed(
    teacher: Subject, labels: Sequence[str], texts: Sequence[str], longest: int
) -> tuple[Path, Path, list[list[int]]]:
    """Graph and tokenizer with fewer pieces, and texts to calibrate on as they cut them."""
    from squeeze.graphs import lean
    from squeeze.models import conversion, slicing, tokens, vocabulary
    from squeeze.models.teacher import load_classifier

    source = teacher.transformers
    assert source is not None
    folder = teacher.fp32.parent / "trimmed"
    folder.mkdir()
    spec = tokens.read_spec(source)
    full = tokens.make_tokenizer(spec, max_length=1 << 20)
    trim = vocabulary.fill(spec, vocabulary.count(full, texts), PIECES)
    encoder: Any = conversion.read(load_classifier(source, tuple(labels), untrained_head=False))
    rows = np.array(trim.kept, dtype=np.int64)
    lean.export(slicing.select_rows(encoder, rows), folder / "model.onnx", lean.OPSET)
    tokens.write_spec(folder / TOKENIZER, trim.tokenizer)
    tokenizer = tokens.make_tokenizer(trim.tokenizer, longest)
    encoded = tokens.encode(tokenizer, texts[: len(teacher.train)])
    return folder / "model.onnx", folder / TOKENIZER, [encoded[row].tolist() for row in range(len(encoded))]
