"""The tiny student in the formats of other runtimes: does it compute the same, and how big is it?

    python -m benchmarks.mobile_formats

Random weights of the tiny shape, real text: the validation split of the built-in corpus, every text padded to
the fixed length. Formats whose extra is not installed are left out and named. No times: those of this machine
say nothing about a phone, and a runtime that is fast there may not be fast here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.errors import MissingBackend
from squeeze.runtime import need, versions

__all__ = ["main"]

CORPUS, TOKENIZER = "builtin:crisis-demo", "builtin:minilm-l6"
VOCABULARY, POSITIONS = 30_522, 128
TABLES = {"product": {"kind": "product", "subvectors": 96}, "dense": {"kind": "dense"}}


def main(
    length: Annotated[int, typer.Option(help="Tokens of the fixed shape.")] = 64,
    texts: Annotated[int, typer.Option(help="Validation texts at most.")] = 200,
    results: Results = RESULTS,
) -> None:
    """Convert, run and compare; writes mobile-formats.json."""
    from squeeze.stages.export.stage import FORMATS

    rows = _rows(length, texts)
    missing = {name: reason for name in FORMATS if (reason := _missing(name))}
    found = {
        table: {name: _one(name, table, length, rows) for name in ("onnx", *FORMATS) if name not in missing}
        for table in TABLES
    }
    record = {"tokens": length, "texts": len(rows), "missing": missing, "tables": found}
    write(results, "mobile-formats", record)
    for table, formats in found.items():
        for name, each in formats.items():
            print(f"{table:<8} {name:<11} {each['size_bytes'] / 1e6:6.2f} MB  {each['max_abs']:.2g}")


def _missing(name: str) -> str:
    """Why a format cannot be made here; empty where it can."""
    from squeeze.stages.export.stage import FORMATS

    try:
        for module in FORMATS[name].modules:
            need(module, FORMATS[name].extra)
    except MissingBackend as error:
        return error.message
    return ""


def _rows(length: int, most: int) -> Any:
    from squeeze.data import corpus
    from squeeze.models import hub, tokens

    tokenizer = tokens.make_tokenizer(tokens.read_spec(hub.resolve(TOKENIZER)), length)
    return tokens.encode(tokenizer, corpus.read(CORPUS, "validation").texts[:most])


def _student(table: str) -> Any:
    """The shape of benchmarks/profiles/tiny.toml; weights large enough that texts get different logits."""
    from benchmarks.exports import random_student
    from squeeze.models.embedding import EmbeddingShape

    shape = EmbeddingShape.parse({"width": 384, **TABLES[table]})
    student = random_student(VOCABULARY, shape, head_size=32, layers=3, heads=4, ffn=384)
    with torch.no_grad():
        for name, value in student.named_parameters():
            if value.ndim == 2 and "embedding" not in name:
                value *= 3
    return student


def _one(name: str, table: str, length: int, rows: Any) -> dict[str, Any]:
    """Size of all files, and the differences of logits from torch's."""
    from squeeze.stages.export.stage import FORMATS

    student = _student(table)
    said = _torch(student, rows)
    with tempfile.TemporaryDirectory() as folder:
        answers, files = _converted(name, student, length, rows, Path(folder))
        size = sum(path.stat().st_size for path in files)
    apart = np.abs(answers.astype(np.float64) - said)
    libraries = ("onnx", "onnxruntime") if name == "onnx" else FORMATS[name].libraries
    return {
        "size_bytes": size,
        "max_abs": float(apart.max()),
        "largest_logit": float(np.abs(said).max()),
        "kept": float((answers.argmax(1) == said.argmax(1)).mean()),
        "libraries": versions(libraries),
    }


def _torch(student: Any, rows: Any) -> NDArray[np.float64]:
    """Of every text alone, without padding."""
    return np.concatenate(list(_torch_rows(student, rows)))


def _torch_rows(student: Any, rows: Any) -> Iterator[NDArray[np.float64]]:
    with torch.no_grad():
        for row in range(len(rows)):
            ids = torch.from_numpy(rows[row].astype(np.int64))[None]
            yield student(ids, torch.ones_like(ids)).double().numpy()


def _converted(name: str, student: Any, length: int, rows: Any, folder: Path) -> tuple[Any, list[Path]]:
    from squeeze.graphs import lean
    from squeeze.graphs.mobile.fixed import Fixed, padded
    from squeeze.stages.export.mobile import WAYS
    from squeeze.targets.ort import open_session

    if name == "onnx":
        path = folder / "model.onnx"
        lean.export(student, path, lean.OPSET)
        session = open_session(path, threads=1)
        ids = [rows[row].astype(np.int64)[None] for row in range(len(rows))]
        feeds = [{"input_ids": each, "attention_mask": np.ones_like(each)} for each in ids]
        return np.concatenate([session.run(["logits"], feed)[0] for feed in feeds]), [path]
    way = WAYS[name]
    files = way.convert(Fixed(student, length, whole_table=way.whole_table), folder)
    answer = way.open_model(files)
    return np.concatenate([answer(*padded(rows[row], length)) for row in range(len(rows))]), list(files)


if __name__ == "__main__":
    cli(main)
