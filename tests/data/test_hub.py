from __future__ import annotations

import json
from pathlib import Path

import datasets
import huggingface_hub
import pytest

from squeeze.data import hub
from squeeze.data.config import DataSection, Source
from squeeze.data.sources import fingerprints, read
from squeeze.data.table import Columns
from squeeze.errors import DataError, MissingBackend, SqueezeError

SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def small_set(labels: tuple[int, ...]) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    return datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": list(labels)}, features=features)


def test_saved_folder_names_its_classes(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": small_set((0, 1, -1)), "dev": small_set((1, 1, 1))}).save_to_disk(
        tmp_path / "s"
    )
    name = f"hf:{tmp_path / 's'}"
    table = read(name, "train", SECTION)
    assert (table.texts, table.labels, table.rows) == (("a", "b", "c"), ("no", "yes", "-1"), (1, 2, 3))
    assert read(Source(name=name, split="dev"), "validation", SECTION).labels == ("yes",) * 3
    assert read(Source(name=name, split="dev"), "unlabelled", SECTION).labels is None
    with pytest.raises(DataError, match=r"no split 'validation'; it has: train, dev"):
        read(name, "validation", SECTION)
    with pytest.raises(DataError, match=r"no text column 'txt' \(nearest: 'text'\)"):
        read(Source(name=name, text="txt"), "train", SECTION)


def test_saved_set_without_splits_is_read_whole(tmp_path: Path) -> None:
    small_set((0, 1, 0)).save_to_disk(tmp_path / "s")
    assert len(read(f"hf:{tmp_path / 's'}", "validation", SECTION)) == 3


def test_folder_of_data_files_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        row = json.dumps({"text": split, "label": "x"})
        (tmp_path / "set" / f"{split}.jsonl").write_text(row + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    table = read("hf:./set", "test", SECTION)
    assert (table.texts, table.labels) == (("test",), ("x",))
    with pytest.raises(DataError, match="Unknown split"):
        read("hf:./set", "validation", SECTION)
    with pytest.raises(DataError, match=r"hf:\./set: .*nosuch"):
        read(Source(name="hf:./set", subset="nosuch"), "train", SECTION)


def test_folders_that_are_no_sets(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read(f"hf:{tmp_path / 'none'}", "train", SECTION)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        read(f"hf:{tmp_path / 'empty'}", "train", SECTION)
    (tmp_path / "empty" / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="not a readable saved set"):
        read(f"hf:{tmp_path / 'empty'}", "train", SECTION)


def test_fingerprint_of_a_folder_follows_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    small_set((0, 1, 0)).save_to_disk(folder)
    name = f"hf:{folder}"
    section = DataSection(train=name, validation=name, test=name)
    first = fingerprints(section)
    assert first == fingerprints(section)
    (folder / "more.txt").write_text("x", encoding="utf-8")
    assert fingerprints(section) != first


class FakeBuilder:
    """Stands in for the builder of a set of the hub."""

    def __init__(self, asked: list[object]) -> None:
        self.asked, self.config = asked, object()

    def download_and_prepare(self) -> None:
        self.asked.append("download")

    def as_dataset(self, *, split: str) -> datasets.Dataset:
        self.asked.append(split)
        return small_set((0, 1, 0))


def test_hub_set_is_asked_for_by_name_subset_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load_dataset_builder(name: str, subset: str | None) -> FakeBuilder:
        asked.extend((name, subset))
        return FakeBuilder(asked)

    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    table = read(Source(name="hf:owner/set", subset="en", split="dev"), "validation", SECTION)
    assert asked == ["owner/set", "en", "download", "dev"]
    assert table.labels == ("no", "yes", "no")
    assert table.place == "hf:owner/set (dev)"


def test_text_of_csv_files_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    Path("set/test.csv").write_text("text,label\nx,1\n", encoding="utf-8")
    Path("set/train.csv").write_text('text,label\nNA,01\nnull,02\n"",03\nNone,04\n', encoding="utf-8")
    table = read("hf:./set", "train", SECTION)
    assert read("hf:./set", "test", SECTION).labels == ("1",)
    assert (table.texts, table.labels) == (("NA", "null", "", "None"), ("01", "02", "03", "04"))


def test_columns_of_csv_files_that_the_set_describes(tmp_path: Path) -> None:
    classes = "      class_label:\n        names:\n          '0': red\n          '1': blue\n"
    features = f"  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n{classes}"
    config = "configs:\n- config_name: default\n  data_files: train.csv\n"
    (tmp_path / "README.md").write_text(f"---\n{config}dataset_info:\n{features}---\n", encoding="utf-8")
    (tmp_path / "train.csv").write_text("text,label\nNA,1\nb,0\n", encoding="utf-8")
    table = read(f"hf:{tmp_path}", "train", SECTION)
    assert (table.texts, table.labels) == (("NA", "b"), ("blue", "red"))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionError("no route"), MissingBackend),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'owner/set' doesn't exist\nmore"), DataError),
        (ValueError("BuilderConfig 'x' not found"), DataError),
    ],
)
def test_failures_of_the_hub_are_one_line(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[SqueezeError]
) -> None:
    def load_dataset_builder(*args: object, **named: object) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    with pytest.raises(expected) as caught:
        hub.read("hf:owner/set", None, "train", Columns("text", "label"))
    message = caught.value.message
    assert message.startswith("hf:owner/set")
    assert "\n" not in message


def hub_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Send the hub client to a cache of our own, without a network."""
    original = huggingface_hub.snapshot_download

    def offline(*args: object, **named: object) -> str:
        return original(*args, **{**named, "cache_dir": folder, "local_files_only": True})  # type: ignore[call-overload]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)


def test_fingerprint_without_network_is_the_downloaded_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_cache(monkeypatch, tmp_path)
    with pytest.raises(MissingBackend, match="hub cannot be reached"):
        hub.fingerprint("hf:owner/set")
    cached, commit = tmp_path / "datasets--owner--set", "0123456789abcdef0123456789abcdef01234567"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit, encoding="utf-8")
    (cached / "snapshots" / commit).mkdir(parents=True)
    assert hub.fingerprint("hf:owner/set") == commit


def test_fingerprint_of_an_impossible_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="cannot be loaded"):
        hub.fingerprint("hf:no such/na me")


def test_a_folder_of_thousands_of_files_is_no_set(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "MOST_FILES", 3)
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("text,label")
    assert len(hub.fingerprint(f"hf:{tmp_path}")) == 64
    (tmp_path / "3.csv").touch()
    with pytest.raises(DataError, match="more than 3 files, which is no set"):
        hub.fingerprint(f"hf:{tmp_path}")
