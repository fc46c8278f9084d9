"""Inputs for a model that nobody described: from its declared names, types and shapes.

Pure, and numpy only: the measuring process loads this and must stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import StageFailed, UsageError

__all__ = [
    "DEFAULT_LENGTH",
    "TYPES",
    "Feed",
    "Slot",
    "Spec",
    "draw_lengths",
    "feed",
    "first_that_runs",
    "has_length",
    "slots",
]

Feed: TypeAlias = dict[str, NDArray[Any]]
Found = TypeVar("Found")
Fill = Literal["ids", "ones", "zeros", "positions", "normal"]

DEFAULT_LENGTH = 128
BOUNDS = (100, 10, 2, 1)  # ids to try, from 0 up to here, when the size of the embedding is not known

TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class Spec:
    """An input as the model declares it; a free dimension is a name or None."""

    name: str
    kind: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        """As reports show it."""
        return f"{self.kind} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True)
class Slot:
    """An input as it will be filled; None in its shape is the length of the call."""

    name: str
    kind: Any
    shape: tuple[int | None, ...]
    fill: Fill


def slots(specs: Sequence[Spec], shapes: Mapping[str, Sequence[int]], batch: int) -> tuple[Slot, ...]:
    """Settle every dimension but the length.

    A given shape wins, also for dimensions of the same name in other inputs. Else a free first
    dimension is the batch and any other free dimension the length of the call.

    Args:
        specs: what the model declares.
        shapes: whole shapes by input name.
        batch: texts a call.

    Raises:
        UsageError: a given shape contradicts the model, or the model has another, fixed batch.
        StageFailed: an input is not made of numbers.
    """
    named = _named_sizes(specs, shapes)
    return tuple(_slot(spec, shapes, named, batch) for spec in specs)


def has_length(filled: Sequence[Slot]) -> bool:
    """Whether calls can differ in length."""
    return any(None in slot.shape for slot in filled)


def draw_lengths(
    lengths: Sequence[int], calls: int, batch: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Lengths for one block of calls: one from each of ``calls`` equal shares of the sorted lengths.

    So every block holds short and long texts in the proportion of the data, and blocks can be
    compared with one another, while over many blocks every length gets its due.

    Returns:
        (calls, batch) lengths in random order.

    >>> sorted(draw_lengths([5, 6, 7, 8], 4, 1, np.random.default_rng(0)).ravel().tolist())
    [5, 6, 7, 8]
    """
    ordered = np.sort(np.asarray(lengths, dtype=np.int64))
    share = generator.permuted(np.tile(np.arange(calls)[:, None], (1, batch)), axis=0)
    place = (share + generator.random((calls, batch))) / calls
    return ordered[(place * len(ordered)).astype(np.int64)]


def first_that_runs(attempt: Callable[[int], Found], vocabulary: int | None) -> Found:
    """What a model gives for ids below a bound: its vocabulary, else smaller and smaller ones are tried.

    Args:
        attempt: runs the model; raises StageFailed for ids that it has not.
        vocabulary: number of its ids, where that is known.

    Raises:
        StageFailed: no bound is small enough; the error of the last one.
    """
    bounds = BOUNDS if vocabulary is None else (vocabulary,)
    for bound in bounds[:-1]:
        try:
            return attempt(bound)
        except StageFailed:
            continue
    return attempt(bounds[-1])


def feed(
    filled: Sequence[Slot], lengths: Sequence[int] | None, bound: int, generator: np.random.Generator
) -> Feed:
    """Random values for one call.

    Args:
        filled: from ``slots``.
        lengths: tokens of each text of the batch; the call is as long as the longest and masks end
            at each text's own. None: 128 tokens where the model leaves the length open, masks all one.
        bound: token ids are drawn from 0..bound-1.
        generator: source of the values.
    """
    width = DEFAULT_LENGTH if lengths is None else max(lengths)
    return {slot.name: _fill(slot, width, lengths, bound, generator) for slot in filled}


def _named_sizes(specs: Sequence[Spec], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of named free dimensions that the given shapes settle."""
    named: dict[str, int] = {}
    for spec in specs:
        given = shapes.get(spec.name)
        if given is None:
            continue
        if len(given) != len(spec.shape):
            raise UsageError(f"shape of {spec.name} has {len(given)} dimensions, the model has {spec}")
        for size, declared in zip(given, spec.shape, strict=True):
            if isinstance(declared, int) and declared != size:
                raise UsageError(f"shape of {spec.name} says {size} where the model has {spec}")
            if isinstance(declared, str):
                named[declared] = size
    return named


def _slot(spec: Spec, shapes: Mapping[str, Sequence[int]], named: Mapping[str, int], batch: int) -> Slot:
    if spec.kind not in TYPES:
        raise StageFailed(
            f"input {spec.name} is {spec.kind}: only numbers can be made up",
            hint="export the model without its text pre-processing",
        )
    shape = tuple(shapes[spec.name]) if spec.name in shapes else _shape(spec, named, batch)
    kind = np.dtype(TYPES[spec.kind])
    return Slot(spec.name, kind, shape, _fill_of(spec.name.lower(), kind))


def _shape(spec: Spec, named: Mapping[str, int], batch: int) -> tuple[int | None, ...]:
    sizes: list[int | None] = []
    for place, declared in enumerate(spec.shape):
        if isinstance(declared, int):
            sizes.append(declared)
        elif declared in named:
            sizes.append(named[str(declared)])
        else:
            sizes.append(batch if place == 0 else None)
    first = spec.shape[0] if len(spec.shape) > 1 else None
    if batch > 1 and isinstance(first, int) and first != batch:
        raise UsageError(f"batch {batch} does not fit {spec.name}, whose batch is fixed: {spec}")
    return tuple(sizes)


def _fill_of(name: str, kind: np.dtype[Any]) -> Fill:
    if "mask" in name or kind.kind == "b":
        return "ones"
    if kind.kind == "f":
        return "normal"
    if "token_type" in name or "segment" in name:
        return "zeros"
    return "positions" if "position" in name else "ids"


def _fill(
    slot: Slot, width: int, lengths: Sequence[int] | None, bound: int, generator: np.random.Generator
) -> NDArray[Any]:
    shape = tuple(width if size is None else size for size in slot.shape)
    if slot.fill == "normal":
        return generator.standard_normal(shape).astype(slot.kind)
    if slot.fill == "ids":
        return (generator.random(shape) * bound).astype(slot.kind)
    if slot.fill == "positions":
        return np.broadcast_to(np.arange(shape[-1] if shape else 1), shape).astype(slot.kind)
    values = np.full(shape, fill_value=slot.fill == "ones").astype(slot.kind)
    if slot.fill == "ones" and lengths is not None and len(shape) == 2:
        for row in range(shape[0]):
            values[row, lengths[row % len(lengths)] :] = 0
    return values
