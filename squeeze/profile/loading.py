"""Read a profile: TOML, overrides, types and limits, conditions between sections, paths."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from squeeze.errors import ProfileError
from squeeze.profile import overrides as sets
from squeeze.profile.checks import check
from squeeze.profile.model import Profile
from squeeze.profile.paths import anchor
from squeeze.profile.problems import DEEPEST, Place, Problem, dotted, problems
from squeeze.schema import is_text

__all__ = ["Loaded", "load", "parse"]

MOST_BYTES = 1_000_000
"""Of a profile: it is read and checked within 2 s."""
LARGEST = 10**300
"""Whole numbers beyond it have no floating-point value, and Python does not print those of 4,300 digits."""


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
    _refuse(_too_deep(given), str(path), frozenset())
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
    _refuse(_too_deep(data), origin, overridden)
    _refuse([Problem(place, message) for place, message in _meaningless(data)], origin, overridden)
    try:
        profile = Profile.parse(data)
    except ValidationError as error:
        raise _refusal(problems(error, data, Profile), origin, overridden) from error
    _refuse(check(profile), origin, overridden)
    return Profile.parse(anchor(profile.plain(), folder))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # not read whole: it may be a device that never ends
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ProfileError(f"{path}: more than {MOST_BYTES // 1000:,} kB, which no profile has")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        hint = "squeeze init writes one" if isinstance(error, FileNotFoundError) else ""
        raise ProfileError(f"{path}: cannot be read ({error.strerror})", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    except RecursionError as error:
        raise ProfileError(f"{path}: nested too deeply (more than {DEEPEST} levels)") from error
    except ValueError as error:  # TOMLDecodeError or an integer of thousands of digits; both name the line
        raise ProfileError(f"{path}: not valid TOML: {error}") from error


def _too_deep(data: Mapping[str, Any]) -> list[Problem]:
    """The keys with more levels below them than a profile can have; looked at without recursion."""
    found = []
    for key, top in data.items():
        level, depth = [top], 0
        while level and depth <= DEEPEST:
            level, depth = [below for value in level for below in _entries(value)], depth + 1
        if level:
            found.append(Problem((key,), f"nested too deeply (more than {DEEPEST} levels)"))
    return found


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _meaningless(data: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Places of what JSON has no word for, or a file no name: dates, NUL, bytes that are no text."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _meaningless(value, (*place, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _meaningless(value, (*place, number))
    elif message := _no_meaning(data):
        yield place, message


def _no_meaning(value: Any) -> str:
    if isinstance(value, datetime.date | datetime.time):
        return "dates and times have no meaning here"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 300 digits has no meaning here"
    if isinstance(value, str) and "\0" in value:
        return "NUL has no meaning in a text"
    return "is not UTF-8 text" if isinstance(value, str) and not is_text(value) else ""


def _refuse(found: Sequence[Problem], origin: str, overridden: frozenset[Place]) -> None:
    if found:
        raise _refusal(found, origin, overridden)


def _refusal(found: Sequence[Problem], origin: str, overridden: frozenset[Place]) -> ProfileError:
    return ProfileError.of_lines(_line(problem, origin, overridden) for problem in found)


def _line(problem: Problem, origin: str, overridden: frozenset[Place]) -> str:
    """Blame the command line for what it set, and name what it set inside of what is wrong."""
    spelled = tuple(str(step) for step in problem.place)
    given = {tuple(str(step) for step in place): dotted(place) for place in overridden}
    if any(spelled[: len(place)] == place for place in given):
        return f"--set {dotted(problem.place)}: {problem.message}"
    inside = [name for place, name in sorted(given.items()) if place[: len(spelled)] == spelled]
    return problem.line(origin) + (f" (changed by --set {', '.join(inside)})" if spelled and inside else "")
