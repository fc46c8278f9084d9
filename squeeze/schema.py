"""The base of every config and every result."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

__all__ = ["Frozen", "is_text"]


def is_text(value: str) -> bool:
    """Whether it came from UTF-8; Python keeps other bytes of outside text as lone surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


class Frozen(BaseModel):
    """A strict, immutable record: unknown keys and silent conversions are refused.

    ``allow_inf_nan`` is off because JSON has no NaN: a figure that is missing is ``None``.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, data: Any) -> Self:
        """Validate what came out of TOML or JSON.

        Going through JSON text keeps strictness and still lets a list become a tuple and a
        string become a path, which are the only spellings those formats have.
        """
        return cls.model_validate_json(json.dumps(data))

    def plain(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return self.model_dump(mode="json")
