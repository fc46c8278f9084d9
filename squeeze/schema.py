"""The base of every config and every result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from squeeze.errors import UsageError

__all__ = ["Document", "Frozen", "Grown", "is_text"]


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


class Grown(Frozen):
    """A section that has got settings since artefacts were made with it.

    These are written only where they are set, so that the keys of those artefacts stay what they were.
    """

    later: ClassVar[frozenset[str]]
    """the settings that came later"""

    # `Field(exclude_if=...)` would do it, from pydantic 2.12 on; litert-torch keeps pydantic below that.
    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in write(self).items()
            if name not in self.later or getattr(self, name) != fields[name].default
        }


class Document(Frozen):
    """A record that is a JSON file of its own, with its kind and the version of its format as fields."""

    called: ClassVar[str]
    """what it is to a reader"""
    made_by: ClassVar[str]
    """the command that writes one"""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one.

        Raises:
            UsageError: the file cannot be read or is not such a document of this version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "document"
            version = cls.model_fields["version"].default
            raise UsageError(
                f"{path}: not a {cls.called} of version {version} ({where}: {first['msg']})",
                hint=f"make one with `{cls.made_by}`",
            ) from error
