"""The page cache of real files."""

from __future__ import annotations

import mmap
import os

import pytest

from squeeze.targets import pages

SIZE = 40 * mmap.PAGESIZE + 5


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_what_was_read_is_resident(file):
    pages.fill(file)
    assert pages.resident(file) == SIZE


def test_what_was_dropped_is_not(file):
    if not pages.can_drop():
        pytest.skip("this system takes no advice on its page cache")
    pages.fill(file)
    pages.drop(file)
    left = pages.resident(file)
    if left == SIZE:
        pytest.skip("this file system keeps its files in memory")
    assert left == 0
    pages.fill(file)
    assert pages.resident(file) == SIZE


def test_pages_that_a_process_has_mapped_stay(file):
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert len(bytes(mapped)) == SIZE
        pages.drop(file)
        assert pages.resident(file) >= SIZE - mmap.PAGESIZE
    assert len(file.read_bytes()) == SIZE


def test_an_empty_file_has_no_pages(tmp_path):
    (tmp_path / "empty").touch()
    assert pages.resident(tmp_path / "empty") == 0


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        pages.drop(tmp_path / "none")
