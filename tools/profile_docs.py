"""Writes docs/profile.md from the profile's own models: ``python -m tools.profile_docs``."""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from squeeze.profile.model import Profile
from squeeze.schema import Frozen

__all__ = ["TARGET", "render", "tables"]

TARGET = Path(__file__).resolve().parent.parent / "docs" / "profile.md"

COLUMNS = "| key | type | default | meaning |\n|---|---|---|---|\n"
HEAD = """# Every key of a profile

Written by `make docs` from the models that check a profile; do not edit.

A profile is TOML. An unknown key, a wrong type or an impossible value is refused before anything is
spent. Paths are relative to the profile's folder. A stage whose section is missing does not run.
`squeeze explain PROFILE` prints the value of every key and where it came from.
"""

NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def render() -> str:
    """The whole page."""
    top = {name: field for name, field in Profile.model_fields.items() if not _inside(field)}
    return (
        HEAD
        + _table("Top level", "", top)
        + "".join(_section(places, model) for model, places in tables().items())
    )


def tables() -> dict[type[Frozen], list[str]]:
    """Every model a profile is made of, with the headings that its table may have in TOML."""
    found: dict[type[Frozen], list[str]] = {}
    for name, field in Profile.model_fields.items():
        for place, model in _walk(name, field.annotation):
            found.setdefault(model, []).append(place)
    return found


def _walk(path: str, annotation: Any, many: bool = False) -> Iterator[tuple[str, type[Frozen]]]:
    """The models inside one annotation, outer ones first, as (heading, model)."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield (f"[[{path}]]" if many else f"[{path}]"), annotation
        for name, field in annotation.model_fields.items():
            yield from _walk(f"{path}.{name}", field.annotation)
        return
    origin = get_origin(annotation)
    if origin is Literal:
        return
    for inner in get_args(annotation):
        named = f"{path}.NAME" if origin is Mapping else path
        yield from _walk(named, inner, many or origin is tuple)


def _inside(field: FieldInfo) -> list[tuple[str, type[Frozen]]]:
    return list(_walk("", field.annotation))


def _section(places: list[str], model: type[Frozen]) -> str:
    also = f" Also {', '.join(f'`{place}`' for place in places[1:])}." if places[1:] else ""
    heading = " ".join([f"`{places[0]}`", *_tag(model)])
    return _table(heading, (inspect.getdoc(model) or "") + also, model.model_fields)


def _tag(model: type[Frozen]) -> Iterator[str]:
    """The key and the value by which a table of several kinds picks this one; nothing for one kind."""
    for key in ("name", "problem_type"):
        field = model.model_fields.get(key)
        if field is not None and get_origin(field.annotation) is Literal:
            yield f'`{key} = "{get_args(field.annotation)[0]}"`'


def _table(heading: str, text: str, fields: Mapping[str, FieldInfo]) -> str:
    rows = "".join(_row(name, field) for name, field in fields.items())
    return f"\n## {heading}\n\n" + (f"{text}\n\n" if text else "") + COLUMNS + rows


def _row(name: str, field: FieldInfo) -> str:
    meaning = field.description or ("see its own table" if _inside(field) else "picks this table")
    cells = (f"`{name}`", _type(field.annotation) + _limits(field), _default(field), meaning)
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in inner if one is not types.NoneType))
    if origin is tuple:
        return f"list of ({_type(inner[0])})" if " or " in _type(inner[0]) else f"list of {_type(inner[0])}"
    if origin is Mapping:
        return f"NAME = {_type(inner[1])}"
    return NAMES.get(annotation, "table")


def _limits(field: FieldInfo) -> str:
    """The bounds of a field, as in ``, >= 1``."""
    one, more = ("entry", "entries") if get_origin(field.annotation) is tuple else ("character", "characters")
    found = [f"{LIMITS[key]} {value}" for part in field.metadata for key, value in _bounds(part)]
    for part in field.metadata:
        for word, key in (("at least", "min_length"), ("at most", "max_length")):
            number = getattr(part, key, None)
            found += [f"{word} {number} {one if number == 1 else more}"] if number is not None else []
    return "".join(f", {limit}" for limit in found)


def _bounds(part: Any) -> Iterator[tuple[str, float]]:
    for key in LIMITS:
        value = getattr(part, key, None)
        if isinstance(value, int | float):
            yield key, value


def _default(field: FieldInfo) -> str:
    """The default as TOML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, Frozen):
        said = value.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        inline = ", ".join(f"{key} = {json.dumps(one)}" for key, one in said.items())
        return f"`{{ {inline} }}`" if inline else "its own defaults"
    return f"`{json.dumps(value)}`"


def main() -> None:
    """Write the page."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name} written\n")


if __name__ == "__main__":
    main()
