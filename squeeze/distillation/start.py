"""Where a student starts: its vocabulary, its shape, and the weights it is carved with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from squeeze.distillation import shape
from squeeze.distillation.config import DistilConfig, VocabularySection
from squeeze.distillation.pool import Pool
from squeeze.errors import ProfileError
from squeeze.models import carve, tokens, vocabulary
from squeeze.models.encoder import Encoder, EncoderShape
from squeeze.models.inference import to_tensors
from squeeze.models.storage import load_student, save_student
from squeeze.models.tokens import Encodings

__all__ = [
    "Batch",
    "Vocabulary",
    "axes",
    "choose_vocabulary",
    "cut_of",
    "hidden_states",
    "importance",
    "labelled_batches",
    "row_weights",
    "start",
    "variance_kept",
    "vocabulary_of",
]

IMPORTANCE_BATCH = 16  # small batches: signs cancel less inside the mean
STATES = 20_000  # hidden states a layer behind the axes of a narrower student
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Vocabulary:
    """The student's pieces.

    Attributes:
        spec: its tokenizer.json.
        kept: (pieces,) the teacher's number of each.
        uses: (pieces,) how often the task's text uses each.
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
        cut = _trim(spec, counts, settings)
        spec, kept = cut.tokenizer, np.array(cut.kept, dtype=np.int64)
    else:
        kept = np.arange(rows, dtype=np.int64)
    return Vocabulary(spec, kept, _uses(spec, texts, len(kept)))


def vocabulary_of(
    spec: dict[str, Any], rows: int, teacher: dict[str, Any], texts: Sequence[str]
) -> Vocabulary:
    """The vocabulary of a student that has one, numbered as its teacher numbers it.

    Args:
        spec: the student's tokenizer.json.
        rows: of the student's table, which may be longer than its tokenizer.
        teacher: the teacher's tokenizer.json.
        texts: the task's text.

    Raises:
        ProfileError: the student has a piece that the teacher does not know.
    """
    own, known = (tokens.make_tokenizer(each, max_length=1 << 20).get_vocab() for each in (spec, teacher))
    kept = np.arange(rows, dtype=np.int64)
    for piece, number in own.items():
        if piece not in known:
            raise ProfileError(
                f"the student's piece {piece!r} is none of the teacher's",
                hint="both need one tokenizer: give the teacher that the student was made of",
            )
        kept[number] = known[piece]
    return Vocabulary(spec, kept, _uses(spec, texts, rows))


def _trim(spec: dict[str, Any], counts: NDArray[np.int64], settings: VocabularySection) -> vocabulary.Trim:
    if settings.pieces is not None:
        return vocabulary.fill(spec, counts, settings.pieces, min_count=settings.min_count)
    wanted = vocabulary.choose(spec, counts, frequent=settings.frequent, min_count=settings.min_count)
    return vocabulary.trim(spec, wanted)


def _uses(spec: dict[str, Any], texts: Sequence[str], pieces: int) -> NDArray[np.int64]:
    """How often the texts use each piece, those that frame every text included."""
    tokenizer = tokens.make_tokenizer(spec, max_length=1 << 20)
    uses = np.zeros(pieces, dtype=np.int64)
    counts = vocabulary.count(tokenizer, texts)[:pieces]
    uses[: len(counts)] = counts
    np.add.at(uses, tokenizer.encode("").ids, len(texts))
    return uses


def start(
    config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings, words: Vocabulary, scratch: Path
) -> Encoder:
    """The student before its first step; `shape.refuse_misfits` has passed.

    Args:
        config: the stage's settings.
        teacher: the first task teacher.
        pool: text, for importance and for the axes of a narrower student.
        encoded: the pool in the student's pieces, numbered as the teacher numbers them.
        words: the student's vocabulary.
        scratch: where it is kept, so that a resume does not carve again.
    """
    folder = scratch / "start"
    try:
        return load_student(folder).train()
    except ProfileError:  # not there, or cut short: either way it is made now
        pass
    student = _make(config, teacher, pool, encoded, words)
    save_student(folder, student)
    return student.train()


def _make(
    config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings, words: Vocabulary
) -> Encoder:
    torch.manual_seed(config.seed)
    if config.student.init == "path":
        return _from_path(config, words)
    if config.student.init == "random":
        return Encoder(shape.random_shape(config, teacher.shape, len(words.kept)))
    return carve.carve(teacher, _cut(config, teacher, pool, encoded, words))


def variance_kept(teacher: Encoder, student: Encoder, words: Vocabulary) -> float:
    """Share of the kept rows' variance that the student's table holds; 0 where the widths differ."""
    whole = teacher.embedding.table().detach()[torch.from_numpy(words.kept)].numpy()
    stored = student.embedding.table().detach().numpy()
    return max(0.0, explained(whole, stored)) if whole.shape == stored.shape else 0.0


def _from_path(config: DistilConfig, words: Vocabulary) -> Encoder:
    student = load_student(Path(str(config.student.path)))
    if student.shape.vocabulary != len(words.kept):
        raise shape.other_pieces(config, student.shape.vocabulary, len(words.kept))
    return student


def _cut(
    config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings, words: Vocabulary
) -> carve.Cut:
    found = importance(config, teacher, pool, encoded)
    narrower = config.student.hidden is not None and config.student.hidden < teacher.shape.hidden
    kept = axes(teacher, config, pool, encoded) if narrower else None
    return cut_of(config, teacher.shape, found, words, kept)


def importance(config: DistilConfig, teacher: Encoder, pool: Pool, encoded: Encodings) -> carve.Importance:
    """What every head and neuron of the teacher is worth on the task's labelled text."""
    return carve.measure_importance(teacher, _batches(config, pool, encoded), losses.cross_entropy)


def cut_of(
    config: DistilConfig,
    teacher: EncoderShape,
    found: carve.Importance,
    words: Vocabulary,
    directions: Tensor | None = None,
) -> carve.Cut:
    """What is kept of the teacher.

    Args:
        config: the stage's settings.
        teacher: its shape.
        found: what its heads and neurons are worth.
        words: the student's vocabulary.
        directions: (H, h) of the hidden width to keep; None: all.
    """
    student = config.student
    layers = shape.layers(student, teacher)
    return carve.Cut(
        layers=layers,
        heads=carve.keep_best(found.heads, layers, shape.heads(student, teacher)),
        neurons=carve.keep_best(found.neurons, layers, shape.neurons(student, teacher)),
        rows=words.kept,
        positions=min(student.max_positions or config.task.max_length, teacher.positions),
        embedding=shape.carved_table(student, teacher),
        weights=row_weights(words),
        axes=directions,
        seed=config.seed,
    )


def row_weights(words: Vocabulary) -> NDArray[np.float64]:
    """How exactly each row is to be stored: by its use, and every row a little.

    Natural text follows Zipf's law, so plain counts would leave nothing for the rare pieces that an
    unseen text brings; the square root spreads the care.
    """
    weights: NDArray[np.float64] = np.sqrt(words.uses + 1.0)
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


def _batches(config: DistilConfig, pool: Pool, encoded: Encodings) -> Iterator[Batch]:
    return labelled_batches(pool, encoded, 0, config.distil.importance_batches, config.seed)


def axes(teacher: Encoder, config: DistilConfig, pool: Pool, encoded: Encodings) -> Tensor:
    """(H, h) directions of the hidden width to keep."""
    states = hidden_states(teacher, _batches(config, pool, encoded))
    return losses.pca_projection(states, config.student.hidden or 0)


def hidden_states(model: Encoder, batches: Iterable[Batch]) -> Tensor:
    """(N, H) hidden states of all depths on real tokens; batches are read until there are enough."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for ids, mask, _ in batches:
            states = torch.stack(model.observe(ids, mask).hidden)[:, mask.bool()]
            found.append(states.flatten(0, 1))
            if sum(map(len, found)) > STATES * len(model.shape.layers):
                break
    return torch.cat(found)
