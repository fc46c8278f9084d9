"""Where each family keeps its tensors; known without torch, so that headers can be checked.

Adding a family is one entry in FAMILIES, one in KEYS (outline.py) and one row in the tests of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from squeeze.errors import ProfileError
from squeeze.models.shapes import Activation

__all__ = ["BERT_LAYER", "BUCKETS", "FAMILIES", "Family", "family_of", "unsupported_family"]

BUCKETS = 32
"""Of the distances that MPNet's own code tells apart, whatever its config says."""


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
        segmented: whether it has a table of segments.
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
    segmented: bool = True
    epsilon: float | None = None


BERT_LAYER = {
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
    BERT_LAYER,
    "classifier.dense",
    "classifier.out_proj",
    "tanh",
    first_position=None,
)

FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert", "encoder.layer.{}", BERT_LAYER, "bert.pooler.dense", "classifier", "tanh"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Family(
        "distilbert",
        "transformer.layer.{}",
        _DISTIL_LAYER,
        "pre_classifier",
        "classifier",
        "relu",
        segmented=False,
        epsilon=1e-12,
    ),
    "electra": Family(
        "electra", "encoder.layer.{}", BERT_LAYER, "classifier.dense", "classifier.out_proj", "gelu"
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
        segmented=False,
    ),
}


def family_of(model_type: str) -> Family:
    """The table of a family.

    Raises:
        ProfileError: the family is not supported.
    """
    if model_type not in FAMILIES:
        raise ProfileError(
            unsupported_family(model_type), hint="use an encoder classifier of one of these families"
        )
    return FAMILIES[model_type]


def unsupported_family(model_type: str) -> str:
    """What is said of a family that is not supported."""
    return f"teacher family {model_type!r} is not supported (supported: {', '.join(FAMILIES)})"
