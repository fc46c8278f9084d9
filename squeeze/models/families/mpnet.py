"""MPNet (Song et al. 2020, arXiv:2004.09297): BERT with a learned bias of attention for each distance."""

from collections.abc import Mapping
from typing import Any

from squeeze.models.families.bert import LAYER, SIZES
from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILY"]

BUCKETS = 32
"""Of distances that MPNet's own code tells apart, whatever its config says."""


def _problem(config: Mapping[str, Any]) -> str | None:
    buckets = config.get("relative_attention_num_buckets", BUCKETS)
    if isinstance(buckets, int) and buckets >= BUCKETS:
        return None
    return f"relative_attention_num_buckets {buckets!r}: MPNet reads {BUCKETS}"


FAMILY = Family(
    body="mpnet",
    layer="encoder.layer.{}",
    modules={
        **LAYER,
        "qkv": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        "out": ("attention.attn.o",),
        "attention_norm": ("attention.LayerNorm",),
    },
    heads={
        "AutoModelForSequenceClassification": HeadLayout("classifier.dense", "classifier.out_proj", "tanh")
    },
    sizes={name: size for name, size in SIZES.items() if name != "types"}
    | {"vocabulary": ("vocab_size", 30_527)},
    first_position=2,  # whatever number the padding piece has
    relative="encoder.relative_attention_bias.weight",
    buckets=BUCKETS,
    problem=_problem,
)
