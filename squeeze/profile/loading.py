"""Read a profile: TOML, overrides, types and limits, conditions between sections, paths."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from squeeze.errors import ProfileError
from squeeze.profile import overrides as sets
from squeeze.profile.checks import check
from squeeze.profile.model import Profile
from squeeze.profile.paths import anchor
from squeeze.profile.problems import Place, Problem, dotted, problems
from squeeze.schema import is_text

__all__ = ["Loaded", "load", "parse"]


@dataclass(frozen=True)
class Loaded:
    """A profile and where its values came from.

    Attributes:
        profile: the checked profile, its paths absolute.
        path: the file it was read from.
        given: what the file says, before overrides.
        overridden: places set from the command line.
    """

    profile: Profile
    path: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    overridden: frozenset[Place] = frozenset()


def load(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and check a profile.

    Args:
        path: the TOML file.
        overrides: `key=value` texts, as given to `--set`.

    Raises:
        ProfileError: one line for everything that is wrong with it.
    """
    given = _read(path)
    changes = [sets.parse(text) for text in overrides]
    data = sets.apply(given, changes)
    places = frozenset(place for place, _ in changes)
    profile = parse(data, str(path), path.parent, places)
    return Loaded(profile=profile, path=path, given=given, overridden=places)


def parse(
    data: Mapping[str, Any], origin: str, folder: Path, overridden: frozenset[Place] = frozenset()
) -> Profile:
    """Check the plain values of a profile and make its paths absolute.

    Args:
        data: tables, lists and plain values, as TOML gives them.
        origin: what messages call the profile.
        folder: where relative paths start.
        overridden: places that messages blame on `--set`.

    Raises:
        ProfileError: one line for everything that is wrong with it.
    """
    _refuse([Problem(place, message) for place, message in _meaningless(data)], origin, overridden)
    try:
        profile = Profile.parse(data)
    except ValidationError as error:
        raise _refusal(problems(error, data, Profile), origin, overridden) from error
    _refuse(check(profile), origin, overridden)
    return Profile.parse(anchor(profile.plain(), folder))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        hint = "squeeze init writes one" if isinstance(error, FileNotFoundError) else ""
        raise ProfileError(f"{path}: cannot be read ({error.strerror})", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    except RecursionError as error:
        raise ProfileError(f"{path}: not valid TOML: nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError or an integer of thousands of digits; both name the line
        raise ProfileError(f"{path}: not valid TOML: {error}") from error


def _meaningless(data: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Places of what JSON has no word for, or a file no name: dates, NUL, bytes that are no text."""
    if isinstance(data, datetime.date | datetime.time):
        yield place, "dates and times have no meaning here"
    elif isinstance(data, str) and "\0" in data:
        yield place, "NUL has no meaning in a text"
    elif isinstance(data, str) and not is_text(data):
        yield place, "is not UTF-8 text"
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _meaningless(value, (*place, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _meaningless(value, (*place, number))


def _refuse(found: Sequence[Problem], origin: str, overridden: frozenset[Place]) -> None:
    if found:
        raise _refusal(found, origin, overridden)


def _refusal(found: Sequence[Problem], origin: str, overridden: frozenset[Place]) -> ProfileError:
    return ProfileError("\n".join(_line(problem, origin, overridden) for problem in found))


def _line(problem: Problem, origin: str, overridden: frozenset[Place]) -> str:
    """Blame the command line for what it set, and name what it set inside of what is wrong."""
    spelled = tuple(str(step) for step in problem.place)
    given = {tuple(str(step) for step in place): dotted(place) for place in overridden}
    if any(spelled[: len(place)] == place for place in given):
        return f"--set {dotted(problem.place)}: {problem.message}"
    inside = [name for place, name in sorted(given.items()) if place[: len(spelled)] == spelled]
    return problem.line(origin) + (f" (changed by --set {', '.join(inside)})" if spelled and inside else "")
