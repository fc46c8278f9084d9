"""`--set key=value`: one value of the profile changed from the command line."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from squeeze.errors import ProfileError
from squeeze.profile.problems import DEEPEST, Place, dotted, shortened
from squeeze.schema import is_text

__all__ = ["Override", "apply", "parse"]

Override = tuple[Place, Any]
INDEX_DIGITS = 9  # of a place in a list


def parse(text: str) -> Override:
    """`distil.phases.0.epochs=3` as (place, value).

    The value is TOML; a plain word that is no TOML counts as text.

    Raises:
        ProfileError: not UTF-8, no `=`, an empty key, or a broken list, table or quoted text.
    """
    if not is_text(text):
        raise ProfileError(f"--set {shortened(text)!r}: not UTF-8 text")
    key, equals, raw = text.partition("=")
    steps = [step.strip() for step in key.split(".")]
    if not equals or not all(steps):
        raise ProfileError(
            f"--set {shortened(text)}: not of the form key=value", hint="--set distil.phases.0.epochs=3"
        )
    if len(steps) > DEEPEST:
        raise ProfileError(f"--set {shortened(key)}: nested too deeply (more than {DEEPEST} levels)")
    place = tuple(int(step) if _is_index(step) else step for step in steps)
    return place, _value(raw.strip(), dotted(place))


def _is_index(step: str) -> bool:
    return step.isdecimal() and len(step) <= INDEX_DIGITS


def _value(raw: str, key: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except RecursionError as error:
        raise ProfileError(f"--set {key}: nested too deeply (more than {DEEPEST} levels)") from error
    except ValueError as error:
        if raw.startswith(("[", "{", '"', "'")):
            raise ProfileError(f"--set {key}: not a TOML value: {shortened(raw)}") from error
        return raw
    return parsed["value"] if len(parsed) == 1 else raw


def apply(data: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """The profile with every override put in; sections that are not there are added.

    Raises:
        ProfileError: a list has no such entry, or the key goes below a plain value.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for place, value in overrides:
        _put(changed, place, value)
    return changed


def _put(data: Any, place: Place, value: Any) -> None:
    for number, step in enumerate(place):
        here = place[: number + 1]
        last = number == len(place) - 1
        if isinstance(data, list):
            _check_index(data, here)
        elif isinstance(data, dict):
            data.setdefault(step if isinstance(step, str) else str(step), {})
        else:
            above = dotted(place[:number])
            raise ProfileError(f"--set {dotted(place)}: {above} is a plain value, it has no {step!r} in it")
        name = step if isinstance(data, list) else str(step)
        if last:
            data[name] = value
        data = data[name]


def _check_index(data: list[Any], place: Place) -> None:
    step = place[-1]
    if not isinstance(step, int) or step >= len(data):
        above = dotted(place[:-1])
        entries = f"{len(data)} {'entry' if len(data) == 1 else 'entries'}, counted from 0"
        raise ProfileError(f"--set {dotted(place)}: {above} is a list of {entries}; {step} is none of them")
