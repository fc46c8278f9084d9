"""Cut a student out of a teacher: layers, heads, neurons, rows of the table, hidden width.

Depth, heads and neurons are cheap to give up; the hidden width is not, and is only reduced through
a projection onto the directions in which the teacher's states really vary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.core import product_quantization as pq
from squeeze.core.hidden_states import pca_projection
from squeeze.core.importance import mean_absolute, top
from squeeze.models.encoder import Encoder, Gates, one_row_a_label
from squeeze.models.shapes import EmbeddingShape
from squeeze.models.slicing import Kept, select, sliced_shape
from squeeze.models.weights import Weight, encoder_weights

__all__ = [
    "Carver",
    "Cut",
    "Importance",
    "carve",
    "keep_best",
    "low_rank",
    "measure_importance",
    "narrow",
    "one_row_each",
    "recode",
    "store",
    "with_table",
]


@dataclass(frozen=True)
class Importance:
    """First-order Taylor importance of every head and neuron of a teacher.

    Attributes:
        heads: one (heads,) tensor a layer.
        neurons: one (F,) tensor a layer.
    """

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]


@dataclass(frozen=True)
class Cut:
    """What is kept of a teacher.

    Attributes:
        layers: teacher layers, counted from 0.
        heads: kept heads of each of these layers.
        neurons: kept feed-forward neurons of each of these layers.
        rows: teacher token number of each student token number.
        positions: longest input.
        embedding: how the table is stored.
        weights: (rows,) how often each piece is used; rare rows may be stored less exactly. None: all alike.
        axes: (H, h) orthonormal directions of the hidden width to keep (losses.pca_projection of real
            states); None or h = H keeps it all.
        seed: of the codebooks' start.
    """

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]
    rows: NDArray[np.int64]
    positions: int
    embedding: EmbeddingShape
    weights: NDArray[np.float64] | None = None
    axes: Tensor | None = None
    seed: int = 0


def measure_importance(
    teacher: Encoder,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Importance:
    """|d loss / d gate| at gate = 1, averaged over batches (Michel et al. 2019, arXiv:1905.10650).

    Args:
        teacher: in evaluation mode; its weights are not changed.
        batches: token numbers (B, T), mask (B, T), labels (B,).
        loss: (logits, labels) -> scalar.
    """
    shapes = teacher.shape.layers
    sizes = [shape.heads for shape in shapes] + [shape.ffn for shape in shapes]

    def gradients() -> Iterable[Tensor]:
        for ids, mask, labels in batches:
            gates = [torch.ones(size, device=ids.device, requires_grad=True) for size in sizes]
            pair = Gates(tuple(gates[: len(shapes)]), tuple(gates[len(shapes) :]))
            found = torch.autograd.grad(loss(teacher.observe(ids, mask, gates=pair).logits, labels), gates)
            yield torch.cat(found)

    parts = torch.split(mean_absolute(gradients()), sizes)
    return Importance(tuple(parts[: len(shapes)]), tuple(parts[len(shapes) :]))


def keep_best(
    scores: tuple[Tensor, ...], layers: tuple[int, ...], counts: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """The `counts[i]` most important members of each kept layer."""
    return tuple(top(scores[layer], count) for layer, count in zip(layers, counts, strict=True))


def carve(teacher: Encoder, cut: Cut) -> Encoder:
    """A student that is exactly the teacher where nothing was cut.

    Returns:
        A new encoder in training mode; the teacher is untouched.
    """
    shape = teacher.shape.model_copy(
        update={"embedding": EmbeddingShape(width=teacher.shape.embedding.width), "groups": ()}
    )
    kept = Kept(cut.layers, cut.heads, cut.neurons)
    smaller = sliced_shape(shape, kept, cut.positions).model_copy(update={"vocabulary": len(cut.rows)})
    student = Encoder(smaller)
    with torch.no_grad():
        state = teacher.state_dict() | {"embedding.weight": teacher.embedding.table()} | _plain_head(teacher)
        student.load_state_dict(select(state, shape, kept, smaller.positions, cut.rows))
        if cut.axes is not None and cut.axes.shape[1] < teacher.shape.hidden:
            student = narrow(student, cut.axes)
        return recode(student, cut.embedding, cut.weights, cut.seed)


def recode(
    student: Encoder, shape: EmbeddingShape, weights: NDArray[np.float64] | None = None, seed: int = 0
) -> Encoder:
    """The same encoder with its dense table stored another way.

    Args:
        student: with a dense table (V, E).
        shape: the form wanted, of the same width E.
        weights: (V,) how much each row counts; None: all alike.
        seed: of the codebooks' start.
    """
    if shape.kind == "dense":
        return student
    return with_table(student, shape, store(student.embedding.table().detach(), shape, weights, seed))


def store(
    table: Tensor, shape: EmbeddingShape, weights: NDArray[np.float64] | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """A dense table (V, E) as the tensors of another form: low rank or product-quantized."""
    if shape.kind == "dense":
        return {"weight": table}
    if shape.kind == "factorised":
        rows = table if weights is None else table * torch.from_numpy(np.sqrt(weights)).to(table)[:, None]
        axes = pca_projection(rows, shape.rank)
        return {"weight": table @ axes, "project.weight": axes}
    codes, codebooks = pq.fit(table.numpy(), shape.subvectors, shape.codewords, weights, seed)
    entries = codebooks.reshape(shape.subvectors * shape.codewords, -1)
    return {"weight": torch.from_numpy(entries), "codes": torch.from_numpy(codes)}


def with_table(student: Encoder, shape: EmbeddingShape, stored: Mapping[str, Tensor]) -> Encoder:
    """The same encoder with another table, as `store` gives it."""
    other = Encoder(student.shape.model_copy(update={"embedding": shape}))
    rest = {name: value for name, value in student.state_dict().items() if not name.startswith("embedding.")}
    other.load_state_dict(rest | {f"embedding.{name}": value for name, value in stored.items()})
    return other


@dataclass
class Carver:
    """Carves many students out of one teacher; those that store the same rows alike share one fitted table.

    Attributes:
        teacher: in evaluation mode.
    """

    teacher: Encoder
    _tables: dict[str, dict[str, Tensor]] = field(default_factory=dict, repr=False)

    def __call__(self, cut: Cut) -> Encoder:
        """What `carve` gives, in evaluation mode."""
        dense = carve(self.teacher, replace(cut, embedding=EmbeddingShape(width=cut.embedding.width)))
        if cut.embedding.kind == "dense":
            return dense.eval()
        key = _table_key(cut)
        if key not in self._tables:
            self._tables[key] = store(dense.embedding.table().detach(), cut.embedding, cut.weights, cut.seed)
        return with_table(dense, cut.embedding, self._tables[key]).eval()


def _table_key(cut: Cut) -> str:
    """All that a stored table depends on."""
    found = hashlib.sha256(f"{cut.embedding.model_dump_json()} {cut.seed}".encode())
    axes = None if cut.axes is None else cut.axes.numpy()
    for part in (cut.rows, cut.weights, axes):
        found.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def _plain_head(encoder: Encoder) -> dict[str, Tensor]:
    """The last matrix of the head where a label has several rows: one that comes near to them."""
    if not encoder.shape.groups:
        return {}
    weight, bias = one_row_a_label(encoder.head.output, encoder.shape.groups)
    return {"head.output.weight": weight, "head.output.bias": bias}


def one_row_each(encoder: Encoder) -> Encoder:
    """The same encoder with one row of the head a label: itself, unless its outputs are summed."""
    if not encoder.shape.groups:
        return encoder
    other = Encoder(encoder.shape.model_copy(update={"groups": ()}))
    other.load_state_dict(encoder.state_dict() | _plain_head(encoder))
    return other.train(encoder.training)


def low_rank(encoder: Encoder, rank: int, weights: NDArray[np.float64] | None = None) -> Encoder:
    """The encoder with its table as a product of two matrices, by SVD: a dense one, or one of higher rank.

    Args:
        encoder: untouched; its table is not product-quantized.
        rank: inner width.
        weights: (V,) how much each row counts; None: all alike.

    Raises:
        ValueError: codes have no rank.
    """
    old = encoder.shape.embedding
    if old.kind == "product":
        raise ValueError("a product-quantized table has codes and no rank")
    table = {"weight": encoder.embedding.table().detach()}
    dense = with_table(encoder, EmbeddingShape(width=old.width), table)
    made = recode(dense, EmbeddingShape(kind="factorised", width=old.width, rank=rank), weights)
    return made.train(encoder.training)


def narrow(encoder: Encoder, axes: Tensor) -> Encoder:
    """The encoder with its residual stream seen through (H, h) orthonormal axes.

    A matrix that reads the stream becomes W P, one that writes it P^T W. A norm cannot be carried
    over exactly: its gain becomes the diagonal of P^T diag(g) P, scaled so that states keep the
    length that they have inside the subspace. A dense table is narrowed with the stream; any other is
    kept as it is stored, and what its norm gives is projected, which is exact.
    """
    old, width = encoder.shape, axes.shape[1]
    table = EmbeddingShape(width=width) if _narrows_table(encoder) else old.embedding
    other = Encoder(old.model_copy(update={"hidden": width, "embedding": table}))
    other.load_state_dict(_projected(encoder, axes))
    return other


def _narrows_table(encoder: Encoder) -> bool:
    return encoder.embedding_projection is None and encoder.shape.embedding.kind == "dense"


def _projected(encoder: Encoder, axes: Tensor) -> dict[str, Tensor]:
    whole = encoder.state_dict()
    narrowed = ("hidden", "embedding") if _narrows_table(encoder) else ("hidden",)
    state = {
        weight.name: _along(whole[weight.name], weight, narrowed, axes)
        for weight in encoder_weights(encoder.shape)
    }
    if encoder.embedding_projection is None and not _narrows_table(encoder):
        state |= {
            "embedding_projection.weight": axes.T.contiguous(),
            "embedding_projection.bias": axes.new_zeros(axes.shape[1]),
        }
    return state


def _along(value: Tensor, weight: Weight, narrowed: Sequence[str], axes: Tensor) -> Tensor:
    """One weight with its narrowed axes seen through the orthonormal ones."""
    inner, first = (weight.axes[place].name in narrowed for place in (-1, 0))
    if weight.kind == "gain" and inner:
        gain = (axes.shape[0] / axes.shape[1]) ** 0.5
        narrow_gain: Tensor = torch.einsum("hi,h,hi->i", axes, value, axes) * gain
        return narrow_gain
    value = value @ axes if inner else value
    return axes.T @ value if first and len(weight.axes) > 1 else value
