"""The shape of an encoder: all that is known of it before torch is loaded or a weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from squeeze.errors import ProfileError, reason
from squeeze.schema import Frozen

__all__ = [
    "SHAPE",
    "WEIGHTS",
    "Activation",
    "EmbeddingShape",
    "EncoderShape",
    "Groups",
    "LayerShape",
    "load_shape",
    "no_student",
]

SHAPE, WEIGHTS = "encoder.json", "student.safetensors"

Activation = Literal["gelu", "gelu_tanh", "relu", "tanh"]

Groups = tuple[tuple[int, ...], ...]
"""For each label the outputs of a head that answer for it."""


class EmbeddingShape(Frozen):
    """How a table of V rows and width E is stored."""

    kind: Literal["dense", "factorised", "product"] = "dense"
    width: int = Field(ge=1)
    """E, the width of one row"""
    rank: int = Field(default=1, ge=1)
    """`factorised`: inner width"""
    subvectors: int = Field(default=1, ge=1)
    """`product`: codes a row"""
    codewords: int = Field(default=256, ge=2, le=256)
    """`product`: entries a codebook"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "product" and self.width % self.subvectors:
            raise ValueError(f"{self.subvectors} sub-vectors do not divide a width of {self.width}")
        if self.kind == "factorised" and self.rank > self.width:
            raise ValueError(f"rank {self.rank} is larger than the width {self.width}")
        return self


class LayerShape(Frozen):
    """Widths of one layer."""

    heads: int = Field(ge=1)
    ffn: int = Field(ge=1)


class EncoderShape(Frozen):
    """All that is needed to build an encoder before its weights are loaded."""

    vocabulary: int = Field(ge=1)
    """pieces of the tokenizer"""
    embedding: EmbeddingShape
    """how the table of pieces is stored, and its width E"""
    hidden: int = Field(ge=1)
    """width H of the residual stream"""
    head_size: int = Field(ge=1)
    """width of one attention head"""
    layers: tuple[LayerShape, ...] = Field(min_length=1)
    positions: int = Field(ge=1)
    """longest input in tokens"""
    labels: int = Field(ge=1)
    groups: Groups = ()
    """for each label the outputs of the head that are summed in probability; none: one output a label"""
    activation: Activation = "gelu"
    head_activation: Activation = "tanh"
    """between the two matrices of the classification head"""
    epsilon: float = Field(default=1e-12, gt=0)
    relative_bias: bool = False
    """MPNet: one learned bias per head and distance"""

    @property
    def outputs(self) -> int:
        """Rows of the head's last matrix."""
        return sum(map(len, self.groups)) or self.labels


def load_shape(folder: Path) -> EncoderShape:
    """The shape of the encoder in a folder.

    Raises:
        ProfileError: there is none, or it is no shape.
    """
    try:
        return EncoderShape.parse(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:  # pydantic's is a ValueError
        raise no_student(folder, error) from error


def no_student(folder: Path, error: Exception) -> ProfileError:
    """The error of a folder that holds no student, with the reason in one line."""
    hint = f"needs {SHAPE} and {WEIGHTS} of one student"
    return ProfileError(f"{folder}: not a student ({reason(error)})", hint=hint)
