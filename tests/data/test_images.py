"""Images from folders and arrays: what is read, and what is refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from squeeze.data import images
from squeeze.errors import DataError, MissingBackend

PIL = pytest.importorskip("PIL.Image", reason="pillow is not installed")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three classes of four PNG files."""
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        where = tmp_path / "set" / f"class {label}"
        where.mkdir(parents=True, exist_ok=True)
        PIL.fromarray(pixels).save(where / f"{number:02}.png")
    return tmp_path / "set"


def arrays(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "set.npz"
    np.savez(path, **{"images": PIXELS, "labels": LABELS, **changes})  # type: ignore[arg-type]
    return path


def test_a_folder_gives_the_pixels_and_sorted_class_names(folder):
    found = images.draw(folder, 12, seed=3)
    assert (found.pixels.shape, found.size, found.classes) == ((12, 6, 8, 3), (6, 8), 3)
    known = {pixels.tobytes(): label for pixels, label in zip(PIXELS, LABELS, strict=True)}
    assert [known[pixels.tobytes()] for pixels in found.pixels] == found.labels.tolist()
    (folder / "class 0" / "notes.txt").write_text("no image")
    (folder / ".cache").mkdir()
    np.testing.assert_array_equal(images.draw(folder, 12, seed=3).pixels, found.pixels)


def test_arrays_give_the_same_rows_for_the_same_seed(tmp_path):
    found = images.draw(arrays(tmp_path), 5, seed=1)
    rows = np.random.default_rng(1).permutation(12)[:5]
    np.testing.assert_array_equal(found.pixels, PIXELS[rows])
    np.testing.assert_array_equal(found.labels, LABELS[rows])
    assert (images.draw(arrays(tmp_path), 5, seed=2).labels != found.labels).any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": PIXELS.astype(np.float32)}, r"images are float32 \(12, 6, 8, 3\), not uint8"),
        ({"images": PIXELS[..., 0]}, "not uint8"),
        ({"images": PIXELS[:, :0]}, "not uint8"),
        ({"labels": LABELS[:5]}, r"labels are int64 \(5,\), not 12 whole numbers"),
        ({"labels": LABELS - 1}, "whole numbers from 0"),
        ({"labels": LABELS / 2}, "whole numbers from 0"),
        ({"labels": np.ones(12, dtype=int)}, "one class only"),
        ({"labels": np.array([object()] * 12)}, "not a readable set of images"),  # would need unpickling
    ],
)
def test_arrays_that_are_no_images(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        images.draw(arrays(tmp_path, **changes), 4, seed=0)


def test_files_that_are_no_arrays(tmp_path):
    path = tmp_path / "set.npz"
    for content in (b"", b"PK\x03\x04 no archive", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable set of images"):
            images.draw(path, 4, seed=0)
    with path.open("wb") as file:
        np.save(file, PIXELS)
    with pytest.raises(DataError, match="not a readable set of images"):
        images.draw(path, 4, seed=0)
    np.savez(path, pictures=PIXELS)
    with pytest.raises(DataError, match="images"):
        images.draw(path, 4, seed=0)


def test_places_without_images(folder, tmp_path):
    for wrong in (tmp_path / "nowhere", folder / "class 0" / "00.png"):
        with pytest.raises(DataError, match="no images there"):
            images.draw(wrong, 4, seed=0)
    with pytest.raises(DataError, match="12 images, 13 are asked for"):
        images.draw(folder, 13, seed=0)
    with pytest.raises(DataError, match="0 images"):
        images.draw(folder / "class 0", 4, seed=0)


def test_images_that_cannot_be_used_are_named(folder):
    broken = folder / "class 1" / "01.png"
    whole = broken.read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"01\.png: not a readable image"):
            images.draw(folder, 12, seed=0)
    PIL.new("RGB", (9, 6)).save(broken)
    with pytest.raises(DataError, match=r"pixels, .* has"):
        images.draw(folder, 12, seed=0)


def test_one_class_is_no_task(folder):
    for label in (1, 2):
        for file in (folder / f"class {label}").iterdir():
            file.unlink()
    with pytest.raises(DataError, match="one class only"):
        images.draw(folder, 4, seed=0)


def test_without_pillow_arrays_still_work(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingBackend, match="PIL"):
        images.draw(folder, 4, seed=0)
    assert len(images.draw(arrays(tmp_path), 4, seed=0).labels) == 4
