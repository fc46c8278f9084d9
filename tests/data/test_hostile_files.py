"""Files that are not what their names say, or far more than they look like: refused early, in one line."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from squeeze.data import jsons, opening, parquet
from squeeze.data import sample as choice
from squeeze.data.config import DataSection, Source
from squeeze.data.sources import fingerprints, read, sample
from squeeze.errors import DataError

SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")
GZIP = b"\x1f\x8b\x08\x00" + bytes(20)


def refusal(name: str | Path) -> DataError:
    """The refusal of a file, by the sample as by the whole."""
    for read_rows in (sample, read):
        with pytest.raises(DataError) as caught:
            read_rows(str(name), "train", SECTION)
        assert "\n" not in caught.value.message
        assert caught.value.message.startswith(str(name))
    return caught.value


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def copies(rows: int, value: str = "the same") -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    return pa.table({"text": column, "label": column})


def test_a_sample_holds_the_first_rows_and_their_numbers(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {i}", "label": i % 2}) for i in range(50)]
    table = sample(str(write(tmp_path / "a.jsonl", "\n".join(lines))), "train", SECTION, rows=3)
    assert table is not None
    assert (table.texts, table.labels, table.rows) == (
        ("text 0", "text 1", "text 2"),
        ("0", "1", "0"),
        (1, 2, 3),
    )
    many = pa.table({"text": [f"text {i}" for i in range(5000)], "label": [i % 2 for i in range(5000)]})
    pq.write_table(many, tmp_path / "a.parquet", row_group_size=700)
    table = sample(str(tmp_path / "a.parquet"), "train", SECTION)
    assert table is not None
    assert (len(table), table.texts[-1], table.rows[-1]) == (1000, "text 999", 1000)
    demo = sample("builtin:crisis-demo", "train", SECTION, rows=10)
    assert demo == read("builtin:crisis-demo", "train", SECTION).take(range(10))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_cell_as_long_as_a_book_is_text(tmp_path: Path, ending: str) -> None:
    book = "word " * 100_000
    mark = "\t" if ending == "tsv" else ","
    path = write(tmp_path / f"a.{ending}", f"text{mark}label\n{book}{mark}x\n")
    assert read(str(path), "train", SECTION).texts == (book,)


def test_a_sample_of_lines_that_end_as_on_old_computers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PREFIX", 100)
    path = write(tmp_path / "a.csv", "text,label\r" + "".join(f'"text {i}",x\r' for i in range(100)))
    table = sample(str(path), "train", SECTION)
    assert table is not None
    assert table.texts[:2] == ("text 0", "text 1")
    assert all(text == f"text {i}" for i, text in enumerate(table.texts))  # none is cut
    assert 3 < len(table) < 10


def test_a_hub_set_is_not_sampled() -> None:
    assert sample("hf:owner/set", "train", SECTION) is None


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_sample_may_end_inside_of_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(opening, "PREFIX", 60)
    mark = "," if ending == "csv" else "\t"
    rows = [f'"row {i}\nof two lines"{mark}x' for i in range(9)]
    path = write(tmp_path / f"a.{ending}", "\n".join([f"text{mark}label", *rows]) + "\n")
    table = sample(str(path), "train", SECTION)
    assert table is not None
    assert table.texts == ("row 0\nof two lines", "row 1\nof two lines")
    assert len(read(str(path), "train", SECTION)) == 9


def test_a_parquet_file_that_expands_is_refused_by_its_footer(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", copies(3_000_000))
    assert path.stat().st_size < 50_000
    started = time.process_time()
    assert "nearly all of them are copies of each other" in refusal(path).message
    assert time.process_time() - started < 1


def test_long_copies_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    texts = pa.array([f"{i} " + "x" * 50_000 for i in range(2)])
    column = pa.DictionaryArray.from_arrays(pa.array([i % 7 % 2 for i in range(60_000)], pa.int32()), texts)
    path = write_parquet(tmp_path / "a.parquet", pa.table({"text": column, "label": column}))
    assert "nearly all of them are copies of each other" in refusal(path).message


def test_equal_texts_are_refused_whatever_their_labels_are(tmp_path: Path) -> None:
    labels = pa.array([str(i * i % 1009) for i in range(300_000)])
    path = write_parquet(tmp_path / "a.parquet", copies(300_000).set_column(1, "label", labels))
    assert path.stat().st_size * 8 > 300_000
    assert "nearly all of them are copies of each other" in refusal(path).message


def test_a_parquet_file_with_too_many_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MOST_ROWS", 4)
    error = refusal(write_parquet(tmp_path / "a.parquet", copies(5)))
    assert error.message.endswith("5 rows, at most 4 are read from one source")


def test_text_that_does_not_fit_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "usable_memory", lambda: 1_000_000)
    lines = "text,label\n" + "a text,x\n" * 30_000
    with pytest.raises(DataError, match=r"0\.0 GB of text take about 0\.0 GB of memory"):
        read(str(write(tmp_path / "a.csv", lines)), "train", SECTION)
    # Its dictionary is small, the rows that it expands to are not.
    long = write_parquet(tmp_path / "a.parquet", copies(500, "x" * 2000))
    with pytest.raises(DataError, match=r"500 rows take about 0\.0 GB of memory"):
        read(str(long), "train", SECTION)


def test_a_whole_number_of_thousands_of_digits(tmp_path: Path) -> None:
    line = '{"text": "a", "label": "b", "id": ' + "9" * 5000 + "}"
    error = refusal(write(tmp_path / "a.jsonl", line))
    assert error.message.endswith("row 1 is not usable JSON: a whole number of more than 4,300 digits")


@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_deep_nesting_is_no_text(tmp_path: Path, depth: int) -> None:
    line = '{"text": ' + "[" * depth + "]" * depth + ', "label": "b"}'
    message = refusal(write(tmp_path / "a.jsonl", line)).message
    assert "nested too deeply" in message or "row 1 holds list where text is expected" in message


def test_a_name_given_twice_in_one_object(tmp_path: Path) -> None:
    line = '{"text": "a", "label": "b", "text": "c"}'
    assert "row 1 names 'text' 2 times" in refusal(write(tmp_path / "a.jsonl", line)).message
    other = write(tmp_path / "b.jsonl", '{"text": "a", "label": "b", "id": 1, "id": 2}')
    assert read(str(other), "train", SECTION).texts == ("a",)


@pytest.mark.parametrize(
    ("name", "content", "problem", "hint"),
    [
        ("a.csv", "text;label\na;b\n", "by ';', not a comma: its columns would be 'text', 'label'", "save"),
        ("a.csv", "text\tlabel\na\tb\n", "looks separated by a tab, not a comma", "name it .tsv"),
        ("a.tsv", "text,label\na,b\n", "looks separated by a comma, not a tab", "name it .csv"),
        ("a.csv", "text|label\na|b\n", "looks separated by '|', not a comma", "save"),
        ("a.csv", "text,label\na\0b,c\n", "row 2 holds NUL bytes", "text holds no NUL bytes"),
        ("a.csv", "text,label\na,c\n".encode("utf-16-le"), "row 1 holds NUL bytes", "UTF-16"),
        ("a.jsonl", '{"text": "a\0"}', "row 1 holds NUL bytes", "text holds no NUL bytes"),
        ("a.csv", GZIP, "holds gzip data, text is expected", "gunzip"),
        ("a.csv", b"PK\x03\x04....", "holds a ZIP archive or a spreadsheet", "save the spreadsheet as CSV"),
        ("a.jsonl", b"PAR1....", "holds Parquet data", ".parquet"),
        ("a.csv.gz", GZIP, "not readable gzip data", ""),
        ("a.csv.gz", "text,label\n", "not readable gzip data (Not a gzipped file)", ""),
        ("a.csv.gz", gzip.compress(b"text,label\na,b\n", mtime=0)[:-4], "not readable gzip data", ""),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a\0"}', mtime=0), "row 1 holds NUL bytes", ""),
        ("a.csv.gz", gzip.compress(b"text,label\ncaf\xe9,x", mtime=0), "row 2 is not UTF-8: byte 0xe9", ""),
        ("a.txt.gz", GZIP, "unknown ending '.txt.gz'", ""),
        ("a.xlsx", b"PK\x03\x04....", "unknown ending '.xlsx'", "spreadsheet"),
    ],
)  # fmt: skip
def test_files_that_are_something_else(
    tmp_path: Path, name: str, content: str | bytes, problem: str, hint: str
) -> None:
    error = refusal(write(tmp_path / name, content))
    assert problem in error.message
    assert hint in error.hint


def test_a_packed_file_that_expands_is_refused_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "STEP", 1 << 16)
    monkeypatch.setattr(opening, "MANY_BYTES", 1 << 18)
    path = write(
        tmp_path / "a.csv.gz", gzip.compress(b"text,label\n" + b"the same text,x\n" * 30_000, mtime=0)
    )
    with pytest.raises(DataError, match="unpack to more than 262,144: nearly all of them are copies"):
        read(str(path), "train", SECTION)
    monkeypatch.setattr(opening, "REPEATS", 1 << 20)
    table = sample(str(path), "train", SECTION)
    assert table is not None
    assert (len(table), table.whole) == (1000, False)
    # Not its own bytes, but what they unpack to.
    lines = "".join(f"{i * i % 99991} {i**3 % 9973} text,x\n" for i in range(60_000))
    path = write(tmp_path / "b.csv.gz", gzip.compress(f"text,label\n{lines}".encode(), mtime=0))
    assert 6 * path.stat().st_size < 3_000_000 < 6 * len(lines)
    monkeypatch.setattr(opening, "usable_memory", lambda: 3_000_000)
    with pytest.raises(DataError, match=r"0\.0 GB of text take about 0\.0 GB of memory"):
        read(str(path), "train", SECTION)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_sample_of_a_list_may_end_inside_of_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    rows = [{"text": f"text {i} ünd", "label": "x", "more": {"a": i}} for i in range(20)]
    path = write(tmp_path / "a.json", json.dumps(rows, indent=indent, ensure_ascii=False))
    for size in range(120, 200):
        monkeypatch.setattr(opening, "PREFIX", size)
        table = sample(str(path), "train", SECTION)
        assert table is not None
        assert table.texts == tuple(row["text"] for row in rows[: len(table)])
        assert 1 <= len(table) <= 4
        assert not table.whole


def test_a_file_with_as_many_columns_as_rows_is_no_table(tmp_path: Path) -> None:
    lines = (json.dumps({f"key {i}": i, "more": {f"a {n}": n for n in range(9)}}) for i in range(20_000))
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert len(choice.sample(str(path)).columns) == 2009
    path = write(tmp_path / "b.jsonl", json.dumps({"text": "a", **{f"key {i}": i for i in range(10_000)}}))
    with pytest.raises(DataError, match="10,001 columns, at most 10,000 are looked at"):
        choice.sample(str(path))


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LONGEST", 100)
    error = refusal(write(tmp_path / "a.csv", "text,label\n" + "x" * 200))
    assert error.message.endswith("row 2 has more than 100 characters")


def test_an_object_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsons, "LONGEST", 100)
    path = write(tmp_path / "a.json", json.dumps([{"text": "x" * 200, "label": "a"}]))
    assert refusal(path).message.endswith("row 1 has more than 100 characters")
    monkeypatch.setattr(opening, "PREFIX", 100)
    with pytest.raises(DataError, match="row 1 is not JSON: Unterminated string"):
        sample(str(path), "train", SECTION)


def test_a_bad_byte_far_into_a_file_is_found_where_it_is(tmp_path: Path) -> None:
    rows = [f"text number {i} with ümläuts,x\r\n" for i in range(9000)]
    good = ("text,label\r\n" + "".join(rows)).encode()
    path = write(tmp_path / "a.csv", good + b"caf\xe9,x\r\n")
    with pytest.raises(DataError) as caught:
        read(str(path), "train", SECTION)
    assert caught.value.message == f"{path}: row 9002 is not UTF-8: byte 0xe9 at offset {len(good) + 3}"
    path = write(tmp_path / "b.csv", good + "ü".encode()[:1])
    with pytest.raises(DataError, match=f"row 9002 is not UTF-8: byte 0xc3 at offset {len(good)}"):
        read(str(path), "train", SECTION)


def test_pipes_sockets_devices_and_folders_are_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    server.bind("socket.jsonl")
    server.close()
    for name, what in {
        "pipe.csv": "is a pipe", "folder.parquet": "is a folder", "device.csv": "is a device",
        "socket.jsonl": "is a socket",
    }.items():  # fmt: skip
        assert what in refusal(tmp_path / name).message
        section = SECTION.model_copy(update={"train": str(tmp_path / name)})
        with pytest.raises(DataError, match=what):
            fingerprints(section)


@pytest.mark.parametrize("name", ["~no-such-user/a.csv", "~no-such-user/a.parquet"])
def test_the_home_of_nobody(name: str) -> None:
    assert "'~no-such-user' names no user of this machine" in refusal(name).message
    with pytest.raises(DataError, match="names no user"):
        fingerprints(SECTION.model_copy(update={"train": name}))
    with pytest.raises(DataError, match="names no user"):
        read(Source(name=f"hf:{name}"), "train", SECTION)


def test_broken_parquet_files_end_in_one_line(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(100)], "label": ["a", "b"] * 50})
    pq.write_table(table, tmp_path / "whole.parquet", compression="none")
    whole = (tmp_path / "whole.parquet").read_bytes()
    contents = (b"", whole[:40], whole[:-9], whole.replace(b"text 7", b"\xff\xfe\xfd\xfc 7"))
    for number, content in enumerate(contents):
        message = refusal(write(tmp_path / f"{number}.parquet", content)).message
        assert "not a readable Parquet file" in message


def test_parquet_columns_that_are_dictionaries_already(tmp_path: Path) -> None:
    numbers = pa.array([1, 0, 1]).dictionary_encode()
    texts = pa.array(["x", None, "z"]).dictionary_encode()
    path = write_parquet(tmp_path / "a.parquet", pa.table({"text": texts, "label": numbers}))
    table = read(str(path), "train", SECTION)
    assert (table.texts, table.labels) == (("x", "", "z"), ("1", "0", "1"))


def test_a_parquet_text_column_of_another_type(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pa.table({"text": [1, 2], "label": ["a", "b"]}))
    assert refusal(path).message.endswith("row 1 holds int '1' where text is expected")
    nested = pa.table({"text": [[["a"]]], "label": ["a"]})
    path = write_parquet(tmp_path / "b.parquet", nested)
    assert refusal(path).message.endswith(
        "row 1 holds list where text is expected, which looks like token data"
    )


def test_names_that_look_alike_are_shown_as_they_are_spelled(tmp_path: Path) -> None:
    decomposed = write(tmp_path / "a.csv", "te\u0301xt,label\na,b\n")
    section = SECTION.model_copy(update={"text": "t\u00e9xt"})
    with pytest.raises(DataError) as caught:
        read(str(decomposed), "train", section)
    assert (
        "no text column 'téxt' (looks like 'te\\u0301xt', and is spelled 't\\xe9xt')" in caught.value.message
    )
    marked = write(tmp_path / "b.csv", b"\xef\xbb\xbf\xef\xbb\xbftext,label\na,b\n")
    assert "(looks like '\\ufefftext', and is spelled 'text')" in refusal(marked).message


def test_long_names_are_cut_in_messages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x" * 50_000 + ",label\na,b\n")
    assert len(refusal(path).message) < 300 + len(str(path))


def test_a_folder_of_data_files_is_bounded_too(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", copies(3_000_000))
    with pytest.raises(DataError, match="nearly all of them are copies of each other"):
        read(Source(name=f"hf:{tmp_path}"), "train", SECTION)
    write(tmp_path / "train.parquet", b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(Source(name=f"hf:{tmp_path}"), "train", SECTION)
