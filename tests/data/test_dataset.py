from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from squeeze.data.dataset import load, write_split, write_unlabelled
from squeeze.errors import Corrupt

ODD = ("a\u2028b", "c\nd\re", 'quotes " \\', "🌊 Ä", "\x85")


def write(folder: Path) -> None:
    for name in ("test", "far", "train", "a_b-1", "validation"):
        write_split(folder, name, ODD, [0, 1, 2, 1, 0])
    write_unlabelled(folder, ODD)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    dataset = load(tmp_path)
    assert list(dataset.splits) == ["train", "validation", "test", "a_b-1", "far"]
    for split in dataset.splits.values():
        assert split.texts == ODD
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == [0, 1, 2, 1, 0]
        assert len(split) == 5
    assert dataset.unlabelled == ODD
    assert (tmp_path / "train.jsonl").read_bytes().count(b"\n") == 5


def test_nothing_is_something_too(tmp_path: Path) -> None:
    write(tmp_path)
    write_split(tmp_path, "train", [], [])
    write_unlabelled(tmp_path, [])
    dataset = load(tmp_path)
    assert dataset.unlabelled == ()
    assert dataset.splits["train"].labels.shape == (0,)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"text": "a"}', '{"text": 1, "label": 0}', '{"text": "a", "label": "0"}']
)
def test_other_rows_are_corrupt(tmp_path: Path, content: str) -> None:
    write(tmp_path)
    (tmp_path / "test.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(Corrupt, match=r"test\.jsonl"):
        load(tmp_path)


def test_a_missing_split_is_corrupt(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "validation.jsonl").unlink()
    with pytest.raises(Corrupt, match=r"validation\.jsonl"):
        load(tmp_path)
