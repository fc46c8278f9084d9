"""Hugging Face encoder classifiers, read into our encoder weight for weight.

One table a family says how its tensors are called; what is computed is the same. The copy gives
the original's logits, and everything after it (importance, carving, teacher outputs) knows one
architecture only. Adding a family is one entry in FAMILIES and one row in its test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from squeeze.errors import ProfileError
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.models.huggingface import transformers
from squeeze.models.shapes import Activation
from squeeze.models.support import (
    ACTIVATION_NAMES,
    activation_key,
    config_problem,
    unsupported_family,
)

__all__ = ["FAMILIES", "Family", "family_of", "fits_bert", "read", "shape_of", "write_bert"]

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family:
    """Where one family keeps its tensors, as prefixes; ``{}`` is the layer number.

    Attributes:
        body: prefix of the encoder inside the classifier.
        layer: the layers' prefix below `body`.
        parts: our name of each matrix and norm inside a layer to the family's.
        head_dense: first matrix of the classification head.
        head_out: last matrix of the classification head.
        head_activation: the function between them.
        first_position: row of the position table that the first token reads; None: the one after the
            padding piece's number, as fairseq counts.
        relative: name of the relative attention bias below `body`, if there is one.
        epsilon: of the norms, where the family has one of its own and reads none from its config.
    """

    body: str
    layer: str
    parts: Mapping[str, str]
    head_dense: str
    head_out: str
    head_activation: Activation
    first_position: int | None = 0
    relative: str | None = None
    epsilon: float | None = None


_BERT_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
_DISTIL_LAYER = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "out": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "norm": "output_layer_norm",
}
_MPNET_LAYER = {
    "q": "attention.attn.q",
    "k": "attention.attn.k",
    "v": "attention.attn.v",
    "out": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
_ROBERTA = Family(
    "roberta",
    "encoder.layer.{}",
    _BERT_LAYER,
    "classifier.dense",
    "classifier.out_proj",
    "tanh",
    first_position=None,
)

FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert", "encoder.layer.{}", _BERT_LAYER, "bert.pooler.dense", "classifier", "tanh"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Family(
        "distilbert",
        "transformer.layer.{}",
        _DISTIL_LAYER,
        "pre_classifier",
        "classifier",
        "relu",
        epsilon=1e-12,
    ),
    "electra": Family(
        "electra", "encoder.layer.{}", _BERT_LAYER, "classifier.dense", "classifier.out_proj", "gelu"
    ),
    "mpnet": Family(
        "mpnet",
        "encoder.layer.{}",
        _MPNET_LAYER,
        "classifier.dense",
        "classifier.out_proj",
        "tanh",
        first_position=2,  # whatever number the padding piece has
        relative="encoder.relative_attention_bias.weight",
    ),
}


def family_of(model_type: str) -> Family:
    """The table of a family.

    Raises:
        ProfileError: the family is not supported.
    """
    problem = unsupported_family(model_type)
    if problem:
        raise ProfileError(problem, hint="use an encoder classifier of one of these families")
    return FAMILIES[model_type]


def read(model: Any) -> Encoder:
    """Copy a Hugging Face sequence classifier into our encoder.

    Args:
        model: an instance of one of the families' ``...ForSequenceClassification`` classes.

    Returns:
        An encoder in evaluation mode that gives the same logits on right-padded text with one segment.
    """
    family = family_of(model.config.model_type)
    shape = shape_of(model)
    encoder = Encoder(shape)
    tensors: Tensors = {name: value.detach() for name, value in model.state_dict().items()}
    encoder.load_state_dict(_convert(family, tensors, shape, model))
    return encoder.eval()


def shape_of(model: Any) -> EncoderShape:
    """The shape that `read` gives, without copying a weight.

    Widths come through optimum's normalized configs, which know each family's own field names.

    Raises:
        ProfileError: the family or a variant of it is not supported.
    """
    from optimum.utils import NormalizedConfigManager

    config, family = model.config, family_of(model.config.model_type)
    problem = config_problem(config.to_dict(), trained=True)
    if problem:
        raise ProfileError(problem)
    normal = NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    sizes = {name: value.shape for name, value in model.state_dict().items()}
    rows, width = sizes[f"{family.body}.embeddings.word_embeddings.weight"]
    positions = sizes[f"{family.body}.embeddings.position_embeddings.weight"][0]
    ffn = sizes[f"{family.body}.{family.layer.format(0)}.{family.parts['up']}.weight"][0]
    return EncoderShape(
        vocabulary=rows,
        embedding=EmbeddingShape(width=width),
        hidden=normal.hidden_size,
        head_size=normal.hidden_size // normal.num_attention_heads,
        layers=(LayerShape(heads=normal.num_attention_heads, ffn=ffn),) * normal.num_layers,
        positions=positions - _first_position(config, family),
        labels=sizes[f"{family.head_out}.weight"][0],
        activation=ACTIVATION_NAMES[getattr(config, activation_key(config.model_type))],
        head_activation=family.head_activation,
        epsilon=family.epsilon or float(config.layer_norm_eps),
        relative_bias=family.relative is not None,
    )


def _first_position(config: Any, family: Family) -> int:
    return int(config.pad_token_id) + 1 if family.first_position is None else family.first_position


def _convert(family: Family, tensors: Tensors, shape: EncoderShape, model: Any) -> dict[str, Tensor]:
    """Tensors by our names."""
    state = _embeddings(family, tensors, _first_position(model.config, family))
    for index in range(len(shape.layers)):
        place = f"{family.body}.{family.layer.format(index)}"
        state.update(_layer(tensors, place, family.parts, f"layers.{index}"))
    if family.relative is not None:
        bias = _distances(tensors[f"{family.body}.{family.relative}"], shape.positions, model)
        state.update({f"layers.{index}.distances": bias for index in range(len(shape.layers))})
    for ours, theirs in (("head_dense", family.head_dense), ("head_out", family.head_out)):
        state.update(_pair(tensors, theirs, ours))
    return state


def _distances(table: Tensor, positions: int, model: Any) -> Tensor:
    """(buckets, heads) -> (heads, 2P-1): the bias of every distance, by the family's own rule of buckets."""
    rule: Callable[[Tensor], Tensor] = model.base_model.encoder.relative_position_bucket
    distance = torch.arange(-(positions - 1), positions)
    return table.cpu()[rule(distance)].T.contiguous()


def _embeddings(family: Family, tensors: Tensors, first: int) -> dict[str, Tensor]:
    place = f"{family.body}.embeddings"
    positions = tensors[f"{place}.position_embeddings.weight"][first:]
    segments = tensors.get(f"{place}.token_type_embeddings.weight")
    if segments is not None:
        # One segment is all a single text has: its row is the same for every token.
        positions = positions + segments[0]
    state = {"embedding.weight": tensors[f"{place}.word_embeddings.weight"], "positions": positions}
    state.update(_pair(tensors, f"{place}.LayerNorm", "embedding_norm"))
    if f"{family.body}.embeddings_project.weight" in tensors:
        state.update(_pair(tensors, f"{family.body}.embeddings_project", "widen"))
    return state


def _layer(tensors: Tensors, place: str, parts: Mapping[str, str], ours: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for suffix in ("weight", "bias"):
        state[f"{ours}.qkv.{suffix}"] = torch.cat([tensors[f"{place}.{parts[p]}.{suffix}"] for p in "qkv"])
    for name in ("out", "attention_norm", "up", "down", "norm"):
        state.update(_pair(tensors, f"{place}.{parts[name]}", f"{ours}.{name}"))
    return state


def _pair(tensors: Tensors, theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.{suffix}": tensors[f"{theirs}.{suffix}"] for suffix in ("weight", "bias")}


def fits_bert(shape: EncoderShape) -> bool:
    """Whether BertForSequenceClassification can hold this shape."""
    return (
        len(set(shape.layers)) == 1
        and shape.layers[0].heads * shape.head_size == shape.hidden
        and shape.embedding.width == shape.hidden
        and shape.head_activation == "tanh"
        and not shape.relative_bias
    )


def write_bert(encoder: Encoder, labels: tuple[str, ...], pad_id: int) -> Any:
    """The same classifier as a ``BertForSequenceClassification``.

    A low-rank or product-quantized table is written out whole: the folder is for loading anywhere,
    not for its size.
    """
    library, shape = transformers(), encoder.shape
    config = library.BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=len(shape.layers),
        num_attention_heads=shape.layers[0].heads,
        intermediate_size=shape.layers[0].ffn,
        max_position_embeddings=shape.positions,
        type_vocab_size=1,
        layer_norm_eps=shape.epsilon,
        hidden_act="gelu_pytorch_tanh" if shape.activation == "gelu_tanh" else shape.activation,
        pad_token_id=pad_id,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    model = library.BertForSequenceClassification(config)
    model.load_state_dict(_to_bert(encoder))
    return model.eval()


def _to_bert(encoder: Encoder) -> dict[str, Tensor]:
    ours = encoder.state_dict()
    place = "bert.embeddings"
    state = {
        f"{place}.word_embeddings.weight": encoder.embedding.table().detach(),
        f"{place}.position_embeddings.weight": ours["positions"],
        f"{place}.token_type_embeddings.weight": torch.zeros(1, encoder.shape.hidden),
    }
    for suffix in ("weight", "bias"):
        state[f"{place}.LayerNorm.{suffix}"] = ours[f"embedding_norm.{suffix}"]
        state[f"bert.pooler.dense.{suffix}"] = ours[f"head_dense.{suffix}"]
        state[f"classifier.{suffix}"] = ours[f"head_out.{suffix}"]
        for index in range(len(encoder.shape.layers)):
            theirs, mine = f"bert.encoder.layer.{index}", f"layers.{index}"
            for part, value in zip("qkv", ours[f"{mine}.qkv.{suffix}"].chunk(3), strict=True):
                state[f"{theirs}.{_BERT_LAYER[part]}.{suffix}"] = value
            for name in ("out", "attention_norm", "up", "down", "norm"):
                state[f"{theirs}.{_BERT_LAYER[name]}.{suffix}"] = ours[f"{mine}.{name}.{suffix}"]
    return state
