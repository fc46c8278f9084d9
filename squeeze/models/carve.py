"""Cut a student out of a teacher: layers, heads, neurons, rows of the table, hidden width.

Depth, heads and neurons are cheap to give up; the hidden width is not, and is only reduced through
a projection onto the directions in which the teacher's states really vary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from squeeze.core import product_quantization as pq
from squeeze.core.importance import mean_absolute, top
from squeeze.core.losses import pca_projection
from squeeze.models.encoder import Encoder, Gates, Layer, one_row_a_label
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape

__all__ = [
    "Carver",
    "Cut",
    "Importance",
    "carve",
    "carve_layer",
    "keep_best",
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
    student = Encoder(_shape(teacher.shape, cut))
    whole = ["embedding_norm", "head_dense"] + ["widen"] * (teacher.widen is not None)
    with torch.no_grad():
        student.embedding.weight.copy_(teacher.embedding.table()[torch.from_numpy(cut.rows)])
        student.positions.copy_(teacher.positions[: cut.positions])
        for name in whole:
            _copy(student.get_submodule(name), teacher.get_submodule(name))
        _copy_head(student, teacher)
        ours, theirs = _layers(student), _layers(teacher)
        for index, layer in enumerate(cut.layers):
            carve_layer(ours[index], theirs[layer], cut.heads[index], cut.neurons[index])
        if cut.axes is not None and cut.axes.shape[1] < teacher.shape.hidden:
            student = narrow(student, cut.axes)
        return recode(student, cut.embedding, cut.weights, cut.seed)


def _layers(encoder: Encoder) -> list[Layer]:
    return cast("list[Layer]", list(encoder.layers))


def _shape(teacher: EncoderShape, cut: Cut) -> EncoderShape:
    layers = tuple(LayerShape(heads=len(h), ffn=len(n)) for h, n in zip(cut.heads, cut.neurons, strict=True))
    return teacher.model_copy(
        update={
            "vocabulary": len(cut.rows),
            "embedding": EmbeddingShape(width=teacher.embedding.width),
            "layers": layers,
            "positions": cut.positions,
            "groups": (),
        }
    )


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


def _copy(to: nn.Module, source: nn.Module) -> None:
    to.load_state_dict(source.state_dict())


def _copy_head(student: Encoder, teacher: Encoder) -> None:
    """Copy the last matrix of the head; where a label has several rows, the student starts near to them."""
    if not teacher.shape.groups:
        _copy(student.head_out, teacher.head_out)
        return
    weight, bias = one_row_a_label(teacher.head_out, teacher.shape.groups)
    student.head_out.weight.copy_(weight)
    student.head_out.bias.copy_(bias)


def one_row_each(encoder: Encoder) -> Encoder:
    """The same encoder with one row of the head a label: itself, unless its outputs are summed."""
    if not encoder.shape.groups:
        return encoder
    other = Encoder(encoder.shape.model_copy(update={"groups": ()}))
    weight, bias = one_row_a_label(encoder.head_out, encoder.shape.groups)
    other.load_state_dict({**encoder.state_dict(), "head_out.weight": weight, "head_out.bias": bias})
    return other.train(encoder.training)


def carve_layer(student: Layer, teacher: Layer, heads: tuple[int, ...], neurons: tuple[int, ...]) -> None:
    """Copy what is kept of one layer; call it without gradients."""
    size = teacher.head_size
    columns = torch.cat([torch.arange(head * size, (head + 1) * size) for head in heads])
    width = teacher.heads * size
    rows = torch.cat([columns + part * width for part in range(3)])  # queries, keys, values
    kept = torch.tensor(neurons)
    student.qkv.weight.copy_(teacher.qkv.weight[rows])
    student.qkv.bias.copy_(teacher.qkv.bias[rows])
    student.out.weight.copy_(teacher.out.weight[:, columns])
    student.out.bias.copy_(teacher.out.bias)
    student.up.weight.copy_(teacher.up.weight[kept])
    student.up.bias.copy_(teacher.up.bias[kept])
    student.down.weight.copy_(teacher.down.weight[:, kept])
    student.down.bias.copy_(teacher.down.bias)
    _copy(student.attention_norm, teacher.attention_norm)
    _copy(student.norm, teacher.norm)
    if student.distances is not None and teacher.distances is not None:
        reach = student.distances.shape[1] // 2
        middle = teacher.distances.shape[1] // 2
        student.distances.copy_(teacher.distances[list(heads), middle - reach : middle + reach + 1])


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
    return encoder.widen is None and encoder.shape.embedding.kind == "dense"


def _projected(encoder: Encoder, axes: Tensor) -> dict[str, Tensor]:
    state = {name: value.detach().clone() for name, value in encoder.state_dict().items()}
    gain = (axes.shape[0] / axes.shape[1]) ** 0.5
    reads, writes, norms = _sides(encoder)
    for name in reads:
        state[f"{name}.weight"] = state[f"{name}.weight"] @ axes
    for name in writes:
        state[f"{name}.weight"] = axes.T @ state[f"{name}.weight"]
        state[f"{name}.bias"] = state[f"{name}.bias"] @ axes
    for name in norms:
        weight = torch.einsum("hi,h,hi->i", axes, state[f"{name}.weight"], axes)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight * gain, state[f"{name}.bias"] @ axes
    if _narrows_table(encoder):
        state["positions"] = state["positions"] @ axes
        state["embedding.weight"] = state["embedding.weight"] @ axes
    elif encoder.widen is None:
        state["widen.weight"], state["widen.bias"] = axes.T.contiguous(), axes.new_zeros(axes.shape[1])
    return state


def _sides(encoder: Encoder) -> tuple[list[str], list[str], list[str]]:
    """Names of the matrices that read the residual stream, of those that write it, and of its norms."""

    def each(*names: str) -> list[str]:
        return [f"layers.{index}.{name}" for index in range(len(encoder.layers)) for name in names]

    entry = ["embedding_norm"] if _narrows_table(encoder) else []
    return (
        [*each("qkv", "up"), "head_dense", "head_out"],
        [*each("out", "down"), "head_dense"] + ["widen"] * (encoder.widen is not None),
        [*each("attention_norm", "norm"), *entry],
    )
