"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108)."""

from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILY"]

FAMILY = Family(
    body="distilbert",
    layer="transformer.layer.{}",
    modules={
        "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "out": ("attention.out_lin",),
        "attention_norm": ("sa_layer_norm",),
        "up": ("ffn.lin1",),
        "down": ("ffn.lin2",),
        "norm": ("output_layer_norm",),
    },
    heads={"AutoModelForSequenceClassification": HeadLayout("pre_classifier", "classifier", "relu")},
    sizes={
        "vocabulary": ("vocab_size", 30_522),
        "hidden": ("dim", 768),
        "heads": ("n_heads", 12),
        "layers": ("n_layers", 6),
        "ffn": ("hidden_dim", 3072),
        "positions": ("max_position_embeddings", 512),
    },
    epsilon=1e-12,
    activation="activation",
)
