"""Hugging Face encoder classifiers, read into our encoder weight for weight.

A family says how its tensors are called; what is computed is the same. The copy gives the original's logits,
and everything after it (importance, carving, states and attention) knows one architecture only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from squeeze.errors import ProfileError
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.models.families import Family, family_of
from squeeze.models.huggingface import transformers
from squeeze.models.support import ACTIVATION_NAMES, config_problem
from squeeze.models.weights import encoder_weights
from squeeze.tasks import DEFAULT

__all__ = [
    "can_start_earlier",
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

    Raises:
        ProfileError: the family or a variant of it is not supported.
    """
    config, family = model.config, family_of(model.config.model_type)
    problem = config_problem(config.to_dict())
    if problem:
        raise ProfileError(problem)
    hidden, heads, depth = _widths(config, family)
    sizes = {name: value.shape for name, value in model.state_dict().items()}
    head = family.classifier
    groups = getattr(model.get_submodule(head.output), "groups", ())

    def rows(name: str) -> int:
        return int(sizes[family.hub_names(name)[0]][0])

    [table] = family.hub_names("embedding.weight")
    return EncoderShape(
        vocabulary=rows("embedding.weight"),
        embedding=EmbeddingShape(width=sizes[table][1]),
        hidden=hidden,
        head_size=hidden // heads,
        layers=(LayerShape(heads=heads, ffn=rows("layers.0.up.weight")),) * depth,
        positions=rows("position_embeddings") - _first_position(config, family),
        labels=len(groups) or rows("head.output.weight"),
        groups=groups,
        activation=ACTIVATION_NAMES[getattr(config, family.activation)],
        head_activation=head.activation,
        epsilon=family.epsilon or float(config.layer_norm_eps),
        relative_bias=family.relative is not None,
    )


def _widths(config: Any, family: Family) -> tuple[int, int, int]:
    """Hidden width, heads and layers, by the field names that optimum knows, else by those of the family."""
    from optimum.utils import NormalizedConfigManager

    try:
        normal = NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    except KeyError:
        hidden, heads, depth = (getattr(config, family.sizes[n][0]) for n in ("hidden", "heads", "layers"))
        return hidden, heads, depth
    return normal.hidden_size, normal.num_attention_heads, normal.num_layers


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
    state: dict[str, Tensor] = {}
    bias = _distances(tensors, shape.positions, model) if shape.relative_bias else None
    for weight in encoder_weights(shape):
        parts = [tensors[name] for name in family.hub_names(weight.name)]
        if weight.name == "position_embeddings":
            state[weight.name] = _positions(family, tensors, parts[0], _first_position(model.config, family))
        elif weight.name.endswith("distances") and bias is not None:
            state[weight.name] = bias
        else:
            state[weight.name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return state


def _positions(family: Family, tensors: Tensors, table: Tensor, first: int) -> Tensor:
    """The rows that are read; one segment is all that a single text has, so its row is added to every one."""
    return table[first:] + tensors[family.segments][0] if family.segmented else table[first:]


def _distances(tensors: Tensors, positions: int, model: Any) -> Tensor:
    """(heads, 2P-1) bias of every distance, by the family's own rule of buckets, from (buckets, heads)."""
    [name] = family_of(model.config.model_type).hub_names("layers.0.distances")
    rule: Callable[[Tensor], Tensor] = model.base_model.encoder.relative_position_bucket
    distance = torch.arange(-(positions - 1), positions)
    return tensors[name].cpu()[rule(distance)].T.contiguous()


def fits_bert(shape: EncoderShape) -> bool:
    """Whether BertForSequenceClassification can hold this shape."""
    return (
        len(set(shape.layers)) == 1
        and shape.layers[0].heads * shape.head_size == shape.hidden
        and shape.embedding.width == shape.hidden
        and shape.head_activation == "tanh"
        and not shape.relative_bias
    )


def write_bert(encoder: Encoder, labels: tuple[str, ...], pad_id: int, problem_type: str = DEFAULT) -> Any:
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
        problem_type=problem_type,
    )
    model = library.BertForSequenceClassification(config)
    model.load_state_dict(_to_bert(encoder))
    return model.eval()


def _to_bert(encoder: Encoder) -> dict[str, Tensor]:
    family, shape = family_of("bert"), encoder.shape
    dense = shape.model_copy(update={"embedding": EmbeddingShape(width=shape.hidden)})
    ours = encoder.state_dict() | {"embedding.weight": encoder.embedding.table().detach()}
    state = {family.segments: torch.zeros(1, shape.hidden)}
    for weight in encoder_weights(dense):
        names = family.hub_names(weight.name)
        state |= zip(names, ours[weight.name].chunk(len(names)), strict=True)
    return state
