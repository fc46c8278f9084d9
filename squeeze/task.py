"""The `[task]` section: what is to be told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from squeeze.schema import Frozen

__all__ = ["TaskSection"]


class TaskSection(Frozen):
    """The `[task]` section."""

    type: Literal["text-classification"] = "text-classification"
    """kind of task"""
    labels: tuple[str, ...] = Field(min_length=2, max_length=10_000)
    """label names as they stand in the data; their order is the order of the model's outputs"""
    label_map: Mapping[str, str] = Field(default_factory=dict)
    """the teacher's label, by name or number, to one of `labels`; several may have one; `"*"`: all others"""
    max_length: int = Field(default=128, ge=8, le=4096)
    """longest input in tokens; longer texts are cut"""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        twice = sorted(name for name, count in Counter(self.labels).items() if count > 1)
        if twice:
            raise ValueError(f"labels stand twice: {', '.join(twice)}")
        return self
