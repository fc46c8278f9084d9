"""What an input probably is, from its name, type and shape: its free sizes, and what to fill it with.

Guesses are for models that nobody described. A given shape always wins; a wrong guess ends in one line that
names the option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from squeeze.errors import visible

__all__ = ["CHUNK", "IMAGE", "RATE", "Fill", "Sizes", "Spec", "Surroundings", "filling", "is_state", "sizes"]

Fill: TypeAlias = Literal["ids", "ones", "zeros", "positions", "normal", "bytes", "lengths", "constant"]
Sizes: TypeAlias = tuple[int | None, ...]

IMAGE = 224
"""Height and width, ImageNet's crop; a multiple of 32, which most networks for images divide by."""
COLOURS = 3
RATE = 16_000
"""Samples a second of speech, and how many an open input for sound gets."""
CHUNK = 512
"""Samples of one step of a model with states; 32 ms at 16 kHz, the step of silero-vad."""

BATCH = {"batch", "batchsize", "bs", "bsz"}
STATE = {"state", "states", "h", "c", "h0", "c0", "hx", "cx", "hn", "cn", "hidden", "cell"}
SOUND = {"audio", "waveform", "wav", "speech", "pcm", "signal", "samples"}
PICTURE = {"image", "images", "img", "pixel", "pixels", "photo"}
SOUND_RATE = {"sr", "rate", "samplerate"}
LENGTH = {"length", "lengths", "len", "lens"}
FACTOR = {"scale", "scales", "ratio", "speed", "temperature", "factor"}
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Spec:
    """An input as the model declares it; a free dimension is a name or None."""

    name: str
    kind: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        """As reports show it."""
        return f"{self.kind} {self.sizes}"

    @property
    def sizes(self) -> str:
        """Its dimensions."""
        return f"[{', '.join('?' if size is None else visible(str(size)) for size in self.shape)}]"


@dataclass(frozen=True)
class Surroundings:
    """What the other inputs say about one.

    Attributes:
        named: sizes of named dimensions that given shapes settle.
        batch: texts, pictures or sounds a call.
        sounds: whether the model asks for a sample rate.
        steps: whether it carries states from call to call.
    """

    named: Mapping[str, int]
    batch: int
    sounds: bool
    steps: bool

    @classmethod
    def of(cls, specs: Sequence[Spec], named: Mapping[str, int], batch: int) -> Surroundings:
        """Look at all inputs of a model."""
        around = cls(named, batch, any(map(_is_rate, specs)), any(map(is_state, specs)))
        ends = [spec.shape[-1] for spec in specs if spec.shape and _is_sound(spec, around)]
        samples = {end: around.samples for end in ends if isinstance(end, str)}  # also of a mask beside it
        return replace(around, named={**samples, **named})

    @property
    def samples(self) -> int:
        """Of a call."""
        return CHUNK if self.steps else RATE


def sizes(spec: Spec, around: Surroundings) -> Sizes:
    """A size for every dimension, None where it is the length of the call.

    Args:
        spec: the input.
        around: what the others say.
    """
    return tuple(
        size if isinstance(size, int) else _free(spec, place, size, around)
        for place, size in enumerate(spec.shape)
    )


def filling(spec: Spec, kind: np.dtype[Any]) -> tuple[Fill, float]:
    """What to fill an input with, and the value where it is a constant.

    Args:
        spec: the input.
        kind: its type in numpy.
    """
    if kind.kind == "b":
        return ("zeros" if _is_cache(spec) else "ones"), 0
    if "mask" in spec.name.lower():
        return "ones", 0
    if _is_rate(spec):
        return "constant", RATE
    if is_state(spec) or _is_cache(spec):
        return "zeros", 0
    if _colours(spec) is not None and kind.kind != "f":
        return "bytes", 0
    return _float(spec) if kind.kind == "f" else _integer(spec)


def is_state(spec: Spec) -> bool:
    """Whether an input is what a recurrent model kept from its last call."""
    words = _words(spec.name)
    of_another = words & {"encoder", "last"} or words >= {"hidden", "states"}  # what a layer below gave
    return len(spec.shape) > 1 and bool(words & STATE) and not of_another


def _float(spec: Spec) -> tuple[Fill, float]:
    words = _words(spec.name)
    if "threshold" in words:
        return "constant", 0.5
    if _is_extent(spec):
        return "constant", IMAGE
    if words & FACTOR or not spec.shape:
        return "constant", 1
    return "normal", 0


def _integer(spec: Spec) -> tuple[Fill, float]:
    name, words = spec.name.lower(), _words(spec.name)
    if "token_type" in name or "segment" in name:
        return "zeros", 0
    if "position" in name or (not spec.shape and words & {"start", "offset", "index", "step"}):
        return "positions", 0
    if _is_extent(spec):
        return "constant", IMAGE
    if len(spec.shape) <= 1 and words & LENGTH:
        return "lengths", 0
    return ("ids", 0) if spec.shape else ("constant", 1)


def _free(spec: Spec, place: int, name: str | None, around: Surroundings) -> int | None:
    if name is None:
        return _by_input(spec, place, around)
    if name in around.named:
        return around.named[name]
    if "+" in name:
        return _sum([_term(spec, place, part.strip(), around) for part in name.split("+")])
    return _by_name(spec, place, name, around)


def _term(spec: Spec, place: int, part: str, around: Surroundings) -> int | None:
    return int(part) if part.isdecimal() else _free(spec, place, part, around)


def _sum(parts: Sequence[int | None]) -> int | None:
    """Of a length and whatever else there is, the length: what else there is, is an empty past."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _by_name(spec: Spec, place: int, name: str, around: Surroundings) -> int | None:
    """A size that the dimension's own name tells."""
    words, low = _words(name), name.lower()
    meant: tuple[tuple[bool, int | None], ...] = (
        (bool(words & BATCH), around.batch),
        ("past" in words, 0),
        (len(spec.shape) > 2 and ("height" in low or "width" in low or bool(words & {"h", "w"})), IMAGE),
        ("channel" in low, COLOURS),
        (bool(words & SOUND), around.samples),
        ("seq" in low or bool(words & {*LENGTH, "time", "frames", "tokens", "sequence"}), None),
        ("num" in words, 1),
    )
    return next((size for fits, size in meant if fits), _by_input(spec, place, around))


def _by_input(spec: Spec, place: int, around: Surroundings) -> int | None:
    """A size that the input's name, type and other dimensions tell."""
    if is_state(spec):
        return around.batch
    if _is_sound(spec, around) and place == len(spec.shape) - 1:
        return around.samples
    colours = _colours(spec)
    if place == 0 and (colours is None or len(spec.shape) != 3):
        return around.batch
    if _is_cache(spec):
        return 0
    if colours is not None:
        return COLOURS if place == colours else IMAGE
    return None


def _colours(spec: Spec) -> int | None:
    """Which dimension of a picture holds its colours; None for what is no picture."""
    rank = len(spec.shape)
    is_picture = rank == 4 or (rank == 3 and bool(_words(spec.name) & PICTURE))
    fits = "mask" not in spec.name.lower() and not is_state(spec) and not _is_cache(spec)
    if not is_picture or not fits or spec.kind not in PICTURES:
        return None
    first, last = rank - 3, rank - 1
    named_last = "channel" in str(spec.shape[last]).lower() or "height" in str(spec.shape[first]).lower()
    ends = spec.shape[last] in CHANNELS and spec.shape[first] not in CHANNELS
    return last if ends or named_last else first


PICTURES = {"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(uint8)", "tensor(int8)"}


def _is_sound(spec: Spec, around: Surroundings) -> bool:
    if len(spec.shape) > 2 or spec.kind not in {*PICTURES, "tensor(int16)"}:
        return False
    named = bool(_words(spec.name) & SOUND) or spec.name == "input_values"
    # Features of a step have a fixed number; what is free beside a state are the samples of a step.
    open_step = around.steps and bool(spec.shape) and not isinstance(spec.shape[-1], int)
    return named or around.sounds or open_step


def _is_rate(spec: Spec) -> bool:
    return len(spec.shape) <= 1 and bool(_words(spec.name) & SOUND_RATE)


def _is_cache(spec: Spec) -> bool:
    return bool(_words(spec.name) & {"past", "cache"})


def _is_extent(spec: Spec) -> bool:
    """Whether an input tells how large a picture is."""
    return len(spec.shape) <= 2 and bool(_words(spec.name) & {"size", "sizes", "shape"})


def _words(name: str) -> frozenset[str]:
    """The parts of a name, in lower case.

    >>> sorted(_words("Past_key.h0"))
    ['h0', 'key', 'past']
    """
    return frozenset(re.findall(r"[a-z]+[0-9]*|[0-9]+", name.lower()))
