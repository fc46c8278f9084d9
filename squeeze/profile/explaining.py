"""Every effective value of a profile, what it means, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from squeeze.errors import masked
from squeeze.profile.loading import Loaded
from squeeze.profile.problems import MISSING, Place, at, dotted
from squeeze.schema import Frozen

__all__ = ["Effective", "explain"]


class Effective(Frozen):
    """One value that a run would use."""

    key: str
    """dotted key, as `--set` takes it"""
    value: Any
    """JSON-ready value; None: not set"""
    origin: Literal["profile", "--set", "default"]
    """who said so"""
    meaning: str
    """what the value does, with its unit"""


def explain(loaded: Loaded) -> tuple[Effective, ...]:
    """All values in the order of the profile's sections, defaults included."""
    return tuple(
        Effective(key=dotted(place), value=value, origin=_origin(loaded, place), meaning=meaning)
        for place, value, meaning in _walk(loaded.profile, ())
    )


def _walk(model: BaseModel, place: Place) -> Iterator[tuple[Place, Any, str]]:
    for name, field in type(model).model_fields.items():
        yield from _value(getattr(model, name), (*place, name), field.description or "")


def _value(value: Any, place: Place, meaning: str) -> Iterator[tuple[Place, Any, str]]:
    """A plain value is one line; tables and lists of tables are opened."""
    if isinstance(value, BaseModel):
        yield from _walk(value, place)
    elif isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from _value(entry, (*place, name), meaning)
    elif isinstance(value, tuple) and any(isinstance(entry, BaseModel) for entry in value):
        for number, entry in enumerate(value):
            yield from _value(entry, (*place, number), meaning)
    else:
        yield place, _shown(value), meaning


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_shown(entry) for entry in value]
    return masked(value) if isinstance(value, str) else value


def _origin(loaded: Loaded, place: Place) -> Literal["profile", "--set", "default"]:
    spelled = tuple(str(step) for step in place)
    if any(spelled[: len(set_)] == tuple(str(step) for step in set_) for set_ in loaded.overridden):
        return "--set"
    return "default" if at(loaded.given, place) is MISSING else "profile"
