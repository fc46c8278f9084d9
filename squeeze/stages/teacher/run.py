"""Load or fine-tune every teacher, and write down what they say about every split."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.artifact import Artifact, write_json
from squeeze.core.metrics import Quality, quality
from squeeze.data.dataset import Dataset, load
from squeeze.models import families, hub, tokens
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.inference import logits, to_tensors
from squeeze.models.teacher import average, load_classifier, save_classifier
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.stages.teacher.stage import FineTune, Member, TeacherConfig, TeacherResult
from squeeze.training.loop import Job, train

__all__ = ["run"]


def run(config: TeacherConfig, inputs: Mapping[str, Artifact], work: Work) -> TeacherResult:
    """Make `members/<i>/`, `base/` when it is wanted, and `predictions.safetensors`."""
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    data = load(inputs["dataset"].path)
    said: list[dict[str, NDArray[np.float32]]] = []
    readers: list[Encoder] = []
    for index, member in enumerate(config.teacher.members):
        encoder, predictions = _member(config, index, member, data, work)
        readers.append(encoder)
        said.append(predictions)
    weights = [member.weight for member in config.teacher.members]
    averaged = {split: average([one[split] for one in said], weights) for split in said[0]}
    save_file(averaged, work.out / "predictions.safetensors")
    first = readers[0]
    return TeacherResult(
        family=_family(work.out / "members" / "0"),
        layers=len(first.shape.layers),
        hidden=first.shape.hidden,
        heads=first.shape.layers[0].heads,
        parameters=sum(parameters(reader) for reader in readers),
        embedding_parameters=sum(embedding_parameters(reader) for reader in readers),
        size_bytes=sum(p.stat().st_size for p in (work.out / "members").rglob("model.safetensors")),
        quality=_qualities(averaged, data),
        seconds=time.monotonic() - started,
    )


def _member(
    config: TeacherConfig, index: int, member: Member, data: Dataset, work: Work
) -> tuple[Encoder, dict[str, NDArray[np.float32]]]:
    """One teacher: its folder is written, its encoder and its logits come back."""
    folder = hub.resolve(member.model)
    finetune = config.teacher.finetune
    torch.manual_seed(config.seed + index)
    model = load_classifier(folder, config.task.labels, untrained_head=finetune is not None)
    spec = tokens.read_spec(folder)
    if index == 0 and config.teacher.keep_base:
        save_classifier(model, work.out / "base")
    # No tokenizer reaches further than the teacher's own positions.
    reach = min(config.task.max_length, families.read(model).shape.positions)
    tokenizer = tokens.make_tokenizer(spec, reach)
    encoded = {name: tokens.encode(tokenizer, split.texts) for name, split in data.splits.items()}
    pad = tokens.pad_id(spec)
    if finetune is not None:
        _finetune(config, f"teacher-{index}", model, finetune, data, encoded, pad, work)
    out = work.out / "members" / str(index)
    save_classifier(model, out)
    tokens.write_spec(out / "tokenizer.json", spec)
    write_json(out / "member.json", {"model": member.model, "weight": member.weight})
    encoder = families.read(model)
    labels = len(config.task.labels)
    predictions = {n: logits(encoder, encoded[n], pad, labels) for n in data.splits if n != "train"}
    return encoder, predictions


class _Supervised(nn.Module):
    """Cross entropy on the labels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of one batch."""
        out: Any = self.model(input_ids=batch["ids"], attention_mask=batch["mask"])
        return F.cross_entropy(out.logits.float(), batch["labels"])


def _finetune(
    config: TeacherConfig,
    name: str,
    model: Any,
    schedule: FineTune,
    data: Dataset,
    encoded: Mapping[str, Encodings],
    pad: int,
    work: Work,
) -> None:
    """Train in place; the epoch with the best validation macro-F1 is kept."""
    labels = data.splits["train"].labels
    validation = data.splits["validation"].labels

    def collate(rows: NDArray[np.int64]) -> dict[str, Tensor]:
        ids, mask = to_tensors(encoded["train"], rows, pad)
        return {"ids": ids, "mask": mask, "labels": torch.from_numpy(labels[rows])}

    def evaluate() -> dict[str, float]:
        model.eval()
        found = logits(
            lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits,
            encoded["validation"],
            pad,
            len(config.task.labels),
        )
        measured = quality(found, validation)
        return {"score": measured.macro_f1, "macro_f1": measured.macro_f1, "accuracy": measured.accuracy}

    job = Job(name, _Supervised(model), encoded["train"].lengths, collate, evaluate, config.seed)
    train(job, schedule, work.scratch, work.progress)
    model.eval()


def _qualities(predictions: Mapping[str, NDArray[np.float32]], data: Dataset) -> dict[str, Quality]:
    return {name: quality(found, data.splits[name].labels) for name, found in predictions.items()}


def _family(folder: Path) -> str:
    import json

    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
