"""ELECTRA's discriminator (Clark et al. 2020, arXiv:2003.10555), whose table may be narrower than a layer."""

from squeeze.models.families.bert import LAYER, SIZES
from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILY"]

FAMILY = Family(
    body="electra",
    layer="encoder.layer.{}",
    modules=LAYER,
    heads={
        "AutoModelForSequenceClassification": HeadLayout("classifier.dense", "classifier.out_proj", "gelu")
    },
    sizes={
        **SIZES,
        "hidden": ("hidden_size", 256),
        "heads": ("num_attention_heads", 4),
        "ffn": ("intermediate_size", 1024),
        "width": ("embedding_size", 128),
    },
)
