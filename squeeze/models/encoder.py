"""The student: a compact post-LN encoder whose parts may each have their own width.

It computes what BERT computes (Devlin et al. 2019), so that a teacher's weights can be carved into
it, with three freedoms BERT's classes do not have: heads and feed-forward width may differ from
layer to layer, attention width (heads x head size) is not tied to the hidden width, and the
embedding table may be dense, low-rank or product-quantized. The token-type row is folded into the
positions, Q, K and V are one matrix, and one additive mask serves all layers: what is exported is lean.

Shapes: B texts, T tokens, E embedding width, H hidden width, A = heads x head size, F feed-forward width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from squeeze.models.embedding import Embedding, make_embedding
from squeeze.models.shapes import Activation, EncoderShape, Groups, LayerShape

__all__ = [
    "ACTIVATIONS",
    "MASKED",
    "Activation",
    "ClassificationHead",
    "Encoder",
    "EncoderShape",
    "Gates",
    "Layer",
    "LayerShape",
    "Outputs",
    "additive_mask",
    "embedding_parameters",
    "one_row_a_label",
    "parameters",
    "sum_outputs",
]

MASKED = -1e4  # far below any score, and still finite in half precision

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class Gates:
    """Factors at 1 on every head and neuron; their gradient says what each is worth."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]


@dataclass
class Outputs:
    """One forward pass, with as much of the inside as was asked for.

    Attributes:
        logits: (B, labels).
        hidden: states after the embedding and after every layer, (B, T, H) each.
        attention: attention probabilities by layer, (B, heads, T, T).
        relations: queries, keys and values by layer, (B, T, A) each.
    """

    logits: Tensor
    hidden: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    relations: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)


class Layer(nn.Module):
    """Attention and feed-forward, each followed by its norm."""

    def __init__(self, shape: EncoderShape, index: int) -> None:
        super().__init__()
        layer, width = shape.layers[index], shape.hidden
        self.heads, self.head_size = layer.heads, shape.head_size
        attention = self.heads * self.head_size
        self.qkv = nn.Linear(width, 3 * attention)
        for name in ("query", "pair"):  # see `split_queries`
            self.register_module(name, None)
        self.out = nn.Linear(attention, width)
        self.attention_norm = nn.LayerNorm(width, eps=shape.epsilon)
        self.up = nn.Linear(width, layer.ffn)
        self.down = nn.Linear(layer.ffn, width)
        self.norm = nn.LayerNorm(width, eps=shape.epsilon)
        self.activation = ACTIVATIONS[shape.activation]
        self.scale = self.head_size**-0.5
        self.distances: nn.Parameter | None = None
        if shape.relative_bias:
            self.distances = nn.Parameter(torch.zeros(layer.heads, 2 * shape.positions - 1))

    def forward(
        self, x: Tensor, bias: Tensor, keep: Outputs | None, gates: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """(B, T, H) and an additive bias that broadcasts to (B, heads, T, T) -> (B, T, H).

        Args:
            x: states.
            bias: added to the attention scores.
            keep: takes attention and relations; None: nobody asked.
            gates: (heads,) and (F,) factors.
        """
        batch, length, _ = x.shape
        if self.distances is not None:
            bias = bias + self._distance_bias(self.distances, length)
        mixed = self.project(x).view(batch, length, 3, self.heads, self.head_size)
        q, k, v = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        if keep is None and not self.training:
            # Faster without gradients; its backward pass on short texts is slower than the plain products.
            context = F.scaled_dot_product_attention(q, k, v, bias, scale=self.scale)
        else:
            scores = (q * self.scale if self.scale != 1 else q) @ k.transpose(-1, -2) + bias
            weights = scores.softmax(-1)
            context = weights @ v
            if keep is not None:
                keep.attention.append(weights)
                keep.relations.append(_side_by_side(q, k, v))
        if gates is not None:
            context = context * gates[0][:, None, None]
        context = context.transpose(1, 2).reshape(batch, length, self.heads * self.head_size)
        return self.finish(x, context, None if gates is None else gates[1])

    def project(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, 3A) queries, keys and values."""
        if self.query is None:
            return self.qkv(x)
        return torch.cat([self.query(x), self.pair(x)], dim=-1)

    def finish(self, x: Tensor, context: Tensor, gates: Tensor | None = None) -> Tensor:
        """What follows attention on any number of rows: (..., H) states and (..., A) -> (..., H)."""
        x = self.attention_norm(x + self.out(context))
        inner = self.activation(self.up(x))
        result: Tensor = self.norm(x + self.down(inner if gates is None else inner * gates))
        return result

    def split_queries(self) -> None:
        """Part `qkv` into `query` and `pair` (keys and values).

        The exported graph needs the last layer's queries of the first token alone.
        """
        width = self.heads * self.head_size
        self.query, self.pair = (_rows(self.qkv, rows) for rows in (slice(width), slice(width, None)))
        del self.qkv

    @staticmethod
    def _distance_bias(distances: Tensor, length: int) -> Tensor:
        """(heads, 2P-1) -> (heads, T, T): the bias of key j for query i is that of the distance j - i."""
        steps = torch.arange(length, device=distances.device)
        index = steps[None, :] - steps[:, None] + (distances.shape[1] + 1) // 2 - 1
        return distances[:, index]


def _rows(linear: nn.Linear, rows: slice) -> nn.Linear:
    """Some outputs of a linear map as a map of their own."""
    weight, bias = linear.weight[rows], linear.bias[rows]
    part = nn.Linear(weight.shape[1], weight.shape[0])
    part.load_state_dict({"weight": weight, "bias": bias})
    return part


def _side_by_side(*parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (part.transpose(1, 2).flatten(2) for part in parts)
    return q, k, v


class ClassificationHead(nn.Module):
    """Two linear maps with a function between them, on the states of the first token."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden, shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.outputs)
        self.activation, self.groups = ACTIVATIONS[shape.head_activation], shape.groups

    def forward(self, x: Tensor) -> Tensor:
        """(B, H) -> (B, labels) logits."""
        logits: Tensor = self.output(self.features(x))
        return sum_outputs(logits, self.groups) if self.groups else logits

    def features(self, x: Tensor) -> Tensor:
        """(B, H) -> (B, H), what the last matrix reads."""
        return self.activation(self.dense(x))


class Encoder(nn.Module):
    """Embedding, layers and a classification head on the first token."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.embedding.width
        self.embedding: Embedding = make_embedding(shape.vocabulary, shape.embedding)
        self.position_embeddings = nn.Parameter(torch.empty(shape.positions, width))
        self.embedding_norm = nn.LayerNorm(width, eps=shape.epsilon)
        self.embedding_projection = nn.Linear(width, shape.hidden) if width != shape.hidden else None
        self.layers = nn.ModuleList(Layer(shape, index) for index in range(len(shape.layers)))
        self.head = ClassificationHead(shape)
        self.apply(_initialise)
        nn.init.normal_(self.position_embeddings, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) token numbers and a mask of ones and zeros -> (B, labels) logits."""
        x, bias = self._enter(input_ids, attention_mask)
        for layer in self.layers:
            x = layer(x, bias, None, None)
        return self.classify(x)

    def observe(
        self, input_ids: Tensor, attention_mask: Tensor, *, inside: bool = False, gates: Gates | None = None
    ) -> Outputs:
        """The forward pass with the states of every layer; `inside` adds attention and relations."""
        x, bias = self._enter(input_ids, attention_mask)
        outputs = Outputs(logits=x, hidden=[x])
        keep = outputs if inside else None
        for index, layer in enumerate(self.layers):
            pair = None if gates is None else (gates.heads[index], gates.neurons[index])
            x = layer(x, bias, keep, pair)
            outputs.hidden.append(x)
        outputs.logits = self.classify(x)
        return outputs

    def _enter(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.enter(input_ids)
        return x, additive_mask(attention_mask, x.dtype)

    def enter(self, input_ids: Tensor) -> Tensor:
        """(B, T) token numbers -> (B, T, H), what the first layer reads."""
        rows = self.embedding(input_ids) + self.position_rows(input_ids.shape[1])
        x: Tensor = self.embedding_norm(rows)
        return x if self.embedding_projection is None else self.embedding_projection(x)

    def position_rows(self, length: int) -> Tensor:
        """(T, E) what is added at each place."""
        return self.position_embeddings[:length]

    def classify(self, x: Tensor) -> Tensor:
        """Last states (B, T, H) -> (B, labels) logits."""
        logits: Tensor = self.head(x[:, 0])
        return logits


def additive_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T) ones and zeros -> (B, 1, 1, T) what is added to attention scores."""
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * MASKED


def sum_outputs(logits: Tensor, groups: Groups) -> Tensor:
    """(..., outputs) logits -> (..., labels) logarithms of the probabilities summed for each label."""
    logs = logits.log_softmax(-1)
    return torch.stack([logs[..., list(group)].logsumexp(-1) for group in groups], dim=-1)


def one_row_a_label(head: nn.Linear, groups: Groups) -> tuple[Tensor, Tensor]:
    """Weight (labels, H) and bias (labels,) of a plain head that comes near to a summed one.

    The logarithm of a sum of n exponentials is not linear; where they are equal its first-order expansion is
    their mean plus log n.
    """
    weight = torch.stack([head.weight[list(group)].mean(0) for group in groups])
    bias = torch.stack([head.bias[list(group)].mean() + math.log(len(group)) for group in groups])
    return weight.detach(), bias.detach()


def _initialise(module: nn.Module) -> None:
    """BERT's initialisation: N(0, 0.02), biases zero."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def parameters(model: nn.Module) -> int:
    """Number of trained values; a product-quantized table counts its codebooks and its codes."""
    codes = sum(buffer.numel() for name, buffer in model.named_buffers() if name.endswith("codes"))
    return sum(p.numel() for p in model.parameters()) + codes


def embedding_parameters(model: Encoder) -> int:
    """Values of the embedding: the table in whatever form, and the positions."""
    return parameters(model.embedding) + model.position_embeddings.numel()
