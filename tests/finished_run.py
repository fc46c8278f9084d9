"""A finished run on disk, made in a moment: real artefacts around tiny files, no training.

run = finished_run.make(tmp_path / "runs" / "demo")
finished_run.make(folder, until="distil")       killed before the export
finished_run.rewrite(run, "gate", change)       a manifest that says something else, and has a digest for it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from squeeze import artifact, latest
from squeeze.data.dataset import write_split, write_unlabelled
from squeeze.distillation.config import PREDICTIONS
from squeeze.registry import STAGES
from tests import tiny_onnx
from tests.measured import measurement

LABELS = tiny_onnx.LABELS
CHAIN = ("data", "teacher", "search", "distil", "export", "bench", "gate")
KINDS = {stage.name: stage.gives for stage in STAGES}
TEXTS = (
    "the river rises now",
    "smoke burns the street",
    "quiet street",
    "river",
    "smoke now",
    "the quiet river burns",
)
TRUTH = (2, 1, 0, 2, 1, 0)
ENVIRONMENT = {"machine": "x86_64", "system": "Linux", "release": "6", "python": "3.11.7"}
ENVIRONMENT |= {"cpu": "Test CPU", "usable_cores": 2}  # type: ignore[dict-item]
SEARCHED = (("L2-F96", 1.0, 1.2, True), ("L4-F192", 2.0, 2.5, True), ("L4-F96", 2.1, 1.9, False))
POOL = {"labelled": 1, "unlabelled": 0, "augmented": 0, "replaced_tokens": 0, "dropped_tokens": 0}
POOL |= {"spliced_texts": 0}
VOCABULARY = {"pieces": 10, "kept": 10, "train_resegmented": 0.0, "test_resegmented": 0.0}
VOCABULARY |= {"test_texts_touched": 0.0, "unknown_before": 0.0, "unknown_after": 0.0}
SIZES = {"parameters": 300, "embedding_parameters": 200, "size_bytes": 1_200_000}


def quality(macro_f1: float, classes: int, rows: int = len(TEXTS)) -> dict[str, Any]:
    return tiny_onnx.quality(rows=rows, macro_f1=macro_f1, recall=[0.5] * classes)


def make(
    folder: Path,
    *,
    until: str = "gate",
    skip: Sequence[str] = (),
    labels: Sequence[str] = LABELS,
    texts: Sequence[str] = TEXTS,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Every stage up to one, and latest.json."""
    names = [name for name in CHAIN[: CHAIN.index(until) + 1] if name not in skip]
    folder.mkdir(parents=True)
    places: dict[str, artifact.Artifact] = {}
    for name in names:
        partial = folder / f"{name}.partial"
        partial.mkdir()
        result = WRITERS[name](partial, list(labels), list(texts))
        config = {"task": {"type": "text-classification", "labels": list(labels), "max_length": 8}}
        record = {"stage": name, "version": 1, "key": "0" * 64, "identity": {"libraries": {"numpy": "2"}}}
        record |= {"config": config | CONFIGS.get(name, {}), "result": result, "environment": ENVIRONMENT}
        places[name] = artifact.commit(
            partial, folder / f"{name}-0", KINDS[name], {**record, "seconds": 65.0, **(more or {})}
        )
    latest.record(folder, places, None, complete=until == "gate")
    return folder


def rewrite(run: Path, stage: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest, and have its digest say that it was so from the beginning."""
    reseal(run / f"{stage}-0" / artifact.MANIFEST, change)


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a sealed document and seal it again."""
    document = json.loads(path.read_text())
    document.pop("sha256", None)
    change(document)
    artifact.write_sealed(path, document)


def renew(run: Path, stage: str) -> None:
    """Compute the digests of an artefact anew, as if its files had always been so."""
    folder = run / f"{stage}-0"
    files = artifact.digest_files(folder)
    digest = artifact.digest_json(files)
    reseal(folder / artifact.MANIFEST, lambda manifest: manifest.update(files=files, digest=digest))

    def change(known: dict[str, Any]) -> None:
        for one in (known["shown"], known["last"]):
            one["stages"][stage]["digest"] = digest

    reseal(run / latest.LATEST, change)


def _data(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    truth = [place % len(labels) for place in TRUTH][: len(texts)]
    splits = {}
    for name in ("train", "validation", "test", "far_away"):
        write_split(out, name, texts, truth)
        per_label = {label: truth.count(place) for place, label in enumerate(labels)}
        splits[name] = {"rows": len(texts), "per_label": per_label, "source": f"/home/me/{name}.csv"}
        splits[name] |= {"sha256": "0" * 64, "dropped_duplicates": 0, "dropped_near_duplicates": 1_234}
    write_unlabelled(out, [])
    return {"splits": splits, "warnings": []}


def _teacher(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    """A teacher that is always right, and sure of it."""
    said = np.full((len(texts), len(labels)), -4.0, dtype=np.float32)
    for place in range(len(texts)):
        said[place, TRUTH[place] % len(labels)] = -0.1
    save_file(dict.fromkeys(("validation", "test", "far_away"), said), out / PREDICTIONS)
    found = {name: quality(0.9, len(labels), len(texts)) for name in ("validation", "test", "far_away")}
    shape = {"family": "bert", "layers": 6, "hidden": 384, "heads": 12, **SIZES, "size_bytes": 9_000_000}
    return {**shape, "parameters": 3000, "quality": found, "seconds": 1.0}


def _search(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    rows = [
        {"name": name, "student": {"layers": 2, "heads": 2, "ffn": 96}, "p50_ms": p95 / 2, "p95_ms": p95}
        | {"size_bytes": 1000, "parameters": 300, "scores": {}, "worth": worth, "front": front}
        for name, worth, p95, front in SEARCHED
    ]
    (out / "search.json").write_text(json.dumps({"rows": rows, "finalists": []}))
    tried = {"name": "L2-F96", "score": 0.7, "p95_ms": 1.2, "size_bytes": 1000, "seconds": 1.0}
    counts = {"space": "tiny", "candidates": 9, "proposed": 5, "scored": 3, "outside": 1}
    return {**counts, "chosen": rows[0], "front": rows[:2], "finalists": [tried], "seconds": {}}


def _distil(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    (out / "student.safetensors").write_bytes(b"0")
    cache = {"texts": 1, "computed": 0, "bytes": 0, "seconds": 0.0}
    made = {
        "embedding_variance_kept": 0.9,
        "vocabulary": VOCABULARY,
        "pool": POOL,
        "cache": cache,
        "phases": [],
    }
    found = {name: quality(0.8, len(labels), len(texts)) for name in ("validation", "test", "far_away")}
    return {**SIZES, **made, "quality": found, "transformers_folder": False, "seconds": 1.0}


def _export(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    out.rmdir()
    tiny_onnx.fill_bundle(out, labels=len(labels))
    (out / "labels.json").write_text(json.dumps({"labels": labels, "max_length": 8}))
    parity = {
        "source": "torch",
        "rows": 6,
        "max_abs": 0.0,
        "mean_abs": 0.0,
        "agreement": 1.0,
        "metric_drop": 0.0,
    }
    forms = {
        form: {
            "file": file,
            "size_bytes": 1_000_000 // size,
            "parity": parity,
            "quality": {
                name: quality(f1, len(labels), len(texts)) for name in ("validation", "test", "far_away")
            },
        }
        for form, file, size, f1 in (
            ("fp32", "model.onnx", 1, 0.8),
            ("int8-dynamic", "model.int8.onnx", 4, 0.79),
        )
    }
    return {"forms": forms, "tokenizer_bytes": 500, "lengths": [3, 4]}


def _bench(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    spread = np.random.default_rng(0).gamma(9.0, 0.2, (20, 20))
    measured = [
        measurement(file, file=file, form=form, blocks=(factor * spread).tolist(), cpu="Test CPU")
        for file, form, factor in (("model.onnx", "fp32", 1.0), ("model.int8.onnx", "int8-dynamic", 0.6))
    ]
    faster = {"name": "model.int8.onnx", "baseline": "model.onnx", "speedup": 1.6, "low": 1.5, "high": 1.7}
    faster |= {"confidence": 0.95, "blocks": 20, "interleaved": True}
    report = {"measurements": [each.plain() for each in measured], "comparisons": [faster]}
    (out / "measurements.json").write_text(json.dumps(report))
    speedups = {"fp32": {"value": 3.04, "low": 3.0, "high": 3.1}, "int8-dynamic": {"value": 18.3}}
    figures = {"p50_ms": {"value": 9.62}, "p95_ms": {"value": 11.0}, "calls": 40, "size_bytes": 9_100_000}
    teacher = {"runtime": "fp32 ONNX", "members": 1, **figures, "speedups": speedups}
    return {"measurements": [each.without_samples().plain() for each in measured], "teacher": teacher}


def _gate(out: Path, labels: list[str], texts: list[str]) -> dict[str, Any]:
    (out / "verdict.json").write_text("{}")
    checks = [
        {"name": "p95_ms", "value": 2.0, "limit": 4.0, "unit": "ms", "verdict": "pass", "note": "quick"},
        {"name": "size_mb", "value": 0.3, "limit": 0.2, "unit": "MB", "verdict": "fail"},
    ]
    return {"verdict": "fail", "form": "int8-dynamic", "checks": checks, "targets": ["cpu"]}


CONFIGS: Mapping[str, Any] = {
    "teacher": {"teacher": {"model": "builtin:minilm-l6", "finetune": {"epochs": 1}}},
    "search": {"budget": {"p95_ms": 2.2}},
}
WRITERS: Mapping[str, Callable[[Path, list[str], list[str]], dict[str, Any]]] = {
    "data": _data,
    "teacher": _teacher,
    "search": _search,
    "distil": _distil,
    "export": _export,
    "bench": _bench,
    "gate": _gate,
}
