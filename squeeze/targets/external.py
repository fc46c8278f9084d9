"""Which other files an ONNX file takes its weights from: read before ONNX Runtime opens any of them.

A walk over the wire format of protobuf (https://protobuf.dev/programming-guides/encoding/) through the few
fields of onnx.proto that lead to `external_data`; weights are jumped over. The package `onnx`, which could
tell the same, is no part of the base install.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import overload

from squeeze.errors import MissingBackend, StageFailed, brief

__all__ = ["check", "locations", "weights"]

MOST_FIELDS = 20_000_000
"""A minute of walking; what lies behind them is ONNX Runtime's to judge."""
MOST_DEPTH = 100
"""Of messages in messages, the limit of protobuf itself."""
# Numbers of fields in onnx.proto, by message, and the message that each holds.
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
OTHER_FORMATS = (".ort", ".plan", ".engine")  # hold all of their weights
PAGE = 2**16
MOST_NAME = 2**16  # bytes of an entry that are read: more than any path has
FIXED = {1: 8, 5: 4}  # bytes of a field, by wire type


def check(path: Path) -> None:
    """Refuse a model whose weights lie outside of its folder; ONNX Runtime 1.22 reads them, 1.32 does not.

    Raises:
        StageFailed: a path that is absolute, climbs out or is a link that does, or that is no file.
        MissingBackend: there is no such file.
    """
    folder = path.resolve().parent
    for location in locations(path):
        found = _resolved(folder, location)
        if found is None or Path(location).is_absolute() or not found.is_relative_to(folder):
            raise StageFailed(f"{path}: its weights lie outside of its folder, in {brief(location)}")
        if not os.path.isfile(found):  # noqa: PTH113 - unlike Path.is_file it takes a name that is too long
            message = f"{path}: its weights lie in {brief(location)}, which"
            if os.path.exists(found):  # noqa: PTH110
                raise StageFailed(f"{message} is not a file")
            raise MissingBackend(f"{message} is not there", hint="put it beside the model")


def weights(path: Path) -> list[Path]:
    """The files that hold weights of a model, each once; those that are there."""
    found = (_resolved(path.resolve().parent, location) for location in locations(path))
    return [each for each in dict.fromkeys(found) if each is not None and os.path.isfile(each)]  # noqa: PTH113


def locations(path: Path) -> list[str]:
    """What a model calls the files of its weights, each once; nothing for other formats."""
    if path.suffix in OTHER_FORMATS:
        return []
    with path.open("rb") as file:
        return list(dict.fromkeys(named(Pages(file.fileno()))))


class Pages:
    """A file read page by page: a map of it would end this process if the file were cut meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._held, self._page = b"", -1

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: int | slice) -> int | bytes:
        """One byte, 0 where the file was cut since, or a part."""
        if isinstance(place, slice):
            return os.pread(self._descriptor, place.stop - place.start, place.start)
        if place // PAGE != self._page:
            self._page = place // PAGE
            self._held = os.pread(self._descriptor, PAGE, self._page * PAGE)
        return self._held[place % PAGE] if place % PAGE < len(self._held) else 0


def named(content: bytes | Pages) -> Iterator[str]:
    """Locations in the order of the file; the walk ends where the file is broken.

    Args:
        content: of an ONNX file.
    """
    waiting = [("model", 0, len(content), 0)]
    left = MOST_FIELDS
    while waiting:
        kind, start, end, depth = waiting.pop()
        if kind == "entry":
            yield from _location(content, start, end)
            continue
        for number, begin, stop in _fields(content, start, end):
            inner, left = FIELDS[kind].get(number), left - 1
            if inner and depth < MOST_DEPTH:
                waiting.append((inner, begin, stop, depth + 1))
            if left < 0:
                return


def _location(content: bytes | Pages, start: int, end: int) -> Iterator[str]:
    """The value of an entry, key 1 and value 2, whose key is `location`."""
    entry = {
        number: content[begin : min(stop, begin + MOST_NAME)]
        for number, begin, stop in _fields(content, start, end)
    }
    if entry.get(1) == b"location" and 2 in entry:
        yield entry[2].decode("utf-8", "surrogateescape")


def _fields(content: bytes | Pages, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of the fields with a length in a part of a file; ends where it is broken."""
    place = start
    while place < end:
        key, place = _varint(content, place, end)
        kind = key & 7
        if kind == 0:
            _, place = _varint(content, place, end)
        elif kind in FIXED:
            place += FIXED[kind]
        elif kind == 2:
            size, place = _varint(content, place, end)
            if place + size > end:
                return
            yield key >> 3, place, place + size
            place += size
        else:
            return


def _varint(content: bytes | Pages, place: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes and the place behind it; behind the end where it is broken."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content[place]
        place, value = place + 1, value | (byte & 127) << shift
        if byte < 128:
            return value, place
    return 0, end + 1


def _resolved(folder: Path, location: str) -> Path | None:
    """Where a location leads to; None where it cannot be a path."""
    try:
        return (folder / location).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, links in a circle
        return None
