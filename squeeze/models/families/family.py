"""What differs between families of encoders: names of tensors, fields of config.json, how positions count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from squeeze.models.shapes import Activation

__all__ = ["AutoClass", "Family", "HeadLayout"]

AutoClass = Literal["AutoModelForSequenceClassification"]
"""Classes of transformers whose heads are read."""

OUTER = {
    "embedding": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "embedding_projection": "embeddings_project",
}
"""Modules before the layers, below the body; all families have these names."""


@dataclass(frozen=True)
class HeadLayout:
    """Where a class of transformers keeps its head.

    Attributes:
        dense: module of its first matrix.
        output: module of its last matrix.
        activation: the function between them.
    """

    dense: str
    output: str
    activation: Activation


@dataclass(frozen=True)
class Family:
    """Everything that is particular to one `model_type` of transformers.

    Attributes:
        body: name of the encoder inside the classes with a head.
        layer: name of a layer below `body`; ``{}`` is its number.
        modules: for each of our modules of a layer the family's; the rows of several follow each other.
        heads: by the auto class that loads it.
        sizes: field of config.json that holds each size, and the library's default; a test holds both to it.
        first_position: row of the position table that the first token reads; None: the one after the
            padding piece's number, as fairseq counts.
        relative: name of the relative attention bias below `body`, if there is one.
        buckets: rows of its table.
        epsilon: of the norms, where the family has one of its own and reads none from its config.
        activation: field of config.json that names the feed-forward's function; no other one is read.
        problem: why a config.json of the family cannot be read; None where it can.
    """

    body: str
    layer: str
    modules: Mapping[str, tuple[str, ...]]
    heads: Mapping[AutoClass, HeadLayout]
    sizes: Mapping[str, tuple[str, int]]
    first_position: int | None = 0
    relative: str | None = None
    buckets: int = 0
    epsilon: float | None = None
    activation: str = "hidden_act"
    problem: Callable[[Mapping[str, Any]], str | None] = lambda _config: None

    @property
    def classifier(self) -> HeadLayout:
        """The head of a sequence classifier."""
        return self.heads["AutoModelForSequenceClassification"]

    @property
    def segmented(self) -> bool:
        """Whether it has a table of segments."""
        return "types" in self.sizes

    @property
    def segments(self) -> str:
        """Name of the table of segments."""
        return f"{self.body}.embeddings.token_type_embeddings.weight"

    def hub_names(self, name: str) -> tuple[str, ...]:
        """Names of the tensors of a classifier whose rows, one after the other, are one of our weights.

        The position table has `first_position` more rows than ours, the relative bias a row for each bucket.

        Args:
            name: of the weight, as `squeeze.models.weights` lists it.
        """
        module, _, kind = name.rpartition(".") if "." in name else (name, "", "weight")
        if kind == "distances":
            return (f"{self.body}.{self.relative}",)
        if name.startswith("layers."):
            _, index, module = module.split(".")
            place = f"{self.body}.{self.layer.format(index)}"
            return tuple(f"{place}.{hub}.{kind}" for hub in self.modules[module])
        head = {"head.dense": self.classifier.dense, "head.output": self.classifier.output}
        return (f"{head.get(module) or f'{self.body}.{OUTER[module]}'}.{kind}",)
