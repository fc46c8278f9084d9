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
from squeeze.core.metrics import quality
from squeeze.data import dataset
from squeeze.data.batches import pad
from squeeze.data.dataset import Dataset
from squeeze.distillation.material import PREDICTIONS
from squeeze.graphs import int8
from squeeze.graphs import lean as graph
from squeeze.models import tokens
from squeeze.models.encoder import Encoder
from squeeze.models.storage import load_student
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.stages.export import engine, parity
from squeeze.stages.export.card import model_card
from squeeze.stages.export.stage import EngineResult, ExportConfig, ExportResult, FormResult, Tolerance
from squeeze.targets.ort import guarded, open_session

__all__ = ["run"]

FILES = {"fp32": "model.onnx", "int8-dynamic": "model.int8.onnx"}
BATCH = 16  # texts a call in the check of padded batches
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """What every form is measured on.

    Attributes:
        data: all splits.
        encoded: held-out splits in the student's token numbers.
        teacher: the teacher's log-probabilities by split.
        reach: longest input in tokens.
        work: where files go.
    """

    data: Dataset
    encoded: Mapping[str, Encodings]
    teacher: Mapping[str, Logits]
    reach: int
    work: Work

    def predict(self, path: Path) -> dict[str, Logits]:
        """Logits of an ONNX file on every held-out split, one text a call.

        Texts are not batched: dynamic quantization takes one scale for the whole call, so a text's
        answer would depend on its neighbours, and on the device it has none.
        """
        session = open_session(path, threads=self.work.threads)
        total = sum(map(len, self.encoded.values()))
        found: dict[str, Logits] = {}
        with guarded(path, "cannot be run"), self.work.progress.task(f"check {path.name}", total) as advance:
            for split, rows in self.encoded.items():
                each = [session.run(["logits"], _feed(rows[row]))[0] for row in range(len(rows))]
                found[split] = np.concatenate(each)
                advance(len(rows))
        return found

    def judge(
        self, path: Path, source: str, before: Mapping[str, Logits], tolerance: Tolerance
    ) -> tuple[FormResult, dict[str, Logits]]:
        """Compare a file with what it was made from, then measure it.

        Raises:
            ParityFailed: it changed by more than its tolerance on the validation text.
        """
        found = self.predict(path)
        truth = self.data.splits["validation"].labels
        report = parity.compare(source, before["validation"], found["validation"], truth)
        parity.hold(path.name, report, tolerance)
        measured = {
            name: quality(rows, self.data.splits[name].labels, self.teacher[name])
            for name, rows in found.items()
        }
        size = path.stat().st_size
        return FormResult(file=path.name, size_bytes=size, parity=report, quality=measured), found

    def hold_batches(self, path: Path, alone: Logits, tolerance: Tolerance) -> None:
        """Run the validation text in padded batches, which must change no answer.

        A graph that forgets its mask passes every test of one text a call.

        Raises:
            ParityFailed: logits differ from those of each text alone by more than the tolerance.
        """
        session, rows = open_session(path, threads=self.work.threads), self.encoded["validation"]
        together: list[Logits] = []
        with guarded(path, "cannot be run on a padded batch"):
            for start in range(0, len(rows), BATCH):
                ids, mask = pad([rows[row] for row in range(start, min(start + BATCH, len(rows)))], 0)
                together.append(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])
        truth = self.data.splits["validation"].labels
        report = parity.compare("each text alone", alone, np.concatenate(together), truth)
        parity.hold(f"{path.name} in padded batches", report, tolerance)


def run(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> ExportResult:
    """Make model.onnx, the quantized forms that are asked for, and what belongs to them."""
    torch.set_num_threads(work.threads)
    student = load_student(inputs["encoder"].path)
    ground = _ground(config, inputs, student, work)
    forms = _forms(config, inputs["encoder"].path, student, ground)
    rows, truth = ground.encoded["validation"], ground.data.splits["validation"].labels
    built = engine.make(config.export.tensorrt, forms, rows, truth, ground.reach, work)
    return _bundle(config, inputs, ground, forms, built)


def _forms(config: ExportConfig, encoder: Path, student: Encoder, ground: Ground) -> dict[str, FormResult]:
    """Every form that was asked for; fp32 is always made, since the others are made from it."""
    settings, work = config.export, ground.work
    fp32, int8_path = (work.out / FILES[name] for name in ("fp32", "int8-dynamic"))
    with work.progress.task(f"export {fp32.name}", 1) as advance:
        graph.export(student, fp32, settings.opset)
        advance(1)
    said = load_file(encoder / PREDICTIONS)
    made: dict[str, FormResult] = {}
    made["fp32"], found = ground.judge(fp32, "torch", said, settings.fp32_tolerance)
    ground.hold_batches(fp32, found["validation"], settings.fp32_tolerance)
    if "int8-dynamic" in settings.forms:
        int8.quantize(fp32, int8_path)
        made["int8-dynamic"], _ = ground.judge(int8_path, fp32.name, found, settings.int8_tolerance)
    if "fp32" not in settings.forms:
        fp32.unlink()
    return {name: made[name] for name in settings.forms}


def _ground(config: ExportConfig, inputs: Mapping[str, Artifact], student: Encoder, work: Work) -> Ground:
    data = dataset.load(inputs["dataset"].path)
    reach = min(config.task.max_length, student.shape.positions)
    tokenizer = tokens.make_tokenizer(tokens.read_spec(inputs["encoder"].path), reach)
    encoded = {n: tokens.encode(tokenizer, split.texts) for n, split in data.splits.items() if n != "train"}
    return Ground(data, encoded, load_file(inputs["teacher"].path / PREDICTIONS), reach, work)


def _feed(row: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    ids = row.astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _bundle(
    config: ExportConfig,
    inputs: Mapping[str, Artifact],
    ground: Ground,
    forms: Mapping[str, FormResult],
    built: EngineResult | None,
) -> ExportResult:
    """Tokenizer, labels and card beside the model files."""
    out = ground.work.out
    shutil.copyfile(inputs["encoder"].path / "tokenizer.json", out / "tokenizer.json")
    write_json(out / "labels.json", {"labels": list(config.task.labels), "max_length": ground.reach})
    result = ExportResult(
        forms=forms,
        tokenizer_bytes=(out / "tokenizer.json").stat().st_size,
        lengths=tuple(int(n) for n in ground.encoded["validation"].lengths),
        engine=built,
    )
    card = model_card(config, inputs, result, ground.reach)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return result
