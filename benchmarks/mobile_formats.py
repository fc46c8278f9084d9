"""The tiny student in the formats of other runtimes: does it compute the same, how big and how fast is it?

    python -m benchmarks.mobile_formats

Random weights of the tiny shape, real text: the validation split of the built-in corpus, every text padded to
the fixed length. Formats whose extra is not installed, and those that this machine cannot run, are named.

Latency is that of this host and says nothing of a phone: a runtime that is fast there may not be fast here.
One thread, one text a call, all formats open side by side in one process, taken in turns of some calls, each
turn beginning with the next one; the ratio is that of a turn's median to that of model.onnx in the same turn.
The record says what share of the time the process computed: well below 1, others were on its core, and no
time is worth anything. Run it on a core that nothing else uses.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.errors import MissingBackend
from squeeze.graphs.mobile.fixed import padded
from squeeze.runtime import environment, need, versions

if TYPE_CHECKING:
    from squeeze.stages.export.stage import FormatName

__all__ = ["main"]

CORPUS, TOKENIZER = "builtin:crisis-demo", "builtin:minilm-l6"
VOCABULARY, POSITIONS = 30_522, 128
TABLES: Mapping[str, Mapping[str, Any]] = {
    "product": {"kind": "product", "subvectors": 96},
    "dense": {"kind": "dense"},
}


def main(
    length: Annotated[int, typer.Option(help="Tokens of the fixed shape.")] = 64,
    texts: Annotated[int, typer.Option(help="Validation texts at most.")] = 200,
    turns: Annotated[int, typer.Option(help="Turns that latency is taken in.")] = 20,
    calls: Annotated[int, typer.Option(help="Calls of each format a turn.")] = 25,
    results: Results = RESULTS,
) -> None:
    """Convert, run, compare and time; writes mobile-formats.json."""
    from squeeze.stages.export.stage import FORMATS

    rows = _rows(length, texts)
    missing = {name: reason for name in FORMATS if (reason := _missing(name))}
    names = [name for name in ("onnx", *FORMATS) if name not in missing]
    found, shares = {}, {}
    for table in TABLES:
        found[table], shares[table] = _table(table, names, length, rows, (turns, calls))
    record = {
        "tokens": length,
        "texts": len(rows),
        "turns": turns,
        "calls": calls,
        "computing_share": min(shares.values()),
        "environment": environment(),
        "missing": missing,
        "tables": found,
    }
    write(results, "mobile-formats", record)
    print(f"the process computed {100 * min(shares.values()):.0f} % of the time that it was timed")
    for table, formats in found.items():
        for name, each in formats.items():
            print(f"{table:<8} {name:<16} {each['size_bytes'] / 1e6:6.2f} MB  {_told(each)}")


def _told(each: Mapping[str, Any]) -> str:
    if "unchecked" in each:
        return f"not checked: {each['unchecked']}"
    ratio = each["ratio"]
    return (
        f"{each['max_abs']:.2g}  {100 * each['kept']:.1f} %  {each['ms']:.3f} ms, "
        f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) of onnx"
    )


def _missing(name: FormatName) -> str:
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
    return tokens.encode(tokenizer, corpus.read(CORPUS, "validation").values["text"][:most])


def _student(table: str) -> Any:
    """The shape of benchmarks/profiles/tiny.toml; weights large enough that texts get different logits."""
    from benchmarks.exports import random_student
    from squeeze.models.embedding import EmbeddingShape

    shape = EmbeddingShape.parse({"width": 384, **TABLES[table]})
    student = random_student(VOCABULARY, shape, head_size=32, layers=3, heads=4, ffn=384)
    with torch.no_grad():
        for name, value in student.named_parameters():
            if value.ndim == 2 and "embedding" not in name:
                value.mul_(3)
    return student


def _table(
    table: str, names: Sequence[str], length: int, rows: Any, timing: tuple[int, int]
) -> tuple[dict[str, dict[str, Any]], float]:
    """Size, differences from torch and latency of every format with one kind of table; share of computing."""
    student = _student(table)
    said = _torch(student, rows)
    found: dict[str, dict[str, Any]] = {}
    running: dict[str, Any] = {}
    feeds = [padded(rows[row], length) for row in range(len(rows))]
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            folder = Path(scratch) / name
            folder.mkdir()
            found[name], answer = _converted(name, student, length, folder)
            if answer is not None:
                running[name] = answer
                found[name] |= _apart(said, np.concatenate([answer(*feed) for feed in feeds]))
        began, computed = time.perf_counter(), time.process_time()
        for name, times in _times(running, feeds, *timing).items():
            found[name] |= times
        share = (time.process_time() - computed) / (time.perf_counter() - began)
    return found, share


def _apart(said: NDArray[np.float64], answers: NDArray[np.float32]) -> dict[str, float]:
    """How far logits are from torch's."""
    apart = answers.astype(np.float64) - said
    return {
        "max_abs": float(np.abs(apart).max()),
        "largest_logit": float(np.abs(said).max()),
        "spread": _spread(apart) / _spread(said),
        "kept": float((answers.argmax(1) == said.argmax(1)).mean()),
    }


def _spread(logits: NDArray[np.float64]) -> float:
    """As `int8_tolerance.spread` counts it: each text's mean is taken away."""
    return float(np.sqrt(((logits - logits.mean(axis=1, keepdims=True)) ** 2).mean()))


def _times(
    running: Mapping[str, Any], feeds: Sequence[Any], turns: int, calls: int
) -> dict[str, dict[str, Any]]:
    """Median ms a call, and the ratio of a turn's median to that of onnx: its median and quartiles."""
    medians: dict[str, list[float]] = {name: [] for name in running}
    names = list(running)
    for turn in range(turns + 1):  # the first one warms up
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            took = [_ms(running[name], feeds[(turn * calls + call) % len(feeds)]) for call in range(calls)]
            medians[name].append(float(np.median(took)))
    onnx = np.array(medians["onnx"][1:])
    found = {}
    for name, each in medians.items():
        low, value, high = np.percentile(np.array(each[1:]) / onnx, (25, 50, 75))
        ratio = {"value": float(value), "low": float(low), "high": float(high)}
        found[name] = {"ms": float(np.median(each[1:])), "ratio": ratio}
    return found


def _ms(answer: Any, feed: Any) -> float:
    start = time.perf_counter()
    answer(*feed)
    return 1e3 * (time.perf_counter() - start)


def _torch(student: Any, rows: Any) -> NDArray[np.float64]:
    """Of every text alone, without padding."""
    return np.concatenate(list(_torch_rows(student, rows)))


def _torch_rows(student: Any, rows: Any) -> Iterator[NDArray[np.float64]]:
    with torch.no_grad():
        for row in range(len(rows)):
            ids = torch.from_numpy(rows[row].astype(np.int64))[None]
            yield student(ids, torch.ones_like(ids)).double().numpy()


def _converted(name: str, student: Any, length: int, folder: Path) -> tuple[dict[str, Any], Any]:
    """What is known of the files, and what runs them; None where this machine cannot."""
    from squeeze.graphs import lean
    from squeeze.graphs.mobile.fixed import Fixed
    from squeeze.stages.export.mobile import WAYS
    from squeeze.stages.export.stage import FORMATS

    if name == "onnx":
        path = folder / "model.onnx"
        lean.export(student, path, lean.OPSET)
        known = _known([path], "fp32", ("onnx", "onnxruntime"))
        return known, _in_onnxruntime(path)
    other = cast("FormatName", name)
    way = WAYS[other]
    files = way.convert(Fixed(student, length, whole_table=way.whole_table), folder)
    known = _known(files, way.precision, FORMATS[other].libraries)
    if reason := way.unable():
        return known | {"unchecked": reason}, None
    return known, way.open_model(files)


def _known(files: Sequence[Path], precision: str, libraries: tuple[str, ...]) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in files)
    return {"size_bytes": size, "precision": precision, "libraries": versions(libraries)}


def _in_onnxruntime(path: Path) -> Any:
    """Our own file, on the same padded text as the others."""
    from squeeze.targets.ort import open_session

    session = open_session(path, threads=1)

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        seen = (mask.reshape(1, -1) == 0).astype(np.int64)
        logits: NDArray[np.float32] = session.run(
            ["logits"], {"input_ids": ids.astype(np.int64), "attention_mask": seen}
        )[0]
        return logits

    return answer


if __name__ == "__main__":
    cli(main)
