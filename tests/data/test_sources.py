from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from squeeze.data import sample as choice
from squeeze.data.cells import tabulate
from squeeze.data.config import DataSection, Source
from squeeze.data.sources import cells_of, fingerprints, read, sample
from squeeze.data.table import Columns
from squeeze.errors import DataError

SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")
CSV = 'text,label\nhelp,request\n\n"two\nlines",other\nÜber 🌊,offer\n'


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def fails(source: Source | str, slot: str = "train", section: DataSection = SECTION) -> DataError:
    with pytest.raises(DataError) as caught:
        read(source, slot, section)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_rows_are_the_lines_records_begin_on(tmp_path: Path, bom: bytes, end: str) -> None:
    name = write(tmp_path / "a.csv", bom + CSV.replace("\n", end).encode())
    table = read(name, "train", SECTION)
    assert table.texts == ("help", f"two{end}lines", "Über 🌊")
    assert table.labels == ("request", "other", "offer")
    assert table.rows == (2, 4, 6)
    assert table.place == name


def test_tsv_and_column_names_of_section_and_source(tmp_path: Path) -> None:
    name = write(tmp_path / "a.TSV", "id\tmessage\tkind\n1\thelp, now\tx\n")
    section = SECTION.model_copy(update={"text": "message", "label": "kind"})
    assert read(name, "train", section).texts == ("help, now",)
    named = read(Source(name=name, text="kind", label="id"), "train", section)
    assert (named.texts, named.labels) == (("x",), ("1",))


def test_jsonl_keeps_unusual_line_ends_inside_strings(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\x85c", "label": 1}, {"text": None, "label": True}, {"label": 2.0}]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    table = read(write(tmp_path / "a.jsonl", lines), "train", SECTION)
    assert table.texts == ("a\u2028b\x85c", "", "")
    assert table.labels == ("1", "true", "2")
    assert table.rows == (1, 3, 5)


ROWS = [{"text": "x", "label": 1}, {"text": "y\u2028", "label": "b"}]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        json.dumps({"version": "1", "names": ["a"], "none": [], "data": ROWS, "more": [{"text": "z"}]}),
        "\n".join(map(json.dumps, ROWS)) + "\n",
        "\ufeff" + json.dumps(ROWS),
    ],
)
def test_json(tmp_path: Path, content: str) -> None:
    table = read(write(tmp_path / "a.json", content), "train", SECTION)
    assert (table.texts, table.labels, table.rows) == (("x", "y\u2028"), ("1", "b"), (1, 2))
    assert table.whole


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_files_that_gzip_has_packed(tmp_path: Path, ending: str) -> None:
    rows = [{"text": f"text {i}", "label": "x"} for i in range(9)]
    mark = {"csv": ",", "tsv": "\t"}.get(ending)
    lines = (
        [mark.join(("text", "label")), *(mark.join(row.values()) for row in rows)]
        if mark
        else map(json.dumps, rows)
    )
    content = json.dumps(rows) if ending == "json" else "\n".join(lines)
    name = write(tmp_path / f"a.{ending}.GZ", gzip.compress(content.encode()))
    table = read(name, "train", SECTION)
    assert table.texts == tuple(row["text"] for row in rows)
    assert table.rows[-1] == (10 if mark else 9)
    first = sample(name, "train", SECTION, 3)
    assert first is not None
    assert (first.texts, first.whole, table.whole) == (table.texts[:3], False, True)


def test_values_of_nested_objects(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"body": {"text": "x"}, "annotation": {"label": "p", "by": {"name": "ann"}}},
        {"body": {"text": "y"}, "annotation": None},
        {"body": {"text": "z"}, "annotation": {"label": "q"}, "annotation.label": "r"},
    ]
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows[:2]), tmp_path / "a.parquet")
    datasets.Dataset.from_list(rows[:2]).save_to_disk(tmp_path / "set")
    section = SECTION.model_copy(update={"text": "body.text", "label": "annotation.label"})
    for name in ("a.jsonl", "a.parquet", "set"):
        path = f"{'hf:' * (name == 'set')}{tmp_path / name}"
        table = read(path, "train", section)
        assert (table.texts[:2], (table.labels or ())[:2]) == (("x", "y"), ("p", ""))
        with pytest.raises(
            DataError, match=r"no label column 'annotation\.lable' \(nearest: 'annotation\.label'\)"
        ):
            read(Source(name=path, label="annotation.lable"), "train", section)
        assert (
            list(choice.sample(path).columns)[:3]
            == ["body.text", "annotation.label", "annotation.by.name"][:3]
        )
    assert read(str(tmp_path / "a.jsonl"), "train", section).labels == ("p", "", "r")  # its own column wins


def test_lists_and_numbers_of_every_format(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "labels": datasets.List(datasets.ClassLabel(names=["joy", "fear"])),
        }
    )
    cells: dict[str, Any] = {"text": ["x", "y", "z"], "labels": [["joy", "fear"], [], ["fear"]]}
    coded = datasets.Dataset.from_dict({**cells, "labels": [[0, 1], [], [1]]}, features=features)
    coded.save_to_disk(tmp_path / "set")
    coded.to_parquet(tmp_path / "coded.parquet")
    pq.write_table(pa.table(cells), tmp_path / "a.parquet")
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    write(tmp_path / "a.json", json.dumps(rows))
    write(tmp_path / "a.csv", "text,labels\nx,joy|fear\ny,\nz,fear\n")
    write(tmp_path / "b.csv", 'text,labels\nx,"[""joy"", ""fear""]"\ny,[]\nz,fear\n')
    columns = Columns("text", "labels", kind="list")
    for name in ("a.csv", "b.csv", "a.json", "a.parquet", "coded.parquet", "set"):
        spec = Source(name=f"{'hf:' * (name == 'set')}{tmp_path / name}")
        assert tabulate(cells_of(spec, "train", columns, None), columns).labels == (
            ("joy", "fear"),
            (),
            ("fear",),
        )
    numbers = Columns("text", ("a", "b"), kind="numbers")
    write(tmp_path / "n.csv", 'text,a,b\nx,"1,5",\ny,01,2\n')
    pq.write_table(pa.table({"text": ["x"], "a": [1.5], "b": [None]}), tmp_path / "n.parquet")
    found = {
        name: tabulate(cells_of(Source(name=str(tmp_path / name)), "train", numbers, None), numbers).labels
        for name in ("n.csv", "n.parquet")
    }
    assert found == {
        "n.csv": (("1,5", ""), ("01", "2")),
        "n.parquet": (("1.5", ""),),
    }  # the task says what is wrong


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"text": ["x", None], "label": pa.array(["p", "q"]).dictionary_encode(), "more": [1, 2]}
    pq.write_table(pa.table(columns), path)
    table = read(str(path), "train", SECTION)
    assert (table.texts, table.labels, table.rows) == (("x", ""), ("p", "q"), (1, 2))


def test_unlabelled_never_looks_at_labels(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.csv", "text\nhello\n"), "unlabelled", SECTION)
    assert (table.texts, table.labels) == (("hello",), None)


def test_relative_names_count_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.csv", CSV)
    monkeypatch.chdir(tmp_path)
    assert len(read("a.csv", "train", SECTION)) == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "txt,label\nx,y\n", "no text column 'text' (nearest: 'txt'); it has: 'txt', 'label'"),
        ("a.csv", "text,class\nx,y\n", "no label column 'label'"),
        (
            "a.csv",
            "text,label\na,b\nhelp, please,x\nalone\n",
            "2 rows do not have the header's 2 cells: rows 3, 4",
        ),
        ("a.csv", 'text,label\na,b\n"open,c\nd,e\n', "row 3 is broken"),
        (
            "a.tsv",
            'text\tlabel\n"hello there\tx\nmiddle\ty\nbye"\ty\n',
            "1 rows hold a quoted cell with tabs and line breaks, which looks like rows swallowed by a lone"
            " quote: row 2",
        ),
        ("a.csv", b"text,label\nok,x\ncaf\xe9,x\n", "row 3 is not UTF-8: byte 0xe9 at offset 19"),
        ("a.csv", b"\xef\xbb\xbftext,label\r\ncaf\xe9,x\r\n", "row 2 is not UTF-8: byte 0xe9 at offset 18"),
        ("a.csv", CSV.encode("utf-16"), "row 1 is not UTF-8: byte 0xff at offset 0"),
        ("a.jsonl", "\n", "the file is empty"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', "row 2 is not JSON"),
        ("a.jsonl", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", "[1]", "row 1 is a JSON list"),
        ("a.jsonl", '{"text": 3, "label": "b"}', "row 1 holds int '3' where text is expected"),
        ("a.jsonl", '{"text": "a"}', "no label column 'label'"),
        ("a.parquet", "no", "not a readable Parquet file"),
        (
            "a.jsn",
            "{}",
            "unknown ending '.jsn' (nearest: '.json'); a source is one of: .csv, .tsv, .json, .jsonl",
        ),
        ("a.parquet.gz", "", "unknown ending '.parquet.gz'"),
        ("a.json", " ", "the file is empty, a list of objects is expected"),
        ("a.json", "[]", "the file is empty, objects of JSON are expected"),
        ("a.json", "{}", "holds no list of objects"),
        ("a.json", '{"a": ["x"], "b": {"c": 1}', "holds no list of objects"),
        ("a.json", '{"a": oops, "b": []}', "holds no list of objects"),
        ("a.json", '"text"', "holds no list of objects"),
        ("a.json", "[1]", "row 1 is a JSON int, an object is expected"),
        ("a.json", '[{"text": "a", "label": "b"}, 2]', "row 2 is a JSON int"),
        (
            "a.json",
            '[{"text": "a"},\n{"text"; 1}]',
            "row 2 is not JSON: Expecting ':' delimiter at line 2, column 8",
        ),
        ("a.json", '[{"text": "a"} {"text": "b"}]', "row 1 is followed by no comma and the list by no end"),
        ("a.json", '[{"text": "a"},\n]', "row 1 is followed by a comma, and the list ends there"),
        ("a.json", '[{"text": "a"}', "row 1 is followed by no comma and the list by no end"),
        ("a.json", '[{"text": "a", "text": "b"}]', "row 1 names 'text' 2 times"),
        (
            "a.json",
            '[{"text": "a", "kind": {"x": 1}}]',
            "no label column 'label'; it has: 'text', 'kind', 'kind.x'",
        ),
        ("a.json", b'[{"text": "a\xe9", "label": "b"}]', "row 1 is not UTF-8: byte 0xe9 at offset 12"),
        ("a.json", '[{"text": "a\0"}]', "row 1 holds NUL bytes"),
        ("a", "", "no ending"),
    ],
)
def test_unfit_files_say_what_and_where(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = write(tmp_path / name, content)
    error = fails(path)
    assert said in error.message
    assert error.message.startswith(path)
    assert error.exit_code == 2


def test_utf16_is_recognised(tmp_path: Path) -> None:
    assert "UTF-16" in fails(write(tmp_path / "a.csv", CSV.encode("utf-16"))).hint


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", CSV)
    assert "(nearest: 'train.csv')" in fails(str(tmp_path / "trian.csv")).message
    assert "its folder is not there" in fails(str(tmp_path / "no" / "train.csv")).message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    assert "cannot be read" in fails(str(tmp_path / "a.csv")).message


def test_split_of_a_file_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "a.csv", CSV)
    assert "a file has none" in fails(Source(name=name, split="train")).message


def test_demo_corpus_is_split_by_event() -> None:
    tables = {slot: read("builtin:crisis-demo", slot, SECTION) for slot in ("train", "validation", "test")}
    assert {slot: len(table) for slot, table in tables.items()} == {
        "train": 1690,
        "validation": 260,
        "test": 390,
    }
    for table, events in zip(tables.values(), (13, 2, 3), strict=True):
        assert Counter(table.labels) == {"request": 45 * events, "offer": 35 * events, "other": 50 * events}
    rows = [row for table in tables.values() for row in table.rows]
    assert sorted(rows) == list(range(2, 2342))


def test_demo_corpus_keeps_its_columns_and_takes_a_split() -> None:
    section = SECTION.model_copy(update={"text": "message", "label": "kind"})
    spec = Source(name="builtin:crisis-demo", split="test")
    assert len(read(spec, "unlabelled", section)) == 390
    assert "it has: train, validation, test" in fails("builtin:crisis-demo", "unlabelled").message
    assert "(nearest: 'builtin:crisis-demo')" in fails("builtin:crises-demo").message


def test_fingerprints_follow_the_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.csv", CSV), write(tmp_path / "b.csv", CSV + "x,offer\n")
    section = DataSection(train=one, validation=two, test="builtin:crisis-demo", unlabelled=(one,))
    before = fingerprints(section)
    assert before.keys() == {one, two, "builtin:crisis-demo"}
    assert before[one] == hashlib.sha256(CSV.encode()).hexdigest()
    write(tmp_path / "b.csv", CSV)
    after = fingerprints(section)
    assert after[one] == after[two] == before[one] != before[two]


def test_fingerprints_name_every_missing_source(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.csv", "b.txt", "c.csv")]
    section = DataSection(train=names[0], validation=names[1], test=names[2], unlabelled=("builtin:x",))
    with pytest.raises(DataError) as caught:
        fingerprints(section)
    for name in (*names, "builtin:x"):
        assert name in caught.value.message
