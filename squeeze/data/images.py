"""A few labelled images, from a folder of class folders or from an .npz file; nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import DataError
from squeeze.runtime import need

__all__ = ["Images", "draw"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
UNREADABLE = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error)
LAYOUT = "a folder with one folder of PNG or JPEG files a class, or an .npz file with `images` and `labels`"


@dataclass(frozen=True)
class Images:
    """A batch.

    Attributes:
        pixels: (N, H, W, 3) uint8.
        labels: (N,) int64.
        classes: how many there are, in the batch or not.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]


def draw(path: Path, count: int, seed: int) -> Images:
    """Random images of a set.

    Args:
        path: a folder of class folders, whose sorted names are the labels, or an .npz file with `images`
            (N, H, W, 3) uint8 and `labels` (N,) whole numbers from 0.
        count: how many.
        seed: of the choice.

    Raises:
        DataError: nothing there that can be read, fewer images than asked for, fewer than two classes, or
            images of several sizes.
        MissingBackend: files are to be read and Pillow is not installed.
    """
    if path.is_dir():
        return _from_folder(path, count, seed)
    if path.suffix == ".npz" and path.is_file():
        return _from_arrays(path, count, seed)
    raise DataError(f"{path}: no images there", hint=f"give {LAYOUT}")


def _from_folder(path: Path, count: int, seed: int) -> Images:
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    found = [
        (file, label)
        for label, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    labels = np.array([label for _, label in found], dtype=np.int64)
    _check(path, labels, len(folders), count)
    rows = _rows(len(found), count, seed)
    return Images(_read([found[row][0] for row in rows]), labels[rows], len(folders))


def _read(files: Sequence[Path]) -> NDArray[np.uint8]:
    pillow = need("PIL.Image", extra="images")
    pixels = []
    for file in files:
        try:
            with pillow.open(file) as image:
                pixels.append(np.asarray(image.convert("RGB")))
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            raise DataError(f"{file}: not a readable image ({error})") from error
        if pixels[-1].shape != pixels[0].shape:
            (height, width, _), (first_height, first_width, _) = pixels[-1].shape, pixels[0].shape
            raise DataError(
                f"{file}: {width} x {height} pixels, {files[0]} has {first_width} x {first_height}",
                hint="bring all images to one size first",
            )
    return np.stack(pixels)


def _from_arrays(path: Path, count: int, seed: int) -> Images:
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            pixels, labels = arrays["images"], arrays["labels"]
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable set of images ({error})", hint=f"give {LAYOUT}") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape[1:3]:
        raise DataError(f"{path}: images are {pixels.dtype} {pixels.shape}, not uint8 (N, height, width, 3)")
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1] or (labels < 0).any():
        raise DataError(
            f"{path}: labels are {labels.dtype} {labels.shape}, not {len(pixels)} whole numbers from 0"
        )
    classes = int(labels.max(initial=-1)) + 1
    _check(path, labels, classes, count)
    rows = _rows(len(pixels), count, seed)
    return Images(pixels[rows], labels[rows].astype(np.int64), classes)


def _check(path: Path, labels: NDArray[np.int64], classes: int, count: int) -> None:
    if len(labels) < count:
        raise DataError(f"{path}: {len(labels)} images, {count} are asked for", hint=f"give {LAYOUT}")
    if len(np.unique(labels)) < 2 or classes < 2:
        raise DataError(f"{path}: images of one class only", hint=f"give {LAYOUT}")


def _rows(total: int, count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(total)[:count]
