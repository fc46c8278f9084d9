from __future__ import annotations

import json
import random
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from squeeze.data.config import DataSection
from squeeze.data.labels import class_label, class_names, label_names_sorted, whole_number
from squeeze.data.sources import read

SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")


@pytest.mark.parametrize(
    "names",
    [
        [str(i) for i in range(77)],
        [f"{i:02}" for i in range(12)],
        ["-10", "-2", "-1", "0", "1", "10"],
        ["+1", "2", "10"],
        ["01", "2", "03"],
        ["1", "a", "b"],
        ["B", "a", "b"],
        ["1.0", "10.0", "2.0"],
        ["", "10", "9"],
    ],
)
def test_order_of_labels(names: list[str]) -> None:
    mixed = names * 2
    random.Random(0).shuffle(mixed)
    assert label_names_sorted(mixed) == tuple(names)


@pytest.mark.parametrize("name", ["", "1.0", "x1", "1e3", "٣", "9" * 5000, " 1", "1\n"])
def test_no_whole_numbers(name: str) -> None:
    assert whole_number(name) is None


def saved(folder: Path, values: list[int], feature: object) -> str:
    features = datasets.Features({"text": datasets.Value("string"), "label": feature})
    rows = {"text": [f"text {i}" for i in range(len(values))], "label": values}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "a.parquet")
    return str(folder / "a.parquet")


def test_a_parquet_file_of_datasets_names_its_classes(tmp_path: Path) -> None:
    name = saved(tmp_path, [2, 0, 1, -1], datasets.ClassLabel(names=["offer", "other", "request"]))
    assert read(name, "train", SECTION).labels == ("request", "offer", "other", "-1")
    assert read(name, "unlabelled", SECTION).labels is None
    plain = saved(tmp_path, [2, 0, 1], datasets.Value("int64"))
    assert read(plain, "train", SECTION).labels == ("2", "0", "1")


@pytest.mark.parametrize(
    "feature",
    [
        {"_type": "Value", "dtype": "int64"},
        {"_type": "ClassLabel", "names": "ab"},
        {"_type": "ClassLabel", "names": ["a", 1]},
        {"_type": "ClassLabel", "names": ["a", "a"]},
        {"_type": "ClassLabel"},
        ["a"],
        None,
    ],
)
def test_metadata_that_names_no_classes(feature: object, tmp_path: Path) -> None:
    note = json.dumps({"info": {"features": {"label": feature}}}).encode()
    assert class_names({b"huggingface": note}, "label") is None
    table = pa.table({"text": ["x"], "label": [1]}).replace_schema_metadata({b"huggingface": note})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(str(tmp_path / "a.parquet"), "train", SECTION).labels == ("1",)


@pytest.mark.parametrize("metadata", [None, {}, {b"huggingface": b"no"}, {b"huggingface": b"[" * 100_000}])
def test_metadata_that_cannot_be_read(metadata: dict[bytes, bytes] | None) -> None:
    assert class_names(metadata, "label") is None


def test_a_value_that_is_no_class_stays_as_it_is() -> None:
    assert [class_label(value, ["a", "b"]) for value in (0, 1, 2, -1, True, None, "a")] == [
        "a", "b", "2", "-1", "true", "", "a"
    ]  # fmt: skip
