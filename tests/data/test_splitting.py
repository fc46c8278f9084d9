from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from squeeze.data.config import DataSection, Source, SplitSection
from squeeze.data.sources import read, sample
from squeeze.data.splitting import split_table
from squeeze.data.table import Label, Table
from squeeze.errors import DataError
from tests.data.test_near_duplicates import text, with_word

LABELS = ("a", "b")


def table(texts: Sequence[str], labels: Sequence[str], groups: Sequence[str] | None = None) -> Table:
    values = None if groups is None else tuple(groups)
    return Table(tuple(texts), tuple(labels), tuple(range(2, len(texts) + 2)), "all.csv", values)


def names(labels: Sequence[Label]) -> list[str]:
    return [str(label) for label in labels]


def mixed(rows: int, groups: Sequence[str] | None = None) -> Table:
    return table([f"text {i}" for i in range(rows)], [LABELS[i % 4 == 0] for i in range(rows)], groups)


def split(of: Table, seed: int = 0, **settings: object) -> dict[str, Table]:
    parts, warnings = split_table(of, SplitSection.parse(settings), seed, names)
    assert warnings == ()
    rows = [row for part in parts.values() for row in part.rows]
    assert sorted(rows) == list(of.rows)
    assert list(parts) == ["train", "validation", "test"]
    return parts


def test_random_keeps_the_shares_of_labels_and_the_order_of_rows() -> None:
    parts = split(mixed(400), validation=0.2)
    assert {name: Counter(part.labels) for name, part in parts.items()} == {
        "train": {"a": 210, "b": 70},
        "validation": {"a": 60, "b": 20},
        "test": {"a": 30, "b": 10},
    }
    for part in parts.values():
        assert list(part.rows) == sorted(part.rows)
        assert part.place == "all.csv"


def test_the_seed_decides() -> None:
    one, again, other = (split(mixed(200), seed)["test"].rows for seed in (1, 1, 2))
    assert one == again != other


def test_equal_and_nearly_equal_texts_stay_together() -> None:
    pairs = [[text(i), with_word(text(i), i % 12), text(i).upper()] for i in range(60)]
    flat = [entry for group in pairs for entry in group]
    parts = split(table(flat, [LABELS[i // 3 % 2] for i in range(len(flat))]))
    part_of = {row: name for name, part in parts.items() for row in part.rows}
    assert all(len({part_of[2 + 3 * i + k] for k in range(3)}) == 1 for i in range(60))
    assert {name: len(part) for name, part in parts.items()} == {"train": 144, "validation": 18, "test": 18}


def test_every_label_of_three_groups_reaches_every_part() -> None:
    rare = table([f"text {i}" for i in range(103)], ["a"] * 100 + ["b"] * 3)
    assert all(Counter(part.labels)["b"] == 1 for part in split(rare).values())
    # The large group of the rare label is not what the parts get.
    grown = [with_word(text(1), i) for i in range(8)] + ["one", "two"]
    rare = table([*(f"text {i}" for i in range(100)), *grown], ["a"] * 100 + ["b"] * 10)
    assert {name: Counter(part.labels)["b"] for name, part in split(rare).items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }


def test_a_label_of_two_groups_cannot_reach_every_part() -> None:
    few = table([f"text {i}" for i in range(52)], ["a"] * 50 + ["b"] * 2)
    _, warnings = split_table(few, SplitSection(), 0, names)
    assert warnings == (
        "split: label 'b' has fewer than three groups of rows and cannot stand in every part",
    )


def test_events_stay_together_near_the_wanted_shares() -> None:
    events = [f"event {i % 20}" for i in range(400)]
    parts = split(
        table([f"text {i}" for i in range(400)], [LABELS[i % 3 == 0] for i in range(400)], events), by="event"
    )
    held = {name: set(part.groups or ()) for name, part in parts.items()}
    assert {name: len(values) for name, values in held.items()} == {"train": 16, "validation": 2, "test": 2}
    assert len(set.union(*held.values())) == 20
    assert all(set(part.labels or ()) == {"a", "b"} for part in parts.values())


def test_an_event_with_a_label_of_its_own_is_warned_of() -> None:
    events = ["x"] * 20 + ["y"] * 20 + ["z"] * 20
    one_sided = table([f"text {i}" for i in range(60)], ["a"] * 20 + ["b"] * 40, events)
    _, warnings = split_table(one_sided, SplitSection(by="event"), 0, names)
    assert warnings == (
        "split: label 'a', 'b' has fewer than three groups of rows and cannot stand in every part",
    )


def test_rows_without_a_value_stand_alone() -> None:
    parts, warnings = split_table(
        mixed(60, ["", " ", *(f"u{i // 3}" for i in range(58))]), SplitSection(by="user"), 0, names
    )
    assert warnings == ("all.csv: 2 rows have no user, each stands alone: rows 2, 3",)
    assert sum(map(len, parts.values())) == 60


@pytest.mark.parametrize(
    "dates",
    [
        [f"2026-01-{day:02}" for day in range(1, 21)],
        [f"2026-01-{day:02}T00:00:00+00:00" for day in range(1, 21)],
        [str(year) for year in range(1990, 2010)],
        [f"{1e9 + i}" for i in range(20)],
    ],
)
def test_the_newest_rows_are_the_test(dates: list[str]) -> None:
    order = [(7 * i) % 20 for i in range(20)]
    rows = table([f"text {i}" for i in order], ["a"] * 20, [dates[i] for i in order])
    parts = split(rows, by="date", validation=0.2)
    assert {
        name: sorted(dates.index(value) for value in part.groups or ()) for name, part in parts.items()
    } == {
        "train": list(range(14)),
        "validation": [14, 15, 16, 17],
        "test": [18, 19],
    }


def test_rows_of_one_date_stay_together() -> None:
    dates = ["2026-01-01"] * 70 + ["2026-01-02"] * 4 + ["2026-01-03"] * 16
    parts = split(mixed(90, dates), by="date")
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [70, 4, 16]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2026-01-01", "yesterday", "2026-01-03"], "1 rows have no date, such as 'yesterday': row 3"),
        (["2026-01-01", "", "2026-01-03"], "1 rows have no date, such as '': row 3"),
        (["2026-01-01", "5", "7"], "1 rows have no date, such as '2026-01-01': row 2"),
        (["nan", "1", "2"], "rows have no date, such as 'nan'"),
        (["2026-01-01", "2026-01-02T00:00+01:00", "2026-01-03"], "with and without a time zone"),
        (["2026-01-01", "2026-01-01", "2026-01-03"], "column 'date' has 2 values, a split needs 3 at least"),
    ],
)
def test_dates_that_give_no_order(values: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        split_table(mixed(3, values), SplitSection(by="date"), 0, names)
    assert message in caught.value.message
    assert caught.value.message.startswith("all.csv: ")


def test_a_column_of_two_values_cannot_be_split_by() -> None:
    with pytest.raises(DataError, match="column 'event' has 2 values, a split needs 3 at least"):
        split_table(mixed(4, ["x", "y", "x", "y"]), SplitSection(by="event"), 0, names)


def test_the_column_is_read_from_every_format(tmp_path: Path) -> None:
    section = DataSection(train="a.csv", split=SplitSection(by="event"))
    rows = [{"text": f"text {i}", "label": "a", "event": i % 2} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.csv").write_text("event,text,label\n" + "".join(f"{i % 2},text {i},a\n" for i in range(4)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert read(str(tmp_path / name), "train", section).groups == ("0", "1", "0", "1")
        assert read(str(tmp_path / name), "test", section).groups is None
        assert read(str(tmp_path / name), "unlabelled", section).groups is None
    (tmp_path / "b.csv").write_text("text,label,events\nx,a,1\n")
    for reader in (read, sample):
        with pytest.raises(DataError, match=r"no split by column 'event' \(nearest: 'events'\)") as caught:
            reader(str(tmp_path / "b.csv"), "train", section)
        assert "[data] split" in caught.value.hint


def test_the_demo_corpus_splits_by_event() -> None:
    section = DataSection(train="builtin:crisis-demo", split=SplitSection(by="event", test=0.2))
    source = Source(name="builtin:crisis-demo")
    parts = split(read(source, "train", section), by="event", test=0.2)
    assert {name: len(set(part.groups or ())) for name, part in parts.items()} == {
        "train": 9,
        "validation": 1,
        "test": 3,
    }
