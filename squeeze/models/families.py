"""Hugging Face encoder classifiers, read into our encoder weight for weight.

One table a family says how its tensors are called; what is computed is the same. The copy gives
the original's logits, and everything after it (importance, carving, states and attention) knows one
architecture only. Adding a family is one entry in FAMILIES (layout.py), one in KEYS (outline.py) and one
row in their tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from squeeze.errors import ProfileError
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.models.huggingface import transformers
from squeeze.models.layout import BERT_LAYER, FAMILIES, Family, family_of
from squeeze.models.support import ACTIVATION_NAMES, activation_key, config_problem

__all__ = [
    "FAMILIES",
    "Family",
    "can_start_earlier",
    "family_of",
    "fits_bert",
    "read",
    "shape_of",
    "uncounted",
    "write_bert",
]

Tensors = Mapping[str, Tensor]


def read(model: Any, *, share: bool = False) -> Encoder:
    """Copy a Hugging Face sequence classifier into our encoder.

    Args:
        model: an instance of one of the families' ``...ForSequenceClassification`` classes.
        share: whether tensors that both have are one in memory, for two that are only read.

    Returns:
        An encoder in evaluation mode that gives the same logits on right-padded text with one segment.
    """
    family = family_of(model.config.model_type)
    shape = shape_of(model)
    encoder = Encoder(shape)
    tensors: Tensors = {name: value.detach() for name, value in model.state_dict().items()}
    encoder.load_state_dict(_convert(family, tensors, shape, model), assign=share)
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
    groups = getattr(model.get_submodule(family.head_out), "groups", ())
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
        labels=len(groups) or sizes[f"{family.head_out}.weight"][0],
        groups=groups,
        activation=ACTIVATION_NAMES[getattr(config, activation_key(config.model_type))],
        head_activation=family.head_activation,
        epsilon=family.epsilon or float(config.layer_norm_eps),
        relative_bias=family.relative is not None,
    )


def uncounted(model: Any) -> int | None:
    """Number of the piece whose position a family does not count, whatever the mask says; None: all count."""
    family = family_of(model.config.model_type)
    if family.first_position is None:
        return int(model.config.pad_token_id)
    return family.first_position - 1 if family.first_position else None


def can_start_earlier(model: Any) -> bool:
    """Whether the config says from where positions are counted, and not the family's code."""
    return family_of(model.config.model_type).first_position is None


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
                state[f"{theirs}.{BERT_LAYER[part]}.{suffix}"] = value
            for name in ("out", "attention_norm", "up", "down", "norm"):
                state[f"{theirs}.{BERT_LAYER[name]}.{suffix}"] = ours[f"{mine}.{name}.{suffix}"]
    return state
