"""Records of JSON: one object a line, or one list of objects."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, TypeVar

from squeeze.data.opening import LONGEST
from squeeze.errors import DataError

__all__ = ["json_lines", "json_list"]

Found = TypeVar("Found")
Records = Iterator[tuple[int, dict[str, Any]]]
SPACE = re.compile(r"[ \t\n\r]*")


def json_lines(lines: Iterable[str], place: str, wanted: Set[str] = frozenset()) -> Records:
    """(line, object) of every line that is not blank.

    Raises:
        DataError: a line is no object, or names one of the wanted keys twice.
    """
    for row, line in enumerate(lines, 1):
        if line.strip():
            decoder = _decoder(place, row, wanted)
            yield row, _object(_decoded(lambda: decoder.decode(line), place, row), place, row)  # noqa: B023


def json_list(text: str, place: str, wanted: Set[str] = frozenset(), *, whole: bool = True) -> Records:
    """(position from 1, object) of a list of objects, alone or as a value of one object (``{"data": [..]}``).

    A file that has one object a line is read as such, whatever its name is.

    Args:
        text: of the file.
        place: the file in words.
        wanted: keys that no object may name twice.
        whole: whether this is all of the text; else the last object may be cut.

    Raises:
        DataError: there is no such list, or something in it is no object.
    """
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("{") and rest.strip() and _is_json(first):
        yield from json_lines(text.split("\n"), place, wanted)
        return
    at, row = _list_start(text, place), 0
    while not text.startswith("]", at):
        row += 1
        try:
            value, at = _item(text, at, place, row, wanted)
        except DataError:
            if not whole and row > 1:
                return  # the sample ends inside of it
            raise
        yield row, value
        at = _skip(text, at)
        if at == len(text) and not whole:
            return
        at = _next(text, at, place, row)


def _next(text: str, at: int, place: str, row: int) -> int:
    """Where the next object begins, or the end of the list stands."""
    if text.startswith("]", at):
        return at
    if not text.startswith(",", at):
        raise DataError(f"{place}: row {row} is followed by no comma and the list by no end")
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        raise DataError(f"{place}: row {row} is followed by a comma, and the list ends there")
    return at


def _item(text: str, at: int, place: str, row: int, wanted: Set[str]) -> tuple[dict[str, Any], int]:
    """One object of a list, and where it ends."""
    decoder = _decoder(place, row, wanted)
    value, end = _decoded(lambda: decoder.raw_decode(text, at), place, row)
    if end - at > LONGEST:
        raise DataError(f"{place}: row {row} has more than {LONGEST:,} characters")
    return _object(value, place, row), end


def _skip(text: str, at: int) -> int:
    space = SPACE.match(text, at)
    return space.end() if space else at


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _list_start(text: str, place: str) -> int:
    """Where the first object of the list stands."""
    at = _skip(text, 0)
    if at == len(text):
        raise DataError(f"{place}: the file is empty, a list of objects is expected")
    if text.startswith("{", at):
        at = _list_in_object(text, at)
    if not text.startswith("[", at):
        raise DataError(
            f"{place}: holds no list of objects",
            hint='a .json file is [{"text": ...}, ...], or an object with such a list in it',
        )
    return _skip(text, at + 1)


def _list_in_object(text: str, at: int) -> int:
    """Where the first value begins that is a list of objects; the end where there is none."""
    decoder = json.JSONDecoder()
    try:
        while text[at : at + 1] in {"{", ","}:
            _, at = decoder.raw_decode(text, _skip(text, at + 1))
            at = _skip(text, _skip(text, at) + 1)  # behind the colon
            if text.startswith("[", at) and text.startswith("{", _skip(text, at + 1)):
                return at
            _, at = decoder.raw_decode(text, at)
            at = _skip(text, at)
    except (ValueError, RecursionError):
        pass
    return len(text)


def _decoder(place: str, row: int, wanted: Set[str]) -> json.JSONDecoder:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        item = dict(pairs)
        if len(item) < len(pairs):
            names = [name for name, _ in pairs]
            twice = [name for name in item if name in wanted and names.count(name) > 1]
            if twice:
                raise DataError(f"{place}: row {row} names {twice[0]!r} {names.count(twice[0])} times")
        return item

    return json.JSONDecoder(object_pairs_hook=unique)


def _decoded(decode: Callable[[], Found], place: str, row: int) -> Found:
    try:
        return decode()
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise DataError(
            f"{place}: row {row} is not JSON: {error.msg} at {line}column {error.colno}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{place}: row {row} is not usable JSON: nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        limit = sys.get_int_max_str_digits()
        raise DataError(
            f"{place}: row {row} is not usable JSON: a whole number of more than {limit:,} digits"
        ) from error


def _object(value: Any, place: str, row: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: row {row} is a JSON {type(value).__name__}, an object is expected")
    return value
