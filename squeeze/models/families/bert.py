"""BERT (Devlin et al. 2019, arXiv:1810.04805)."""

from collections.abc import Mapping

from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILY", "LAYER", "SIZES"]

LAYER: Mapping[str, tuple[str, ...]] = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "norm": ("output.LayerNorm",),
}
SIZES: Mapping[str, tuple[str, int]] = {
    "vocabulary": ("vocab_size", 30_522),
    "hidden": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
    "layers": ("num_hidden_layers", 12),
    "ffn": ("intermediate_size", 3072),
    "positions": ("max_position_embeddings", 512),
    "types": ("type_vocab_size", 2),
}
FAMILY = Family(
    body="bert",
    layer="encoder.layer.{}",
    modules=LAYER,
    heads={"AutoModelForSequenceClassification": HeadLayout("bert.pooler.dense", "classifier", "tanh")},
    sizes=SIZES,
)
