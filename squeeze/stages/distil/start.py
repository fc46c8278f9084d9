"""Where a student starts: its vocabulary, its shape, and the weights it is carved with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.core import losses
from squeeze.core.product_quantization import explained
from squeeze.data.batches import plan
from squeeze.errors import ProfileError
from squeeze.models import carve, tokens, vocabulary
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.models.inference import to_tensors
from squeeze.models.storage import load_student
from squeeze.models.tokens import Encodings
from squeeze.stages.distil.pool import Pool
from squeeze.stages.distil.stage import DistilConfig, StudentSection, VocabularySection

__all__ = ["Vocabulary", "choose_vocabulary", "start", "variance_kept"]

IMPORTANCE_BATCH = 16  # small batches: signs cancel less inside the mean
STATES = 20_000  # hidden states behind the axes of a narrower student


@dataclass(frozen=True)
class Vocabulary:
    """The student's pieces.

    Attributes:
        spec: its tokenizer.json.
        kept: (pieces,) the teacher's number of each.
        uses: (pieces,) how often the pool uses each.
    """

    spec: dict[str, Any]
    kept: NDArray[np.int64]
    uses: NDArray[np.int64]


def choose_vocabulary(
    spec: dict[str, Any], texts: Sequence[str], settings: VocabularySection, rows: int
) -> Vocabulary:
    """Keep all pieces, or those that the text and the language at large need.

    Args:
        spec: the teacher's tokenizer.json.
        texts: the task's text; never validation or test.
        settings: what to keep.
        rows: of the teacher's table, which may be longer than its tokenizer.
    """
    full = tokens.make_tokenizer(spec, max_length=1 << 20)
    if settings.trim:
        counts = vocabulary.count(full, texts)
        wanted = vocabulary.choose(spec, counts, frequent=settings.frequent, min_count=settings.min_count)
        cut = vocabulary.trim(spec, wanted)
        spec, kept = cut.tokenizer, np.array(cut.kept, dtype=np.int64)
    else:
        kept = np.arange(rows, dtype=np.int64)
    uses = vocabulary.count(tokens.make_tokenizer(spec, max_length=1 << 20), texts)
    return Vocabulary(spec, kept, np.pad(uses, (0, max(0, len(kept) - len(uses))))[: len(kept)])


def start(
    config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings, words: Vocabulary
) -> Encoder:
    """The student before its first step.

    Args:
        config: the stage's settings.
        teacher: the first task teacher.
        pool: text, for importance and for the axes of a narrower student.
        encoded: the pool in the student's pieces, numbered as the teacher numbers them.
        words: the student's vocabulary.
    """
    torch.manual_seed(config.seed)
    if config.student.init == "path":
        return _from_path(config, words)
    if config.student.init == "random":
        return Encoder(_shape(config, teacher.shape, words))
    return carve.carve(teacher, _cut(config, teacher, pool, encoded, words))


def variance_kept(teacher: Encoder, student: Encoder, words: Vocabulary) -> float:
    """Share of the kept rows' variance that the student's table holds; 0 where the widths differ."""
    whole = teacher.embedding.table().detach()[torch.from_numpy(words.kept)].numpy()
    stored = student.embedding.table().detach().numpy()
    return max(0.0, explained(whole, stored)) if whole.shape == stored.shape else 0.0


def _from_path(config: DistilConfig, words: Vocabulary) -> Encoder:
    student = load_student(Path(str(config.student.path)))
    wanted = (len(words.kept), len(config.task.labels))
    found = (student.shape.vocabulary, student.shape.labels)
    if found != wanted:
        raise ProfileError(
            f"{config.student.path}: has {found[0]} pieces and {found[1]} labels, this profile makes {wanted[0]} and {wanted[1]}",
            hint="use the [student.vocabulary] and labels that it was made with",
        )
    return student.train()


def _per_layer(value: int | tuple[int, ...] | None, default: Sequence[int], name: str) -> tuple[int, ...]:
    """One number a kept layer, none above the teacher's."""
    values = (value,) * len(default) if isinstance(value, int) else tuple(default) if value is None else value
    for index, (wanted, limit) in enumerate(zip(values, default, strict=True)):
        if wanted > limit:
            raise ProfileError(f"[student] {name}: {wanted} in layer {index}, the teacher has {limit}")
    return values


def _layers(student: StudentSection, teacher: EncoderShape) -> tuple[int, ...]:
    depth = len(teacher.layers)
    wanted = student.layers
    if isinstance(wanted, int):
        if wanted > depth:
            raise ProfileError(f"[student] layers: {wanted}, the teacher has {depth}")
        return carve.choose_layers(wanted, depth)
    for layer in wanted:
        if not 0 <= layer < depth:
            raise ProfileError(f"[student] layers: no layer {layer}, the teacher's go from 0 to {depth - 1}")
    return wanted


def _cut(
    config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings, words: Vocabulary
) -> carve.Cut:
    student, shape = config.student, teacher.shape
    if student.head_size not in (None, shape.head_size):
        raise ProfileError(
            f"[student] head_size: {student.head_size}, carved heads keep the teacher's {shape.head_size}",
            hint='leave it out, or use init = "random"',
        )
    layers = _layers(student, shape)
    heads = _per_layer(student.heads, [shape.layers[i].heads for i in layers], "heads")
    neurons = _per_layer(student.ffn, [shape.layers[i].ffn for i in layers], "ffn")
    found = carve.measure_importance(teacher, _batches(config, pool, encoded), losses.cross_entropy)
    width = student.hidden or shape.hidden
    return carve.Cut(
        layers=layers,
        heads=carve.keep_best(found.heads, layers, heads),
        neurons=carve.keep_best(found.neurons, layers, neurons),
        rows=words.kept,
        positions=min(student.max_positions or config.task.max_length, shape.positions),
        embedding=_table(
            student, shape.embedding.width if width == shape.hidden else _narrow_width(shape, width)
        ),
        weights=_weights(words),
        axes=None
        if width == shape.hidden
        else losses.pca_projection(_states(teacher, config, pool, encoded), width),
        seed=config.seed,
    )


def _narrow_width(shape: EncoderShape, width: int) -> int:
    """Width of the table of a student of another hidden width: the same, unless it is widened behind it."""
    return width if shape.embedding.width == shape.hidden else shape.embedding.width


def _table(student: StudentSection, width: int) -> EmbeddingShape:
    asked = student.embedding
    try:
        return EmbeddingShape(
            kind=asked.kind,
            width=width,
            rank=asked.rank if asked.kind == "factorised" else 1,
            subvectors=asked.subvectors if asked.kind == "product" else 1,
            codewords=asked.codewords,
        )
    except ValueError as error:
        raise ProfileError(
            f"[student.embedding]: {asked.kind} does not fit a table of width {width}: {error}"
        ) from error


def _weights(words: Vocabulary) -> NDArray[np.float64]:
    """How exactly each row is to be stored: by its use, and every row a little.

    Natural text follows Zipf's law, so plain counts would leave nothing for the rare pieces that an
    unseen text brings; the square root spreads the care.
    """
    return np.sqrt(words.uses + 1.0)


def _batches(config: DistilConfig, pool: Pool, encoded: Encodings) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    rows = pool.rows("labelled")
    order = plan(encoded.lengths[rows], IMPORTANCE_BATCH, config.seed, 0)
    for batch in order[: config.distil.importance_batches]:
        ids, mask = to_tensors(encoded, rows[batch], pad_id=0)
        yield ids, mask, torch.from_numpy(pool.labels[rows[batch]])


def _states(teacher: Encoder, config: DistilConfig, pool: Pool, encoded: Encodings) -> Tensor:
    """(N, H) hidden states of all depths on real tokens."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for ids, mask, _ in _batches(config, pool, encoded):
            states = torch.stack(teacher.observe(ids, mask).hidden)[:, mask.bool()]
            found.append(states.flatten(0, 1))
            if sum(map(len, found)) > STATES * len(teacher.shape.layers):
                break
    return torch.cat(found)


def _shape(config: DistilConfig, teacher: EncoderShape, words: Vocabulary) -> EncoderShape:
    """Shape of a student with random weights: the teacher's numbers where the profile says nothing."""
    student = config.student
    depth = student.layers if isinstance(student.layers, int) else len(student.layers)
    width = student.hidden or teacher.hidden
    heads, ffn = student.heads or teacher.layers[0].heads, student.ffn or teacher.layers[0].ffn
    each = zip(
        (heads,) * depth if isinstance(heads, int) else heads,
        (ffn,) * depth if isinstance(ffn, int) else ffn,
        strict=True,
    )
    return EncoderShape(
        vocabulary=len(words.kept),
        embedding=_table(student, width),
        hidden=width,
        head_size=student.head_size or teacher.head_size,
        layers=tuple(LayerShape(heads=h, ffn=f) for h, f in each),
        positions=student.max_positions or config.task.max_length,
        labels=len(config.task.labels),
        activation=teacher.activation,
    )
