"""The student before its first step: carved out of the teacher, random, or one that was made before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.core.hidden_states import pca_projection
from squeeze.core.product_quantization import explained
from squeeze.data.batches import plan
from squeeze.distillation.inputs import DistillationInputs
from squeeze.distillation.pool import Pool
from squeeze.distillation.resolve import StudentPlan, other_pieces
from squeeze.distillation.tokenized import Vocabulary
from squeeze.errors import ProfileError
from squeeze.models import carve
from squeeze.models.encoder import Encoder
from squeeze.models.inference import to_tensors
from squeeze.models.storage import load_student, save_student
from squeeze.models.tokens import Encodings
from squeeze.tasks import Task

__all__ = [
    "Batch",
    "axes",
    "cut_of",
    "hidden_states",
    "importance",
    "initialize",
    "labelled_batches",
    "row_weights",
    "variance_kept",
]

IMPORTANCE_BATCH = 16  # small batches: signs cancel less inside the mean
STATES = 20_000  # hidden states a layer behind the axes of a narrower student
Batch = tuple[Tensor, Tensor, Tensor]


def initialize(inputs: DistillationInputs, batches: int, scratch: Path) -> Encoder:
    """The student before its first step.

    Args:
        inputs: the plan of the student, its teacher and its text.
        batches: of labelled text, on which heads and neurons are ranked before carving.
        scratch: where it is kept, so that a resume does not carve again.
    """
    folder = scratch / "start"
    try:
        return load_student(folder).train()
    except ProfileError:  # not there, or cut short: either way it is made now
        pass
    student = _make(inputs, batches)
    save_student(folder, student)
    return student.train()


def _make(inputs: DistillationInputs, batches: int) -> Encoder:
    student, vocabulary, seed = inputs.student, inputs.text.vocabulary, inputs.training.seed
    torch.manual_seed(seed)
    if student.path is not None:
        return _from_path(student.path, len(vocabulary.kept))
    if student.init == "random":
        return Encoder(student.with_pieces(len(vocabulary.kept)))
    teacher = inputs.first.encoder
    read = partial(labelled_batches, inputs.pool, inputs.text.aligned, 0, batches, seed)
    narrower = student.shape.hidden < teacher.shape.hidden
    directions = axes(teacher, read(), student.shape.hidden) if narrower else None
    scores = importance(teacher, read(), inputs.training.task)
    return carve.carve(teacher, cut_of(student, scores, vocabulary, seed, directions))


def variance_kept(teacher: Encoder, student: Encoder, vocabulary: Vocabulary) -> float:
    """Share of the kept rows' variance that the student's table holds; 0 where the widths differ."""
    whole = teacher.embedding.table().detach()[torch.from_numpy(vocabulary.kept)].numpy()
    stored = student.embedding.table().detach().numpy()
    return max(0.0, explained(whole, stored)) if whole.shape == stored.shape else 0.0


def _from_path(path: Path, pieces: int) -> Encoder:
    student = load_student(path)
    if student.shape.vocabulary != pieces:
        raise other_pieces(path, student.shape.vocabulary, pieces)
    return student


def importance(teacher: Encoder, batches: Iterable[Batch], task: Task) -> carve.Importance:
    """What every head and neuron of the teacher is worth on labelled text."""
    return carve.measure_importance(teacher, batches, lambda outputs, labels: task.loss(outputs, labels, {}))


def cut_of(
    student: StudentPlan,
    scores: carve.Importance,
    vocabulary: Vocabulary,
    seed: int,
    directions: Tensor | None = None,
) -> carve.Cut:
    """What is kept of the teacher.

    Args:
        student: what is wanted.
        scores: what the teacher's heads and neurons are worth.
        vocabulary: the student's.
        seed: of the codebooks of a product-quantized table.
        directions: (H, h) of the hidden width to keep; None: all.
    """
    shape = student.shape
    return carve.Cut(
        layers=student.layers,
        heads=carve.keep_best(scores.heads, student.layers, tuple(layer.heads for layer in shape.layers)),
        neurons=carve.keep_best(scores.neurons, student.layers, tuple(layer.ffn for layer in shape.layers)),
        rows=vocabulary.kept,
        positions=shape.positions,
        embedding=shape.embedding,
        weights=row_weights(vocabulary),
        axes=directions,
        seed=seed,
    )


def row_weights(vocabulary: Vocabulary) -> NDArray[np.float64]:
    """How exactly each row is to be stored: by its use, and every row a little.

    Natural text follows Zipf's law, so plain counts would leave nothing for the rare pieces that an
    unseen text brings; the square root spreads the care.
    """
    weights: NDArray[np.float64] = np.sqrt(vocabulary.uses + 1.0)
    return weights


def labelled_batches(pool: Pool, encoded: Encodings, pad: int, count: int, seed: int) -> Iterator[Batch]:
    """Token numbers (B, T), mask (B, T) and labels (B,) of some labelled text.

    Args:
        pool: the text.
        encoded: the pool as the model reads it.
        pad: number of its padding piece.
        count: batches at most.
        seed: of their order.
    """
    rows = pool.rows("labelled")
    for batch in plan(encoded.lengths[rows], IMPORTANCE_BATCH, seed, 0)[:count]:
        ids, mask = to_tensors(encoded, rows[batch], pad)
        yield ids, mask, torch.from_numpy(pool.labels[rows[batch]])


def axes(teacher: Encoder, batches: Iterable[Batch], width: int) -> Tensor:
    """(H, width) directions of the hidden width to keep."""
    return pca_projection(hidden_states(teacher, batches), width)


def hidden_states(model: Encoder, batches: Iterable[Batch]) -> Tensor:
    """(N, H) hidden states of all depths on real tokens; batches are read until there are enough."""
    kept: list[Tensor] = []
    with torch.inference_mode():
        for ids, mask, _ in batches:
            states = torch.stack(model.observe(ids, mask).hidden)[:, mask.bool()]
            kept.append(states.flatten(0, 1))
            if sum(map(len, kept)) > STATES * len(model.shape.layers):
                break
    return torch.cat(kept)
