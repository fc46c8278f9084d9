"""Inputs for a model that nobody described: from its declared names, types and shapes.

Pure, and numpy only: the measuring process loads this and must stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import StageFailed, UsageError, visible
from squeeze.targets.guesses import Fill, Sizes, Spec, Surroundings, filling, is_state, sizes

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
    "hint",
    "slots",
]

Feed: TypeAlias = dict[str, NDArray[Any]]
Found = TypeVar("Found")

DEFAULT_LENGTH = 128
NAMED = 4
"""Inputs that a hint names."""
MOST_BYTES = 2**31
"""Of one input; what is larger is a broken or hostile file, and no call that anyone waits for."""
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
class Slot:
    """An input as it will be filled; None in its shape is the length of the call."""

    name: str
    kind: Any
    shape: Sizes
    fill: Fill
    value: float = 0.0


def slots(
    specs: Sequence[Spec], shapes: Mapping[str, Sequence[int]], batch: int, sequence: int | None = None
) -> tuple[Slot, ...]:
    """Settle every dimension but the length.

    A given shape wins, also for dimensions of the same name in other inputs. Else the input's name,
    type and shape tell (squeeze/targets/guesses.py); what nothing is known of is the length of the call.

    Args:
        specs: what the model declares.
        shapes: whole shapes by input name.
        batch: texts a call.
        sequence: tokens a text that were asked for; None: whatever the model takes.

    Raises:
        UsageError: a given shape contradicts the model, or the model has another, fixed batch or length, or
            none at all.
        StageFailed: an input is not a tensor of numbers, or larger than anything that could be fed.
    """
    around = Surroundings.of(specs, _named_sizes(specs, shapes), batch)
    settled = tuple(_slot(spec, shapes, around) for spec in specs)
    if batch > 1 and not any(batch in slot.shape for slot in settled):
        raise UsageError(f"batch {batch}: {_no_input(specs)} has a batch", hint="leave --batch out")
    if sequence is not None and not has_length(settled):
        _same_length(specs, settled, sequence)
    return settled


def hint(specs: Sequence[Spec], filled: Sequence[Slot], values: Feed) -> str:
    """Which options change what was fed: the shapes that were tried, in the words of the option.

    Args:
        specs: what the model declares.
        filled: how its inputs were settled.
        values: what it got.
    """
    free = [spec for spec in specs if any(not isinstance(size, int) for size in spec.shape)]
    tried = [f"--shape {visible(spec.name)}={_written(values[spec.name].shape)}" for spec in free]
    if not tried:
        return "every size is fixed in the file, so no option changes its inputs"
    more = f" and {len(tried) - NAMED} more" if len(tried) > NAMED else ""
    tokens = "; --seq sets the tokens a text" if has_length(filled) else ""
    return f"tried {' '.join(tried[:NAMED])}{more}: give the sizes it wants{tokens}"


def _written(shape: Sequence[int | None]) -> str:
    return "x".join(map(str, shape))


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
    longest = _longest(filled, width)
    return {slot.name: _fill(slot, width, lengths, bound, longest, generator) for slot in filled}


def _named_sizes(specs: Sequence[Spec], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of named free dimensions that the given shapes settle."""
    named: dict[str, int] = {}
    for spec in specs:
        given = shapes.get(spec.name)
        if given is None:
            continue
        if len(given) != len(spec.shape):
            raise UsageError(f"shape of {_told(spec)} has {len(given)} dimensions, the model has {spec}")
        for size, declared in zip(given, spec.shape, strict=True):
            if isinstance(declared, int) and declared != size:
                raise UsageError(f"shape of {_told(spec)} says {size} where the model has {spec}")
            if isinstance(declared, str):
                named[declared] = size
    return named


def _slot(spec: Spec, shapes: Mapping[str, Sequence[int]], around: Surroundings) -> Slot:
    if spec.kind not in TYPES:
        raise StageFailed(
            f"input {_told(spec)} is {spec.kind}: only numbers can be made up, in tensors",
            hint="export the model without its text pre-processing" if "string" in spec.kind else "",
        )
    given = shapes.get(spec.name)
    if given is None:
        _same_batch(spec, around.batch)
    shape = sizes(spec, around) if given is None else tuple(given)
    kind = np.dtype(TYPES[spec.kind])
    bytes_ = prod(DEFAULT_LENGTH if size is None else size for size in shape) * kind.itemsize
    if bytes_ > MOST_BYTES:
        limit = f"at most {MOST_BYTES / 1e9:.3g} GB"
        wrong = StageFailed if given is None else UsageError
        raise wrong(f"input {_told(spec)}, {spec}, takes {bytes_ / 1e9:.3g} GB a call; {limit}")
    return Slot(spec.name, kind, shape, *filling(spec, kind))


def _told(spec: Spec) -> str:
    """Its name, as it can stand in a line."""
    return visible(spec.name)


def _same_batch(spec: Spec, batch: int) -> None:
    first = spec.shape[0] if len(spec.shape) > 1 and not is_state(spec) else None
    if batch > 1 and isinstance(first, int) and first != batch:
        raise UsageError(f"batch {batch} does not fit {_told(spec)}, whose batch is fixed: {spec}")


def _same_length(specs: Sequence[Spec], settled: Sequence[Slot], sequence: int) -> None:
    """Refuse a length that a model whose sizes are all settled does not have."""
    texts = [
        (spec, slot)
        for spec, slot in zip(specs, settled, strict=True)
        if len(slot.shape) == 2 and slot.fill in ("ids", "ones", "zeros", "positions")
    ]
    if not texts:
        raise UsageError(
            f"seq {sequence}: {_no_input(specs)} has a length",
            hint="leave --seq out; a sweep takes --seq own",
        )
    for spec, slot in texts:
        if slot.shape[1] != sequence and not isinstance(spec.shape[1], int):
            raise UsageError(f"seq {sequence} does not fit --shape {_told(spec)}={_written(slot.shape)}")
        if slot.shape[1] != sequence:
            raise UsageError(
                f"seq {sequence} does not fit {_told(spec)}, whose length is fixed: {spec.sizes}",
                hint="leave --seq out (a sweep takes --seq own), or export the model with a free length",
            )


def _no_input(specs: Sequence[Spec]) -> str:
    """The model's inputs, as the subject of a sentence that denies something of all of them."""
    named = "; ".join(f"{_told(spec)} {spec}" for spec in specs[:NAMED])
    return f"no input ({named or 'it has none'})"


def _fill(
    slot: Slot,
    width: int,
    lengths: Sequence[int] | None,
    bound: int,
    longest: int,
    generator: np.random.Generator,
) -> NDArray[Any]:
    shape = tuple(width if size is None else size for size in slot.shape)
    match slot.fill:
        case "normal":
            return generator.standard_normal(shape).astype(slot.kind)
        case "ids" | "bytes":
            most = min(bound if slot.fill == "ids" else 256, np.iinfo(slot.kind).max + 1)
            return (generator.random(shape) * most).astype(slot.kind)
        case "positions":
            return (
                np.broadcast_to(np.arange(shape[-1] if shape else 1), shape or (1,))
                .reshape(shape)
                .astype(slot.kind)
            )
        case "ones":
            return _mask(shape, slot.kind, lengths)
        case _:
            return np.full(shape, longest if slot.fill == "lengths" else slot.value).astype(slot.kind)


def _mask(shape: tuple[int, ...], kind: Any, lengths: Sequence[int] | None) -> NDArray[Any]:
    values = np.ones(shape, dtype=kind)
    if lengths is not None and len(shape) == 2:
        for row in range(shape[0]):
            values[row, lengths[row % len(lengths)] :] = 0
    return values


def _longest(filled: Sequence[Slot], width: int) -> int:
    """What an input that holds lengths is told: that of the call, else of the largest input of values."""
    if has_length(filled):
        return width
    ends = [slot.shape[-1] for slot in filled if slot.shape and slot.fill in ("ids", "normal")]
    return max((end for end in ends if end is not None), default=width)
