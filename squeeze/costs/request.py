"""What a cost table is asked to cover: the students of one space, as grids of their widths and lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from squeeze.models.shapes import Activation, EmbeddingShape, EncoderShape, LayerShape
from squeeze.schema import Frozen

__all__ = ["FORMS", "CostRequest", "Form", "Stem", "grid", "inside"]

Form = Literal["fp32", "int8-dynamic"]
FORMS: tuple[Form, ...] = ("fp32", "int8-dynamic")
POINTS = 4
"""Grid points between the smallest and the largest width: products are nearly linear in their widths."""
COMMON = ("head_size", "activation", "head_activation", "relative_bias", "labels")
"""Fields of a shape that one table holds for; positions and vocabulary cost next to nothing."""


class Stem(Frozen):
    """What all layers share: the width they work on and the table below them."""

    hidden: int = Field(ge=1)
    """width H of the residual stream"""
    embedding: EmbeddingShape


class CostRequest(Frozen):
    """What is measured; `CostRequest.spanning` makes one from the corners of a space."""

    stems: tuple[Stem, ...] = Field(min_length=1)
    """layers are measured once a hidden width, on its first stem; further ones add their table"""
    heads: tuple[int, ...] = Field(min_length=1)
    """grid of heads a layer, ascending"""
    neurons: tuple[int, ...] = Field(min_length=1)
    """grid of feed-forward neurons a layer, ascending"""
    lengths: tuple[int, ...] = Field(min_length=1)
    """grid of tokens a text, ascending"""
    depth: int = Field(ge=1)
    """most layers"""
    head_size: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    """pieces of the probes; it decides how much of the table fits into the caches"""
    labels: int = Field(default=2, ge=2)
    activation: Activation = "gelu"
    head_activation: Activation = "tanh"
    relative_bias: bool = False
    forms: tuple[Form, ...] = Field(default=FORMS, min_length=1)
    min_runs: int = Field(default=600, ge=1)
    """least timed calls of each probe, all lengths together"""
    min_seconds: float = Field(default=0.0, ge=0)
    """least time of timed calls of each probe"""
    max_seconds: float = Field(default=20.0, gt=0)
    """most time of each probe, warm-up included"""
    seed: int = 0
    """of the choice of probes, their weights and their inputs"""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for name in ("heads", "neurons", "lengths"):
            points: tuple[int, ...] = getattr(self, name)
            if points[0] < 1 or any(low >= high for low, high in pairwise(points)):
                raise ValueError(f"{name}: {points} do not ascend from 1 or more")
        if len(set(self.stems)) < len(self.stems):
            raise ValueError("stems: one is named twice")
        return self

    @classmethod
    def spanning(cls, shapes: Sequence[EncoderShape], lengths: Iterable[int], **settings: Any) -> CostRequest:
        """The request whose table answers for all of these shapes and what lies between them.

        Args:
            shapes: students of one space, its smallest and its largest among them.
            lengths: grid of tokens a text.
            settings: further fields, such as `min_seconds`.

        Raises:
            ValueError: they do not have in common what one table holds for; the field is named.
        """
        shared = _shared(shapes)
        layers = [layer for shape in shapes for layer in shape.layers]
        return cls(
            stems=tuple(dict.fromkeys(Stem(hidden=s.hidden, embedding=s.embedding) for s in shapes)),
            heads=grid(layer.heads for layer in layers),
            neurons=grid(layer.ffn for layer in layers),
            lengths=tuple(sorted(set(lengths))),
            depth=max(len(shape.layers) for shape in shapes),
            vocabulary=max(shape.vocabulary for shape in shapes),
            **{**shared, **settings},
        )

    def shape(self, stem: Stem, layers: Sequence[LayerShape]) -> EncoderShape:
        """The encoder with these layers on a stem, as long as the longest length."""
        return EncoderShape(
            vocabulary=self.vocabulary,
            embedding=stem.embedding,
            hidden=stem.hidden,
            layers=tuple(layers),
            positions=self.lengths[-1],
            **{name: getattr(self, name) for name in COMMON},
        )

    def refuse(self, shape: EncoderShape) -> None:
        """Check that a shape belongs to the space.

        Raises:
            ValueError: it has something that was not measured; the field, its value and the limits are named.
        """
        for name in COMMON:
            found, wanted = getattr(shape, name), getattr(self, name)
            if found != wanted:
                raise ValueError(f"{name} {found}: the table was measured for {wanted}")
        if len(shape.layers) > self.depth:
            raise ValueError(f"{len(shape.layers)} layers: the table was measured for at most {self.depth}")
        for layer in shape.layers:
            inside("heads", layer.heads, self.heads)
            inside("neurons", layer.ffn, self.neurons)


def inside(name: str, value: int, points: Sequence[int]) -> None:
    """Refuse a value outside its grid.

    Raises:
        ValueError: with the value and the grid's ends.
    """
    if not points[0] <= value <= points[-1]:
        raise ValueError(f"{name} {value}: the table was measured from {points[0]} to {points[-1]}")


def grid(values: Iterable[int], points: int = POINTS) -> tuple[int, ...]:
    """Multiples of what all values have in common, about evenly spaced, both ends among them.

    Kernels work on blocks of columns: 555 neurons are slower than 576, so a table measured at 555 would
    say too much of every student whose widths are whole blocks.

    >>> grid([12, 1, 3])
    (1, 5, 8, 12)
    >>> grid([64, 1536])
    (64, 576, 1024, 1536)
    >>> grid([4, 4])
    (4,)
    """
    found = list(values)
    unit = math.gcd(*found)
    return tuple(
        sorted({unit * round(point / unit) for point in np.linspace(min(found), max(found), points)})
    )


def _shared(shapes: Sequence[EncoderShape]) -> Mapping[str, Any]:
    first = shapes[0]
    for name in COMMON:
        found = {getattr(shape, name) for shape in shapes}
        if len(found) > 1:
            raise ValueError(f"{name}: one table holds for one value, the shapes have {sorted(found)}")
    return {name: getattr(first, name) for name in COMMON}
