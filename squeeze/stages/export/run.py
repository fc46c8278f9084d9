"""Write the bundle: every form converted from the one before it, compared, then measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from squeeze.artifact import Artifact, write_json
from squeeze.core.metrics import Quality, quality
from squeeze.data import dataset
from squeeze.data.dataset import Dataset
from squeeze.models import tokens
from squeeze.models.storage import load_student
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.stages.export import graph, int8, parity
from squeeze.stages.export.card import model_card
from squeeze.stages.export.stage import ExportConfig, ExportResult, FormResult
from squeeze.targets.ort import guarded, open_session

__all__ = ["run"]

FILES = {"fp32": "model.onnx", "int8-dynamic": "model.int8.onnx"}
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """What every form is measured on.

    Attributes:
        data: all splits.
        encoded: held-out splits in the student's token numbers.
        teacher: the teacher's log-probabilities by split.
        work: where files go.
    """

    data: Dataset
    encoded: Mapping[str, Encodings]
    teacher: Mapping[str, Logits]
    work: Work

    def predict(self, path: Path) -> dict[str, Logits]:
        """Logits of an ONNX file on every held-out split, one text a call.

        Texts are not batched: dynamic quantization takes one scale for the whole call, so a text's
        answer would depend on its neighbours, and on the device it has none.
        """
        session = open_session(path, threads=self.work.threads)
        total = sum(map(len, self.encoded.values()))
        with guarded(path, "run"), self.work.progress.task(f"check {path.name}", total) as advance:
            found: dict[str, Logits] = {}
            for split, rows in self.encoded.items():
                found[split] = np.concatenate([session.run(["logits"], _feed(row))[0] for row in rows])
                advance(len(rows))
        return found

    def qualities(self, found: Mapping[str, Logits]) -> dict[str, Quality]:
        """Quality of every split."""
        return {
            name: quality(rows, self.data.splits[name].labels, self.teacher[name])
            for name, rows in found.items()
        }


def run(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> ExportResult:
    """Make model.onnx, the quantized forms that are asked for, and what belongs to them."""
    torch.set_num_threads(work.threads)
    ground = _ground(config, inputs, work)
    student = load_student(inputs["encoder"].path)
    fp32 = work.out / FILES["fp32"]
    with work.progress.task("export model.onnx", 1) as advance:
        graph.export(student, fp32, config.export.opset)
        advance(1)
    found = ground.predict(fp32)
    truth = ground.data.splits["validation"].labels
    torch_logits = load_file(inputs["encoder"].path / "predictions.safetensors")
    report = parity.compare("torch", torch_logits["validation"], found["validation"], truth)
    parity.hold("fp32 ONNX", report, config.export.fp32_tolerance)
    forms = {
        "fp32": FormResult(
            file=fp32.name, size_bytes=fp32.stat().st_size, parity=report, quality=ground.qualities(found)
        )
    }
    if "int8-dynamic" in config.export.forms:
        forms["int8-dynamic"] = _int8(config, ground, fp32, found)
    if "fp32" not in config.export.forms:
        fp32.unlink()
    ordered = {name: forms[name] for name in config.export.forms}
    return _bundle(config, inputs, ground, ordered)


def _int8(config: ExportConfig, ground: Ground, fp32: Path, before: Mapping[str, Logits]) -> FormResult:
    path = ground.work.out / FILES["int8-dynamic"]
    int8.quantize(fp32, path)
    found = ground.predict(path)
    truth = ground.data.splits["validation"].labels
    report = parity.compare("fp32 ONNX", before["validation"], found["validation"], truth)
    parity.hold("int8-dynamic ONNX", report, config.export.int8_tolerance)
    return FormResult(
        file=path.name, size_bytes=path.stat().st_size, parity=report, quality=ground.qualities(found)
    )


def _ground(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> Ground:
    data = dataset.load(inputs["dataset"].path)
    spec = tokens.read_spec(inputs["encoder"].path)
    positions = load_student(inputs["encoder"].path).shape.positions
    tokenizer = tokens.make_tokenizer(spec, min(config.task.max_length, positions))
    encoded = {n: tokens.encode(tokenizer, split.texts) for n, split in data.splits.items() if n != "train"}
    return Ground(data, encoded, load_file(inputs["teacher"].path / "predictions.safetensors"), work)


def _feed(row: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    ids = row.astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _bundle(
    config: ExportConfig, inputs: Mapping[str, Artifact], ground: Ground, forms: Mapping[str, FormResult]
) -> ExportResult:
    """Tokenizer, labels and card beside the model files."""
    out = ground.work.out
    shutil.copyfile(inputs["encoder"].path / "tokenizer.json", out / "tokenizer.json")
    positions = load_student(inputs["encoder"].path).shape.positions
    reach = min(config.task.max_length, positions)
    write_json(out / "labels.json", {"labels": list(config.task.labels), "max_length": reach})
    result = ExportResult(
        forms=forms,
        tokenizer_bytes=(out / "tokenizer.json").stat().st_size,
        lengths=tuple(int(n) for n in ground.encoded["validation"].lengths),
    )
    (out / "MODEL_CARD.md").write_text(model_card(config, inputs, result), encoding="utf-8")
    return result
