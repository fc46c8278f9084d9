"""RoBERTa (Liu et al. 2019, arXiv:1907.11692) and XLM-RoBERTa (Conneau et al. 2020, arXiv:1911.02116)."""

from dataclasses import replace

from squeeze.models.families.bert import LAYER, SIZES
from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILY", "XLM"]

FAMILY = Family(
    body="roberta",
    layer="encoder.layer.{}",
    modules=LAYER,
    heads={
        "AutoModelForSequenceClassification": HeadLayout("classifier.dense", "classifier.out_proj", "tanh")
    },
    sizes={**SIZES, "vocabulary": ("vocab_size", 50_265)},
    first_position=None,
)
XLM = replace(FAMILY, sizes=SIZES)
