"""What the weights of a folder hold, by the headers of its safetensors files: without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from squeeze.errors import MissingBackend, ProfileError, visible

__all__ = ["INDEX", "WEIGHTS", "Shape", "header", "read_json", "sizes", "weight_files"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_HEADER = 10_000_000
"""Bytes of a header; that of a classifier with 500 tensors has 60,000."""
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}
Shape = tuple[int, ...]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold the weights of a model: one, or those that its index names.

    Raises:
        ProfileError: the folder has no safetensors weights, or an index that cannot be followed.
        MissingBackend: a file that the index names is not there.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    said = f"; it has {visible(others[0])}, which no model is loaded from" if others else ""
    said = said or ", only pickled ones, which are never opened" * pickled
    raise ProfileError(
        f"{folder}: no safetensors weights{said}",
        hint=f"save the model again with save_pretrained, which writes {WEIGHTS}",
    )


def _shards(folder: Path) -> tuple[Path, ...]:
    place = folder / INDEX
    try:
        table = read_json(place, MOST_HEADER)["weight_map"]
        names = sorted({str(name) for name in table.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProfileError(f"{place}: not an index of weights ({type(error).__name__})") from error
    for name in names:
        if Path(name).name != name or name in {"", ".", ".."}:
            raise ProfileError(f"{place}: names {visible(name)!r}, which is no file of this folder")
        if not (folder / name).is_file():
            raise MissingBackend(
                f"{folder / visible(name)}: missing, {INDEX} names it", hint="copy all files of the model"
            )
    return tuple(folder / name for name in names)


def read_json(path: Path, most: int) -> Any:
    """A JSON file of at most so many bytes.

    Raises:
        ValueError: it is larger, or no JSON; it may also raise OSError and RecursionError.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most // 1000:,} kB")
    return json.loads(content.decode("utf-8"))


def sizes(folder: Path) -> dict[str, Shape]:
    """The shape of every tensor of a model.

    Raises:
        ProfileError: the weights are not there, or a file is not one of safetensors or is cut short.
        MissingBackend: a file that the index names is not there.
    """
    return {name: shape for path in weight_files(folder) for name, shape in header(path).items()}


def header(path: Path) -> dict[str, Shape]:
    """The shapes that a safetensors file declares, held against its size.

    Raises:
        ProfileError: it is no such file, or its tensors do not lie inside of it.
    """
    try:
        whole = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MOST_HEADER, whole - 8):
                raise _broken(path, f"its header would have {length} bytes")
            table = json.loads(file.read(length))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, "its header is not JSON") from error
    if not isinstance(table, dict):
        raise _broken(path, "its header is no table")
    room = whole - 8 - length
    return {
        str(name): _shape(path, str(name), entry, room)
        for name, entry in table.items()
        if name != "__metadata__"
    }


def _shape(path: Path, name: str, entry: Any, room: int) -> Shape:
    """The shape of one tensor.

    Raises:
        ProfileError: the entry is not one of the format, or the tensor does not lie in the file.
    """
    if not isinstance(entry, Mapping):
        raise _broken(path, f"{visible(name)} has no shape")
    shape, place = _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if shape is None or place is None or len(place) != 2 or place[0] > place[1]:
        raise _broken(path, f"{visible(name)} has no shape or no place")
    if place[1] > room:
        raise _broken(path, f"it ends early, {visible(name)} lies behind its end")
    bits = BITS.get(str(entry.get("dtype")))
    if bits is not None and prod(shape) * bits != 8 * (place[1] - place[0]):
        raise _broken(path, f"{visible(name)} has another size than its shape")
    return shape


def _counts(value: Any) -> Shape | None:
    """Whole numbers from 0, None where it is something else."""
    whole = isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
    return tuple(value) if whole else None


def _broken(path: Path, what: str) -> ProfileError:
    return ProfileError(f"{path}: not a readable safetensors file ({what})", hint="copy it again")
