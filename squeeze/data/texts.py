"""Texts that lie in a mapped file: the system reads what is looked at, and drops it when memory is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from squeeze.runtime import need

__all__ = ["Texts", "joined"]

AT_ONCE = 1024
"""Texts that are made into strings at once, where all are read in turn."""


class Texts(Sequence[str]):
    """A column of Arrow as a sequence; a slice of it is a tuple.

    Args:
        column: a ``ChunkedArray`` of text.
    """

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.column)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        """One text, or some."""
        if isinstance(at, slice):
            return tuple(self.column[at].to_pylist())
        return str(self.column[int(at)].as_py())

    def __iter__(self) -> Iterator[str]:
        """All texts in turn."""
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def __eq__(self, other: object) -> bool:
        """Whether another sequence has the same texts."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


def joined(*parts: Sequence[str]) -> Texts:
    """Several sequences in a row; those that are mapped stay so, others are kept in one piece."""
    arrow = need("pyarrow", extra="train")
    chunks: list[Any] = []
    for part in parts:
        chunks += part.column.chunks if isinstance(part, Texts) else [arrow.array(part, arrow.large_string())]
    return Texts(arrow.chunked_array(chunks, arrow.large_string()))
