from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.near_duplicates import measure
from squeeze.data import near_duplicates
from squeeze.data.checks import inspect
from squeeze.data.leakage import find_near_duplicates, near_overlap
from squeeze.data.near_duplicates import groups, shingles, similar_rows, similarity
from squeeze.data.opening import ROOM
from squeeze.data.table import Table
from tests.labelled import single_label

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LABELS = ("request", "offer")
EIGHT = "we need clean water and food at once"


def text(seed: int, words: int = 12) -> str:
    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(10_000)}" for _ in range(words))


def with_word(origin: str, at: int, word: str = "other") -> str:
    parts = origin.split()
    return " ".join([*parts[:at], word, *parts[at + 1 :]])


def table(*texts: str, place: str = "x.csv") -> Table:
    labels = tuple(LABELS[i % 2] for i in range(len(texts)))
    return Table(tuple(texts), labels, tuple(range(2, len(texts) + 2)), place)


def splits(near: int, train: int = 40) -> dict[str, Table]:
    """Training rows of which the first few differ in one word from a test row."""
    test = [text(i) for i in range(100, 200)]
    rows = [with_word(test[i], 5) for i in range(near)] + [text(i) for i in range(train - near)]
    return {
        "train": table(*rows, place="train.csv"),
        "validation": table(*(text(i) for i in range(200, 300)), place="validation.csv"),
        "test": table(*test, place="test.csv"),
    }


@pytest.mark.parametrize("at", range(8))
def test_one_of_eight_words_wherever_it_stands(at: int) -> None:
    assert similar_rows([with_word(EIGHT, at), text(1)], [text(2), EIGHT]) == {0: 1}


def test_links_marks_and_capitals_do_not_count() -> None:
    one = "We need clean water, and food at https://t.co/aBc once"
    assert shingles(one) == shingles('we NEED "clean" water and food at http://example.org/?a=1 once')
    assert "food at" in shingles(one)
    assert "at <link>" in shingles(one)


@pytest.mark.parametrize("marks", [",", '"', "_"])
def test_a_long_run_of_marks_takes_no_time_of_its_own(marks: str) -> None:
    started = time.process_time()
    found = shingles(f"{EIGHT} a{marks * 200_000}b {marks * 200_000} {marks * 9}we{marks * 9}")
    assert time.process_time() - started < 5.0  # the square of 200,000 takes minutes
    assert f"{marks * 200_000} we" in found


def test_a_long_run_of_combining_marks_takes_no_time_of_its_own() -> None:
    started = time.process_time()
    found = shingles(f"{EIGHT} a{chr(0x301) + chr(0x323)}{(chr(0x301) + chr(0x323)) * 100_000} again")
    assert time.process_time() - started < 5.0  # all at once takes a minute
    assert len(found) == 9


def test_seven_words_are_not_compared() -> None:
    seven = "we need clean water and food now"
    assert shingles(seven) == frozenset()
    assert similar_rows([seven], [with_word(seven, 3)]) == {}
    assert similarity(frozenset(), frozenset()) == 0


def test_half_of_the_word_pairs_is_near_and_less_is_not() -> None:
    origin = text(3, 13)  # 12 pairs
    twice = with_word(with_word(origin, 3), 8)
    assert similarity(shingles(origin), shingles(twice)) == 8 / 16
    assert similar_rows([twice], [origin]) == {0: 0}
    thrice = with_word(twice, 5, "third")
    assert similarity(shingles(origin), shingles(thrice)) == 6 / 18
    assert similar_rows([thrice], [origin]) == {}


def test_groups_are_connected_through_others() -> None:
    start = text(4)
    chain = [start]
    for at in (1, 5, 9):
        chain.append(with_word(chain[-1], at, f"new{at}"))
    assert similarity(shingles(chain[0]), shingles(chain[-1])) < 0.5
    texts = [text(5), *chain, "short", text(6), "short", "SHORT"]
    assert groups(texts, texts).tolist() == [0, 1, 1, 1, 1, 5, 6, 5, 8]
    assert groups(texts, [entry.lower() for entry in texts]).tolist() == [0, 1, 1, 1, 1, 5, 6, 5, 5]
    assert groups([], []).tolist() == []


def test_texts_of_one_template_are_one_group_in_bounded_time() -> None:
    template = text(7, 30)
    rows = [with_word(template, i % 30, f"name{i}") for i in range(900)]
    assert set(groups(rows, rows).tolist()) == {0}
    assert len(similar_rows(rows[:600], rows[600:])) == 600


def test_many_texts_take_no_more_memory_than_reading_them_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BATCH", 32)
    texts = [text(i, 60) for i in range(1000)]
    tracemalloc.start()
    try:
        assert similar_rows(texts[:800], [*texts[800:], with_word(texts[0], 5)]) == {0: 200}
        assert tracemalloc.get_traced_memory()[1] < ROOM * sum(map(len, texts))
    finally:
        tracemalloc.stop()


def test_training_rows_go_and_rows_of_both_sides_are_named() -> None:
    findings = inspect(splits(3), single_label(LABELS), "refuse", "drop")
    assert (findings.problems, findings.dropped, findings.near) == ((), frozenset(), frozenset({0, 1, 2}))
    assert findings.warnings == (
        "train: 3 rows dropped that nearly equal validation or test text: train row 2 ~ test row 2, "
        "train row 3 ~ test row 3, train row 4 ~ test row 4",
    )


def test_above_a_tenth_the_data_looks_like_templates() -> None:
    found = find_near_duplicates(splits(5), frozenset(), "drop")
    assert found.dropped == frozenset(range(5))
    assert found.warnings[0].endswith("(+2 more)")
    assert found.warnings[1].startswith("train: 12% of the rows nearly equal")
    assert len(find_near_duplicates(splits(4), frozenset(), "drop").warnings) == 1


def test_refuse_and_keep() -> None:
    (problem,) = inspect(splits(1), single_label(LABELS), "refuse", "refuse").problems
    assert problem == (
        "train: 1 row nearly equal validation or test text: train row 2 ~ test row 2; "
        '`near_duplicates = "drop"` leaves them out of train'
    )
    kept = inspect(splits(1), single_label(LABELS), "refuse", "keep")
    assert (kept.problems, kept.warnings, kept.near) == ((), (), frozenset())


def test_equal_rows_are_not_counted_twice() -> None:
    tables = splits(0)
    tables["train"] = table(tables["test"].texts[4], *tables["train"].texts, place="train.csv")
    findings = inspect(tables, single_label(LABELS), "drop", "drop")
    assert (findings.dropped, findings.near) == (frozenset({0}), frozenset())


def test_unlabelled_text() -> None:
    tables = {"test": splits(0)["test"]}
    pool = table(with_word(tables["test"].texts[0], 4), text(9), tables["test"].texts[1])
    assert near_overlap(pool, tables, frozenset({2})) == {0}


@pytest.mark.parametrize("name", ["trec6"])
def test_planted_near_duplicates_in_real_text_are_found(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    figures = measure(SHARED / name, 40, random.Random(1))
    assert figures["found"] >= 0.95 * 40
    assert figures["wrong"] <= 0.01 * figures["train"]
