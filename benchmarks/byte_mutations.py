"""What is done to the bytes of a mutated data file."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["BYTE_KINDS"]


def _flip(content: bytes, pick: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(pick.choice((1, 1, 3, 20)) if data else 0):
        data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
    return bytes(data)


def _flip_end(content: bytes, pick: random.Random) -> bytes:
    """In the last part, which of a Parquet file is its footer."""
    data = bytearray(content)
    for _ in range(pick.choice((1, 2, 5)) if data else 0):
        data[len(data) - 1 - pick.randrange(min(len(data), 600))] = pick.randrange(256)
    return bytes(data)


def _cut(content: bytes, pick: random.Random) -> bytes:
    return content[: pick.randrange(len(content) + 1)]


def _cut_out(content: bytes, pick: random.Random) -> bytes:
    at = pick.randrange(len(content) + 1)
    return content[:at] + content[at + pick.randrange(1, 500) :]


def _put_in(content: bytes, pick: random.Random) -> bytes:
    at = pick.randrange(len(content) + 1)
    piece = pick.choice(
        (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80" * 9, b"\n", pick.randbytes(40), b"\r", b'"')
    )
    return content[:at] + piece + content[at:]


def _repeat(content: bytes, pick: random.Random) -> bytes:
    at, size = pick.randrange(len(content) + 1), pick.randrange(1, 2000)
    return content[:at] + content[at : at + size] * 2 + content[at + size :]


BYTE_KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped bits": _flip,
    "changed end": _flip_end,
    "cut off": _cut,
    "cut out": _cut_out,
    "put in": _put_in,
    "repeated": _repeat,
    "empty": lambda content, pick: b"" if pick.random() < 0.3 else content,
}
