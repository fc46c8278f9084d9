"""What a student is trained to minimise: one file a loss, and the only list of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from squeeze.distillation.losses.base import Loss, ObservedBatch

__all__ = ["LOSSES", "AnyLoss", "Loss", "ObservedBatch"]

CLASSES = {
    "cross_entropy": "CrossEntropy",
    "binary_cross_entropy": "BinaryCrossEntropy",
    "mse": "MSE",
    "soft_cross_entropy": "SoftCrossEntropy",
    "kl": "KLDivergence",
    "binary_kl": "BinaryKL",
    "logit_mse": "LogitMSE",
    "jensen_shannon": "JensenShannon",
    "topk_kd": "TopK",
    "hidden_mse": "HiddenMSE",
    "attention_mse": "AttentionMSE",
    "attention_kl": "AttentionKL",
    "relation_kl": "RelationKL",
    "pooled_mimic": "PooledMimic",
    "diswot_relation": "DiswotRelation",
    "diswot_semantic": "DiswotSemantic",
}
"""By the `name` of a loss, which is that of its file."""

LOSSES: Mapping[str, type[Loss]] = {
    name: getattr(import_module(f"{__name__}.{name}"), kind) for name, kind in CLASSES.items()
}

if TYPE_CHECKING:
    AnyLoss: TypeAlias = Loss
else:  # pydantic picks the class by `name`
    AnyLoss = Annotated[reduce(or_, LOSSES.values()), Field(discriminator="name")]
