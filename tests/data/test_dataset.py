from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from squeeze.data.dataset import load, write_split, write_state, write_unlabelled
from squeeze.data.texts import joined
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
    assert feather.read_table(tmp_path / "train.arrow").to_pydict() == {
        "text": [*ODD],
        "label": [0, 1, 2, 1, 0],
    }


def test_nothing_is_something_too(tmp_path: Path) -> None:
    write(tmp_path)
    write_split(tmp_path, "train", [], [])
    write_unlabelled(tmp_path, [])
    dataset = load(tmp_path)
    assert dataset.unlabelled == ()
    assert dataset.splits["train"].labels.shape == (0,)


def test_labels_of_several_numbers_and_their_state(tmp_path: Path) -> None:
    write(tmp_path)
    labels = np.array([[0.5, np.nan, 3], [1, 2, 1e-7]] * 40_000, dtype=np.float32)  # more than one piece
    write_split(tmp_path, "train", ["a"] * len(labels), labels)
    assert load(tmp_path).state == {}
    write_state(tmp_path, {"mean": (0.5,)})
    dataset = load(tmp_path)
    assert dataset.splits["train"].labels.dtype == np.float32
    np.testing.assert_array_equal(dataset.splits["train"].labels, labels)
    assert dataset.state == {"mean": (0.5,)}
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(Corrupt, match=r"state\.json: not a part of a dataset"):
        load(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        None,
        pa.table({"text": ["a"]}),
        pa.table({"text": pa.array(["a"], pa.large_string()), "label": ["0"]}),
        pa.table({"text": [1], "label": [0]}),
    ],
)
def test_other_files_are_corrupt(tmp_path: Path, table: pa.Table | None) -> None:
    write(tmp_path)
    path = tmp_path / "test.arrow"
    if table is None:
        path.write_bytes(path.read_bytes()[:-20])
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(Corrupt, match=r"test\.arrow: not a part of a dataset"):
        load(tmp_path)


def test_a_missing_split_is_corrupt(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "validation.arrow").unlink()
    with pytest.raises(Corrupt, match=r"validation\.arrow"):
        load(tmp_path)


def test_texts_are_a_sequence(tmp_path: Path) -> None:
    many = [f"text {i}" for i in range(3000)]
    write(tmp_path)
    write_unlabelled(tmp_path, many)
    dataset = load(tmp_path)
    texts = joined(dataset.unlabelled, ODD, dataset.splits["test"].texts)
    assert len(texts) == 3010
    assert list(texts) == [*many, *ODD, *ODD]
    assert (texts[2999], texts[-1], texts[3000:3002]) == ("text 2999", ODD[-1], ODD[:2])
    assert texts == [*many, *ODD, *ODD]
    assert texts not in ([], many, [*many, *ODD, *reversed(ODD)], 3)
    assert joined() == ()


def test_texts_are_mapped_and_not_read(tmp_path: Path) -> None:
    write(tmp_path)
    write_unlabelled(tmp_path, (f"{i} " * 100 for i in range(20_000)))
    before = pa.total_allocated_bytes()
    texts = load(tmp_path).unlabelled
    assert (tmp_path / "unlabelled.arrow").stat().st_size > 10_000_000
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert texts[19_999] == "19999 " * 100
