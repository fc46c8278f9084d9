"""What data looks like that is not one text and one label a row."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from squeeze.data import parquet
from squeeze.data.checks import inspect
from squeeze.data.config import DataSection
from squeeze.data.looks import alike, label_lines, look, looks, text_lines_of
from squeeze.data.sources import read
from squeeze.data.table import Column, Table
from squeeze.errors import DataError
from tests.labelled import single_label

SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")
WORDS = ("the", "flood", "took", "bridge", "need", "boats", "food", "water", "tonight", "near", "please")


def prose(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=6)) for _ in range(count)]


def fails(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(str(path), "train", SECTION)
    assert "\n" not in caught.value.message
    return caught.value


# labels


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [f"id-{i % 200}" for i in range(1000)],
            "200 labels in 1,000 rows, 5.0 rows a label: looks like an id",
        ),
        (prose(100), "100 rows, 1.0 rows a label: looks like a text column"),
        ([str(i % 77) for i in range(7700)], None),  # banking77
        ([str(i % 151) for i in range(15100)], None),  # clinc150
        (
            [str(i * i % 100_003) for i in range(1000)],
            "different numbers as labels: looks like regression data",
        ),
        (
            [f"{i % 9 / 2:.1f}" for i in range(90)],
            "9 different numbers as labels: looks like regression data",
        ),
        ([str(i % 5 + 1) for i in range(50)], None),  # stars
        (["-1", "0", "1"] * 20, None),
        ([".5", "1e-3", "2."] * 20, "3 different numbers"),
        (
            ["a", "b", "a|b", "b|c", "c", "a|c"] * 5,
            "3 labels are joined from others by '|': looks like multi-",
        ),
        (["a; b", "b; c", "a; c", "a; b; c"] * 5, "4 labels are joined from others by ';'"),
        (["Paris, France", "Rome, Italy", "Oslo, Norway"] * 9, None),
        (["yes, please", "no"] * 20, None),
        (["['joy']", "['joy', 'fear']"] * 20, "all labels are lists in text: looks like multi-label data"),
        ([f"{i}" for i in range(19)], None),  # too few rows to say anything
        (["yes", "no"] * 20, None),
    ],
)
def test_labels(labels: list[str], said: str | None) -> None:
    lines = list(label_lines(labels))
    assert len(lines) == (said is not None)
    if said is not None:
        assert said in lines[0]


def test_labels_of_first_rows_may_be_more_frequent_later() -> None:
    labels = [str(i % 151) for i in range(1000)]
    assert next(label_lines(labels)).startswith("151 labels in 1,000 rows")
    assert list(label_lines(labels, partial=True)) == []
    assert len(list(label_lines([f"id-{i}" for i in range(1000)], partial=True))) == 1
    only = {"train": table([f"c{i % 151}" for i in range(1000)])}
    labels_only = only["train"].labels or ()
    assert single_label().looks(labels_only, partial=True) == []
    assert len(single_label().looks(labels_only, partial=False)) == 1


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([str(i) for i in range(30)], "30 of 30 texts have no letter: looks like a column of numbers or ids"),
        (["2020-01-02"] * 30, "have no letter"),
        ([f"tweet_{i}" for i in range(30)], "are one word with digits: looks like a column of ids"),
        (["a", "b"] * 20, "half of 40 texts have fewer than 3 characters"),
        (["我们需要水和食物", "桥断了"] * 20, None),
        (prose(30), None),
        ([*prose(20), *map(str, range(20))], None),
        (["1"] * 19, None),
    ],
)
def test_texts(texts: list[str], said: str | None) -> None:
    lines = list(text_lines_of(texts))
    assert len(lines) == (said is not None)
    if said is not None:
        assert said in lines[0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (prose(50), "text"),
        ([None, "", *prose(50)], "text"),
        ([["a"], [], None], "list"),
        (["United States of America"] * 50, "other"),  # a category
        (["Mon Sep 24 03:35:21 +0000 2012", "Tue Sep 25 04:35:21 +0000 2012"] * 9, "other"),
        (["Oslo", "Rome"] * 9, "other"),
        ([f"https://t.co/{i}" for i in range(9)], "other"),
        ([1, 2, 3], "other"),
        ([*prose(3), 1], "other"),
        ([{"a": 1}], "other"),
        ([None, ""], "other"),
        ([], "other"),
    ],
)
def test_columns(values: Sequence[Any], kind: str) -> None:
    assert look("x", values) == Column("x", kind)  # type: ignore[arg-type]


def table(labels: Sequence[str] = ("a", "b") * 30, *others: Column) -> Table:
    rows = len(labels)
    return Table(tuple(prose(rows)), tuple(labels), tuple(range(rows)), "x.csv", others=others)


def test_each_column_is_named_once_for_all_splits() -> None:
    title, pair = Column("title", "text"), Column("Text_B", "text")
    tokens, more = Column("tokens", "list"), Column("genres", "list")
    found = looks(
        {
            "train": table(("a", "b") * 30, title, pair, tokens, Column("id", "other")),
            "test": table(("a", "b") * 30, title, more),
        }
    )
    assert found == [
        "train, test: column 'title' holds text and is not used",
        "train: column 'Text_B' holds text and is not used: looks like pairs, and one text a row is read",
        "train: column 'tokens' holds one entry a token and is not used: looks like token classification",
        "test: column 'genres' holds lists and is not used: looks like multi-label data",
    ]


def test_findings_are_warnings_of_the_checks() -> None:
    labels = tuple(f"c{i % 30}" for i in range(200))
    tables = {"train": table(labels, Column("title", "text"))}
    warnings = inspect(tables, single_label([f"c{i}" for i in range(30)]), "drop", "keep").warnings
    assert "train: column 'title' holds text and is not used" in warnings
    id_like = "30 labels in 200 rows, 6.7 rows a label: looks like an id or text column"
    assert f"train (x.csv): {id_like}" in warnings
    assert not any(word in line for line in warnings for word in ("bridge", "tonight"))  # no text is quoted


def test_labels_that_nobody_can_tell_apart() -> None:
    assert list(alike(("Yes", "no", " yes", "NO ", "maybe"))) == [
        "[task] labels 'Yes', ' yes' differ only in case, space or Unicode form",
        "[task] labels 'no', 'NO ' differ only in case, space or Unicode form",
    ]


# what the readers see


OTHERS: dict[str, list[str]] = {"title": prose(40, 1), "where": ["Oslo", "Rome"] * 20}


def test_csv_and_tsv(tmp_path: Path) -> None:
    for ending, sign in ((".csv", ","), (".tsv", "\t")):
        rows = [sign.join(("text", "label", *OTHERS))]
        rows += [sign.join(cells) for cells in zip(prose(40), "ab" * 20, *OTHERS.values(), strict=True)]
        path = tmp_path / f"a{ending}"
        path.write_text("\n".join(rows), encoding="utf-8")
        assert read(str(path), "train", SECTION).others == (Column("title", "text"), Column("where", "other"))


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": "x", "label": 1}, {"text": "y", "label": 2, "tags": ["a"], "more": {"b": 1}}]
    rows += [{"text": "z", "label": 1, "title": title} for title in OTHERS["title"]]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read(str(path), "train", SECTION).others == (
        Column("tags", "list"), Column("more", "other"), Column("title", "text")
    )  # fmt: skip


def test_parquet_and_a_saved_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells: dict[str, list[Any]] = {
        "text": prose(40),
        "label": ["a", "b"] * 20,
        **OTHERS,
        "n": [1] * 40,
        "tags": [["x"]] * 40,
    }
    datasets.Dataset.from_dict(cells).save_to_disk(tmp_path / "set")
    pq.write_table(pa.table(cells), tmp_path / "a.parquet")
    expected = {Column("title", "text"), Column("where", "other"), Column("tags", "list")}
    for name in (f"hf:{tmp_path / 'set'}", str(tmp_path / "a.parquet")):
        assert set(read(name, "train", SECTION).others) == expected
    monkeypatch.setattr(parquet, "MOST_LOOKED_AT", 500)  # `where` has a dictionary of two entries
    assert set(read(str(tmp_path / "a.parquet"), "train", SECTION).others) == expected - {
        Column("title", "text")
    }
    pq.write_table(pa.table({name: values[:0] for name, values in cells.items()}), tmp_path / "b.parquet")
    assert len(read(str(tmp_path / "b.parquet"), "train", SECTION)) == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([["a"], ["b"]], "holds lists, which looks like multi-label or token data, in rows 1, 2"),
        ([{"a": 1}, {"a": 2}], "holds tables, which looks like nested data, in rows 1, 2"),
        ([0.5, 2.0], "holds numbers with a fraction, which looks like regression data, in row 1"),
    ],
)
def test_what_is_no_label_is_refused(values: list[Any], said: str, tmp_path: Path) -> None:
    rows = [{"text": "x", "label": value} for value in values]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "set")
    for name in (tmp_path / "a.jsonl", tmp_path / "a.parquet", Path(f"hf:{tmp_path / 'set'}")):
        assert said in fails(name).message


def test_labels_that_are_missing_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x", "y"], "label": [2.0, float("nan")]}), tmp_path / "a.parquet")
    assert read(str(tmp_path / "a.parquet"), "train", SECTION).labels == ("2", "")


def test_texts_that_are_lists(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ["we", "need"], "label": 1}\n')
    assert (
        "row 1 holds list where text is expected, which looks like token data"
        in fails(tmp_path / "a.jsonl").message
    )


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ","), ("a.tsv", "\t")])
def test_two_columns_of_one_name(name: str, sign: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(sign.join(("text", "label", "text")) + "\n" + sign.join("xyz") + "\n")
    assert fails(path).message == f"{path}: 2 columns are called 'text'"
    path.write_text(sign.join(("text", "label", "", "")) + "\n" + sign.join("xyzz") + "\n")
    assert read(str(path), "train", SECTION).labels == ("y",)  # columns without a name are nobody's


def test_two_columns_of_one_name_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([["x"], ["y"], ["z"]], ["text", "label", "label"]), path)
    assert fails(path).message == f"{path}: 2 columns are called 'label'"
    pq.write_table(pa.Table.from_arrays([["x"], ["y"], ["z"], ["z"]], ["text", "label", "n", "n"]), path)
    assert read(str(path), "train", SECTION).others == ()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("tokens,tags", "it has: 'tokens', 'tags', which looks like token classification"),
        ("text_a,text_b,score", "which looks like sentence similarity"),
        ("Query,Document,relevance", "which looks like text ranking"),
        ("premise,hypothesis,label", "which looks like text pairs"),
        ("text,labels", "which looks like multi-label classification"),
        ("message,kind", "it has: 'message', 'kind'"),
    ],
)
def test_missing_columns_name_the_task_that_the_others_belong_to(
    header: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{','.join('x' for _ in header.split(','))}\n")
    assert fails(path).message.endswith(said)


def test_a_query_beside_many_documents_is_text_all_the_same() -> None:
    values = [text for text in prose(3) for _ in range(20)]
    assert (look("title", values).kind, look("Query", values).kind) == ("other", "text")


def test_text_and_label_in_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,y\n")
    section = SECTION.model_copy(update={"label": "text"})
    with pytest.raises(DataError, match="text and label are one column, 'text'"):
        read(str(tmp_path / "a.csv"), "train", section)
