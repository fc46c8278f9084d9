"""Mutated data files, drawn at random: small CSV, TSV, JSONL and Parquet files, some of it changed."""

from __future__ import annotations

import io
import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.byte_mutations import BYTE_KINDS

__all__ = ["ENDINGS", "Case", "draw", "sound"]

ENDINGS = ("csv", "tsv", "jsonl", "parquet")
LABELS = ("request", "offer", "other")
ROWS = 120
SENTENCE = "we need clean water food and tents at the school near bridge seven people waiting for help now"
WORDS = SENTENCE.split()
HUGE = "9" * 5000
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        ending: of its name.
        content: its bytes.
        kinds: what was done to it, in order.
        slot: where the profile names it: ``train``, ``test``, ``unlabelled`` or ``split``.
        by: what a split is by.
    """

    ending: str
    content: bytes
    kinds: tuple[str, ...]
    slot: str
    by: str


def draw(number: int, seed: int) -> Case:
    """The case of a number."""
    pick = random.Random(f"{seed}-{number}")
    ending = ENDINGS[number % len(ENDINGS)]
    rows = sound(pick)
    kinds: list[str] = []
    if pick.random() < 0.6:
        name = pick.choice(sorted(ROW_KINDS))
        rows = ROW_KINDS[name](rows, pick)
        kinds.append(name)
    content, how = _parquet(rows, pick) if ending == "parquet" else _text(rows, ending, pick)
    kinds += how
    while pick.random() < (0.5 if kinds else 1):
        name = pick.choice(sorted(BYTE_KINDS))
        content = BYTE_KINDS[name](content, pick)
        kinds.append(name)
    if pick.random() < 0.05:
        ending = pick.choice([*ENDINGS, "json", "CSV", "txt", "csv.gz"])
        kinds.append(f"named .{ending}")
    slot = pick.choice(("train", "train", "test", "unlabelled", "split"))
    return Case(ending, content, tuple(kinds), slot, pick.choice(("random", "event", "date", "id")))


def sound(pick: random.Random) -> list[Row]:
    """Rows that nothing is wrong with."""
    return [
        {
            "text": " ".join(pick.choice(WORDS) for _ in range(pick.randrange(3, 20))) + f" {i}",
            "label": LABELS[i % 3],
            "event": f"event {i % 7}",
            "date": f"2026-{1 + i % 12:02}-{1 + i % 28:02}",
            "id": i,
        }
        for i in range(ROWS)
    ]


# --- what is done to rows ---------------------------------------------------------------------------------


def _some(rows: list[Row], pick: random.Random, column: str, values: Sequence[Any]) -> list[Row]:
    """One to many rows with another value in a column."""
    count = pick.choice((1, 3, ROWS // 2, ROWS))
    for i in pick.sample(range(len(rows)), min(count, len(rows))):
        rows[i][column] = pick.choice(values)
    return rows


def _columns(rows: list[Row], pick: random.Random, make: Callable[[str], str]) -> list[Row]:
    target = pick.choice(("text", "label", "event", "date"))
    return [{make(name) if name == target else name: value for name, value in row.items()} for row in rows]


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


ODD_TEXTS: tuple[Any, ...] = (
    "", " ", "\0", "\ud83d", "a\u2028b", 'a "quoted" text', "line\nbreak", "tab\there", "a;b,c|d",
    "\ufeffBOM", "=1+1", "x" * 140_000, "ü" * 3000, "\u202e reversed", "é", "e\u0301", "🌊" * 50, "nan",
    "NULL", HUGE, "\r", "'", '"', "```",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, 0, -1, 1.5, 1e308, float("nan"), float("inf"), True, [], {}, ["a", "b"], {"a": 1}, [[[]]], 10**18,
    "", "Request", "request ", "re\u0301quest", "ofer", "label" * 1000, "0", "1", "1.0", "-0", "\0",
    "other\n",
)  # fmt: skip
ODD_DATES: tuple[Any, ...] = (
    "", None, "yesterday", "2026-13-01", "0000-00-00", "9" * 400, 1e308, -1, "2026-01-01T00:00:00Z",
    "2026-W01-1", "nan", 0,
)  # fmt: skip

ROW_KINDS: dict[str, Callable[[list[Row], random.Random], list[Row]]] = {
    "odd texts": lambda rows, pick: _some(rows, pick, "text", ODD_TEXTS),
    "texts of another type": lambda rows, pick: _some(rows, pick, "text", ODD_VALUES),
    "odd labels": lambda rows, pick: _some(rows, pick, "label", ODD_VALUES),
    "odd dates": lambda rows, pick: _some(rows, pick, "date", ODD_DATES),
    "odd events": lambda rows, pick: _some(rows, pick, "event", ODD_VALUES),
    "deep value": lambda rows, pick: _some(
        rows, pick, pick.choice(("text", "label", "id")), [_nested(pick.choice((50, 300, 900)))]
    ),
    "huge number": lambda rows, pick: _some(
        rows, pick, pick.choice(("label", "id", "text")), [2**62, 10**300]
    ),
    "no rows": lambda _, __: [],
    "one row": lambda rows, _: rows[:1],
    "one label": lambda rows, _: [{**row, "label": "offer"} for row in rows],
    "all labels differ": lambda rows, _: [{**row, "label": f"label {row['id']}"} for row in rows],
    "all texts equal": lambda rows, _: [
        {**row, "text": "the same words again and again in this text"} for row in rows
    ],
    "one template": lambda rows, _: [
        {**row, "text": f"the same words again and again in number {row['id']} of this text"} for row in rows
    ],
    "doubled rows": lambda rows, _: rows + rows,
    "renamed column": lambda rows, pick: _columns(
        rows, pick, pick.choice((str.upper, " {} ".format, "\ufeff{}".format, "{}\u200b".format, "".format))
    ),
    "column lost": lambda rows, _: [
        {name: value for name, value in row.items() if name != "text"} for row in rows
    ],
    "many columns": lambda rows, _: [{**row, **{f"c{i}": i for i in range(400)}} for row in rows[:40]],
}  # fmt: skip


# --- how rows are written ---------------------------------------------------------------------------------


def _text(rows: list[Row], ending: str, pick: random.Random) -> tuple[bytes, list[str]]:
    kinds: list[str] = []
    if ending == "jsonl":
        text = _jsonl(rows, pick, kinds)
    else:
        text = _delimited(rows, "," if ending == "csv" else "\t", pick, kinds)
    if pick.random() < 0.25:
        name = pick.choice(sorted(TEXT_KINDS))
        text = TEXT_KINDS[name](text, pick)
        kinds.append(name)
    encoding = "utf-8"
    if pick.random() < 0.12:
        encoding = pick.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7"))
        kinds.append(encoding)
    return text.encode(
        encoding, "surrogatepass" if encoding.startswith("utf") and encoding != "utf-7" else "replace"
    ), kinds


def _jsonl(rows: list[Row], pick: random.Random, kinds: list[str]) -> str:
    lines = [json.dumps(row, ensure_ascii=pick.random() < 0.5) for row in rows]
    if lines and pick.random() < 0.25:
        name = pick.choice(sorted(LINES))
        kinds.append(name)
        lines[pick.randrange(len(lines))] = LINES[name]
    return "\n".join(lines) + "\n"


LINES = {
    "integer of 5,000 digits": f'{{"text": "a", "label": {HUGE}}}',
    "twice the same key": '{"text": "a", "text": "b", "label": "offer"}',
    "100,000 brackets": "[" * 100_000,
    "100,000 objects": '{"a":' * 100_000,
    "a list": '["text", "label"]',
    "a number": "17",
    "NaN": '{"text": "a", "label": NaN}',
    "half a line": '{"text": "a", "la',
    "single quotes": "{'text': 'a', 'label': 'offer'}",
    "trailing comma": '{"text": "a", "label": "offer",}',
    "half a surrogate": '{"text": "\\ud83d", "label": "offer"}',
    "a number as text": '{"text": 1e999, "label": "offer"}',
    "two objects": '{"text": "a", "label": "offer"}{"text": "b", "label": "offer"}',
    "a line of 20 MB": '{"text": "' + "a" * 20_000_000 + '", "label": "offer"}',
}


def _delimited(rows: list[Row], mark: str, pick: random.Random, kinds: list[str]) -> str:
    names = list(rows[0]) if rows else ["text", "label"]
    header = list(names)
    if pick.random() < 0.15:
        kinds.append("column twice")
        header[pick.randrange(len(header))] = pick.choice(header)
    if pick.random() < 0.1:
        mark = pick.choice(";|,\t ")
        kinds.append(f"separator {mark!r}")
    quoted = pick.random() < 0.7
    cells = [header, *([str(row.get(name, "")) for name in names] for row in rows)]
    return "".join(mark.join(_cell(cell, mark, quoted) for cell in line) + "\n" for line in cells)


def _cell(cell: str, mark: str, quoted: bool) -> str:
    if quoted and any(sign in cell for sign in (mark, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


TEXT_KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "carriage returns": lambda text, pick: text.replace("\n", pick.choice(("\r", "\r\n", "\n\r", "\n\n"))),
    "a lone quote": lambda text, pick: _put(text, '"', pick),
    "many quotes": lambda text, pick: _put(text, '"' * pick.choice((2, 3, 1000, 200_000)), pick),
    "many separators": lambda text, pick: _put(text, "," * pick.choice((1, 10, 100_000)), pick),
    "other Unicode form": lambda text, _: unicodedata.normalize("NFD", text.replace("label", "lábel")),
    "no header": lambda text, _: text.partition("\n")[2],
    "header alone": lambda text, _: text.partition("\n")[0],
    "header twice": lambda text, _: text.partition("\n")[0] + "\n" + text,
    "blank lines": lambda text, pick: "\n" * pick.choice((1, 1000)) + text.replace("\n", "\n\n"),
    "a cell of 2 million letters": lambda text, pick: _put(text, "x" * 2_000_000, pick),
    "a line of 20 million letters": lambda text, pick: _put(text, "x" * 20_000_000, pick),
    "terminal signs": lambda text, pick: _put(text, "\x1b[31m\x07", pick),
}


def _put(text: str, piece: str, pick: random.Random) -> str:
    at = pick.randrange(len(text) + 1)
    return text[:at] + piece + text[at:]


# --- Parquet ----------------------------------------------------------------------------------------------


def _parquet(rows: list[Row], pick: random.Random) -> tuple[bytes, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: list[str] = []
    table = _table(rows, kinds)
    if pick.random() < 0.5:
        name = pick.choice(sorted(TABLES))
        table = TABLES[name](table, pick)
        kinds.append(name)
    out = io.BytesIO()
    compression = pick.choice(("none", "snappy", "gzip", "zstd", "brotli", "lz4"))
    options: dict[str, Any] = {
        "compression": compression,
        "use_dictionary": pick.random() < 0.6,
        "row_group_size": pick.choice((None, 1, 17, 10_000_000)),
        "write_statistics": pick.random() < 0.5,
        "data_page_version": pick.choice(("1.0", "2.0")),
    }
    if table.num_rows > 10_000:
        options |= {"row_group_size": None, "use_dictionary": True}
    try:
        pq.write_table(table, out, **options)
    except (pa.ArrowException, KeyError):
        kinds.append("could not be written")
        pq.write_table(pa.table({"text": ["a"], "label": ["b"]}), out)
    return out.getvalue(), kinds


def _table(rows: list[Row], kinds: list[str]) -> Any:
    import pyarrow as pa

    names = list(rows[0]) if rows else ["text", "label"]
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            kinds.append(f"{name!r} as text")
            columns[name] = pa.array([str(value).encode("utf-8", "replace").decode() for value in values])
    return pa.table(columns)


def _typed(name: str) -> Callable[[Any, random.Random], Any]:
    def change(table: Any, pick: random.Random) -> Any:
        import pyarrow as pa

        column = pick.choice(table.column_names)
        size = table.num_rows
        values = {
            "binary": lambda: pa.array([b"\xff\xfe raw"] * size),
            "list": lambda: pa.array([["a", "b"]] * size),
            "struct": lambda: pa.array([{"a": 1}] * size),
            "map": lambda: pa.array([[("a", 1)]] * size, pa.map_(pa.string(), pa.int64())),
            "timestamp": lambda: pa.array([2**62] * size, pa.timestamp("ns")),
            "year 200,000": lambda: pa.array([2**52] * size, pa.timestamp("us")),
            "date": lambda: pa.array(list(range(size)), pa.date32()),
            "decimal": lambda: pa.array([1] * size).cast(pa.decimal128(38, 10)),
            "float": lambda: pa.array([float("nan")] * size),
            "half": lambda: pa.array([1.5] * size).cast(pa.float32()),
            "null": lambda: pa.nulls(size),
            "bool": lambda: pa.array([True] * size),
            "large string": lambda: pa.array([f"text {i}" for i in range(size)], pa.large_string()),
            "dictionary": lambda: pa.array([f"text {i % 5}" for i in range(size)]).dictionary_encode(),
            "duration": lambda: pa.array([5] * size, pa.duration("s")),
            "uint": lambda: pa.array([2**64 - 1] * size, pa.uint64()),
            "list of 100,000": lambda: pa.array([["a"] * 100_000] * min(size, 1) + [[]] * max(size - 1, 0)),
        }[name]()
        return table.set_column(table.column_names.index(column), column, values)

    return change


def _copies(rows: int, value: str) -> Callable[[Any, random.Random], Any]:
    def change(_table: Any, _pick: random.Random) -> Any:
        import pyarrow as pa

        indices = pa.repeat(pa.scalar(0, pa.int32()), rows)
        column = pa.DictionaryArray.from_arrays(indices, pa.array([value]))
        return pa.table({"text": column, "label": column})

    return change


def _twice(table: Any, pick: random.Random) -> Any:
    name = pick.choice(table.column_names)
    return table.append_column(name, table.column(name))


def _described(text: bytes) -> Callable[[Any, random.Random], Any]:
    return lambda table, _: table.replace_schema_metadata({b"huggingface": text})


CLASSES = json.dumps(
    {"info": {"features": {"label": {"_type": "ClassLabel", "names": list(LABELS)}}}}
).encode()
TABLES: dict[str, Callable[[Any, random.Random], Any]] = {
    **{f"column of type {name}": _typed(name) for name in (
        "binary", "list", "struct", "map", "timestamp", "year 200,000", "date", "decimal", "float", "half",
        "null", "bool", "large string", "dictionary", "duration", "uint", "list of 100,000",
    )},
    "200,000 copies": _copies(200_000, "request"),
    "2 million copies": _copies(2_000_000, "request"),
    "30 million copies": _copies(30_000_000, "request"),
    "60,000 copies of 50,000 letters": _copies(60_000, "x" * 50_000),
    "column twice": _twice,
    "no columns": lambda table, _: table.select([]),
    "no rows": lambda table, _: table.slice(0, 0),
    "class names": _described(CLASSES),
    "broken class names": _described(b'{"info": [' * 500),
}  # fmt: skip
