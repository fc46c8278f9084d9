"""Turn what pydantic found into one plain line a problem: place, key, value, limit, nearest name."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from squeeze.errors import masked

__all__ = ["DEEPEST", "MISSING", "Place", "Problem", "at", "dotted", "nearest", "problems", "shortened"]

Place = tuple[str | int, ...]
MISSING = object()
DEEPEST = 32
"""Levels of lists and tables inside one another; a valid profile has 7."""
SHOWN = 60  # characters of a value that fit beside its message on one line
TAGS = ("name", "problem_type")
"""Keys by which a table picks its model."""
EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
LIMITS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be greater than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "string_pattern_mismatch": ("pattern", "must match {}"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: where, as keys and list indices; the last one is the faulty key.
        message: what is wrong with it.
        table: whether the place is a whole section.
    """

    place: Place
    message: str
    table: bool = False

    def line(self, origin: str) -> str:
        """`profiles/x.toml: [distil.phases.0] epohs: unknown key (nearest: epochs)`."""
        if self.table:
            return f"{origin}: [{dotted(self.place)}]: {self.message}"
        if not self.place:
            return f"{origin}: {self.message}"
        *section, key = self.place
        where = f"[{dotted(tuple(section))}] {key}" if section else str(key)
        return f"{origin}: {where}: {self.message}"


def problems(error: ValidationError, data: Mapping[str, Any], model: type[BaseModel]) -> list[Problem]:
    """All that is wrong with the data, in the order of the profile's sections.

    Args:
        error: what validating ``data`` raised.
        data: the profile as TOML gave it.
        model: the model it was validated against.
    """
    found: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        place = _place(detail, data)
        found.setdefault(place, []).append(detail)
    deepest = {
        p: d for p, d in found.items() if not any(q != p and q[: len(p)] == p for q in found) or _own(d)
    }
    return [
        Problem(
            place,
            _message(place, details, data, model),
            table=_own(details) and isinstance(at(data, place), dict),
        )
        for place, details in deepest.items()
    ]


def _own(details: Sequence[ErrorDetails]) -> bool:
    """Whether a table has a fault of its own, beside that of an entry, and not just another spelling."""
    return any(detail["type"] == "value_error" for detail in details)


def _place(detail: ErrorDetails, data: Any) -> Place:
    """The keys of an error without the names that pydantic puts in for the members of a union."""
    place: list[str | int] = []
    here = data
    for number, step in enumerate(detail["loc"]):
        last = number == len(detail["loc"]) - 1
        below = _below(here, step)
        if below is MISSING and not (last and detail["type"] == "missing"):
            continue
        place.append(step)
        here = below
    if detail["type"].startswith(
        "union_tag"
    ):  # the table is there, and the key that picks its model is wrong
        place.append(str(detail["ctx"]["discriminator"]).strip("'_()"))
    return tuple(place)


def _below(here: Any, step: str | int) -> Any:
    if isinstance(here, Mapping) and step in here:
        return here[step]
    if isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here):
        return here[step]
    return MISSING


def at(data: Any, place: Place) -> Any:
    """The value at a place, ``MISSING`` where there is none."""
    for step in place:
        data = _below(data, step)
    return data


def _message(place: Place, details: Sequence[ErrorDetails], data: Any, model: type[BaseModel]) -> str:
    kinds = {detail["type"] for detail in details}
    if "extra_forbidden" in kinds:
        return _unknown(place, data, model)
    if "union_tag_not_found" in kinds:
        return _untagged(_models(model, place[:-1]), at(data, place[:-1]))
    if "missing" in kinds:
        return f"missing{_meaning(model, place)}"
    if kinds & EXPECTED.keys() or len(details) > 1:
        return _wrong_type(details, at(data, place))
    return _single(details[0], at(data, place))


def _wrong_type(details: Sequence[ErrorDetails], value: Any) -> str:
    """Say all spellings at once: a union reports each of its members."""
    wanted: list[str] = []
    others: list[str] = []
    for detail in details:
        if detail["type"] in EXPECTED:
            wanted.append(EXPECTED[detail["type"]])
        elif detail["type"] == "literal_error":
            wanted.append(str(detail["ctx"]["expected"]))
        else:
            others.append(_single(detail, value))
    if others:
        return others[0]
    return f"expected {' or '.join(dict.fromkeys(wanted))}, got {_show(value)}"


def _single(detail: ErrorDetails, value: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in {"literal_error", "union_tag_invalid"}:
        return _choice(str(context.get("expected") or context["expected_tags"]), value)
    if kind in LIMITS:
        name, text = LIMITS[kind]
        return f"{text.format(context[name])}, got {_show(value)}"
    if kind in {"too_short", "string_too_short"}:
        return _short(kind, int(context["min_length"]), value)
    if kind == "too_long":
        return f"takes at most {context['max_length']} entries, got {len(value)}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {_show(value)}"


def _choice(expected: str, value: Any) -> str:
    close = nearest(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
    return f"must be {expected}, got {_show(value)}{f' (nearest: {close})' if close else ''}"


def _short(kind: str, least: int, value: Any) -> str:
    if kind == "string_too_short" and least == 1:
        return "must not be empty"
    unit = "characters" if kind == "string_too_short" else "entries" if least > 1 else "entry"
    return f"needs at least {least} {unit}, got {len(value)}"


def _show(value: Any) -> str:
    """A value as it stands in the profile, cut to fit a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Mapping):
        text = f"a table with {', '.join(map(str, value)) or 'nothing in it'}"
    return shortened(text)


def shortened(text: str) -> str:
    """A text from the profile, cut to fit a line; passwords are masked before that."""
    text = masked(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The most similar of some names, None when nothing is close."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return close[0] if close else None


def _or_nearest(name: str, names: Sequence[str]) -> str:
    close = nearest(name, names)
    return f"nearest: {close}" if close else f"known: {', '.join(names)}"


def dotted(place: Place) -> str:
    """`distil.phases.0.epochs`."""
    return ".".join(str(step) for step in place)


def _unknown(place: Place, data: Any, model: type[BaseModel]) -> str:
    """A key that the table does not have, or that only tables of another kind have."""
    name, table, kinds = str(place[-1]), at(data, place[:-1]), _models(model, place[:-1])
    chosen = [kind for kind in kinds if _tag(kind) and _tag(kind) in map(table.get, TAGS)]
    owners = [_tag(kind) for kind in kinds if name in kind.model_fields]
    if chosen and owners:
        return f"has no effect on {_tag(chosen[0])}, leave it out (it is a setting of {', '.join(owners)})"
    names = sorted({field for kind in chosen or kinds for field in kind.model_fields})
    return f"unknown key ({_or_nearest(name, names)})"


def _untagged(kinds: Sequence[type[BaseModel]], table: Mapping[str, Any]) -> str:
    """A table that does not say of which kind it is; keys of no kind are named, one may be meant for it."""
    strange = [key for key in table if not any(key in kind.model_fields for kind in kinds)]
    named = f"; unknown: {', '.join(strange)}" if strange else ""
    return f"missing (one of {', '.join(map(_tag, kinds))}){named}"


def _tag(kind: type[BaseModel]) -> str:
    """The word by which a table of a union picks its model; empty where it has none."""
    types = [kind.model_fields[key].annotation for key in TAGS if key in kind.model_fields]
    return next((str(get_args(one)[0]) for one in types if get_origin(one) is Literal), "")


def _meaning(model: type[BaseModel], place: Place) -> str:
    name, around = str(place[-1]), _models(model, place[:-1])
    said = [found.model_fields[name].description for found in around if name in found.model_fields]
    return f" ({said[0]})" if said and said[0] else ""


def _models(model: type[BaseModel], place: Place) -> list[type[BaseModel]]:
    """The models that the table at a place may be."""
    found: list[Any] = [model]
    for step in place:
        found = [below for kind in found for below in _enter(kind, step)]
    return [kind for top in found for kind in _unfold(top) if _is_model(kind)]


def _enter(kind: Any, step: str | int) -> Iterator[Any]:
    """Types of an entry of a table, list or mapping type."""
    for one in _unfold(kind):
        if _is_model(one) and step in one.model_fields:
            yield one.model_fields[str(step)].annotation
        elif get_origin(one) is not None and get_args(one):
            arguments = [a for a in get_args(one) if a is not Ellipsis]
            yield arguments[-1]


def _unfold(kind: Any) -> Iterator[Any]:
    """The members of a union, or the type itself."""
    if get_origin(kind) is Annotated:
        yield from _unfold(get_args(kind)[0])
    elif get_origin(kind) in {Union, types.UnionType}:
        for one in get_args(kind):
            yield from _unfold(one)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
