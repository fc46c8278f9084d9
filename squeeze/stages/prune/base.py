"""What is pruned: the student of an earlier stage, or the teacher itself where there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from squeeze.artifact import Artifact, write_json
from squeeze.core.metrics import Quality
from squeeze.data.dataset import Dataset
from squeeze.data.texts import joined
from squeeze.distillation.config import PREDICTIONS
from squeeze.distillation.inputs import predict, quality_by_split
from squeeze.distillation.teachers import load_teacher
from squeeze.errors import ProfileError
from squeeze.models import slicing, storage, tokens, vocabulary
from squeeze.models.carve import one_row_each
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.stage import Work
from squeeze.stages.prune.limits import refuse
from squeeze.stages.prune.stage import Measured, PruneConfig
from squeeze.tasks import task_of

__all__ = ["Base", "measured", "prepare"]

BEFORE = "before.json"


@dataclass(frozen=True)
class Base:
    """The model before anything of its inside is cut.

    Attributes:
        folder: its weights, shape and tokenizer.
        encoder: in evaluation mode.
        before: figures of the model that was given, with all its pieces and positions.
    """

    folder: Path
    encoder: Encoder
    before: Measured


def prepare(config: PruneConfig, inputs: Mapping[str, Artifact], data: Dataset, work: Work) -> Base:
    """Read the model, and leave out the pieces that are not asked for and positions that no text reaches.

    Kept in the scratch folder, so that a resumed stage does not measure it again.

    Raises:
        ProfileError: a key asks for what the model does not have.
    """
    folder = work.scratch / "base"
    note = folder / BEFORE
    if note.is_file():  # written last
        before = Measured.parse(json.loads(note.read_text(encoding="utf-8")))
        return Base(folder, storage.load_student(folder), before)
    whole, spec = _given(config, inputs)
    refuse(config.prune, whole.shape)
    before = measured(whole, _quality(config, inputs, data, whole, spec))
    small, spec = _fewer_pieces(config, data, one_row_each(whole), spec)
    kept = slicing.sliced(small, slicing.everything(small.shape), config.task.max_length).eval()
    storage.save_student(folder, kept)
    tokens.write_spec(folder / "tokenizer.json", spec)
    write_json(note, before.plain())
    return Base(folder, kept, before)


def measured(encoder: Encoder, found: Mapping[str, Quality], predicted_ms: float | None = None) -> Measured:
    """The figures of a model."""
    shape = encoder.shape
    state = encoder.state_dict().values()
    return Measured(
        heads=tuple(layer.heads for layer in shape.layers),
        neurons=tuple(layer.ffn for layer in shape.layers),
        hidden=shape.hidden,
        pieces=shape.vocabulary,
        parameters=parameters(encoder),
        embedding_parameters=embedding_parameters(encoder),
        size_bytes=sum(value.numel() * value.element_size() for value in state),
        predicted_ms=predicted_ms,
        quality=found,
    )


def _given(config: PruneConfig, inputs: Mapping[str, Artifact]) -> tuple[Encoder, dict[str, Any]]:
    if "encoder" in inputs:
        folder = inputs["encoder"].path
        return storage.load_student(folder), tokens.read_spec(folder)
    first = load_teacher(inputs["teacher"].path / "members" / "0", config.task.labels)
    return first.encoder.eval(), first.tokenizer_json


def _quality(
    config: PruneConfig,
    inputs: Mapping[str, Artifact],
    data: Dataset,
    encoder: Encoder,
    spec: dict[str, Any],
) -> dict[str, Quality]:
    """Of the model that was given; a student's answers lie beside it."""
    if "encoder" in inputs:
        answers = load_file(inputs["encoder"].path / PREDICTIONS)
    else:
        tokenizer = tokens.make_tokenizer(spec, min(config.task.max_length, encoder.shape.positions))
        answers = predict(encoder, tokenizer, tokens.pad_id(spec), data)
    return quality_by_split(answers, data, inputs["teacher"], task_of(config.task))


def _fewer_pieces(
    config: PruneConfig, data: Dataset, encoder: Encoder, spec: dict[str, Any]
) -> tuple[Encoder, dict[str, Any]]:
    """The model with a smaller vocabulary; dropped pieces are re-segmented, never made unknown."""
    wanted = config.prune.pieces
    if wanted is None:
        return encoder, spec
    texts = joined(data.splits["train"].texts, data.unlabelled)
    counts = vocabulary.count(tokens.make_tokenizer(spec, max_length=1 << 20), texts)
    cut = vocabulary.fill(spec, counts, wanted)
    if len(cut.kept) >= encoder.shape.vocabulary:
        raise ProfileError(
            f"[prune] pieces: {wanted}, and the training text needs {len(cut.kept)} of"
            f" {encoder.shape.vocabulary}",
            hint="leave `pieces` out: there is nothing to drop",
        )
    return slicing.select_rows(encoder, np.array(cut.kept, dtype=np.int64)), cut.tokenizer
