from __future__ import annotations

from pathlib import Path

import pytest

from squeeze.data.checks import hint, inspect, overlap, same_text, unusable
from squeeze.data.config import DataSection
from squeeze.data.sources import Table, read
from squeeze.data.wording import combine, nearest
from tests.labelled import single_label

LABELS = ("request", "offer")
TASK = single_label(LABELS)
SECTION = DataSection(train="a.csv", validation="b.csv", test="c.csv")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def table(*rows: tuple[str, str], place: str = "x.csv") -> Table:
    texts, labels = tuple(text for text, _ in rows), tuple(label for _, label in rows)
    return Table(texts, labels, tuple(range(2, len(rows) + 2)), place)


def many(prefix: str, count: int = 100) -> Table:
    return table(*((f"{prefix} {i}", LABELS[i % 2]) for i in range(count)), place=f"{prefix}.csv")


def sound() -> dict[str, Table]:
    return {split: many(split) for split in ("train", "validation", "test")}


def problems(duplicates: str = "refuse", **changed: Table) -> tuple[str, ...]:
    return inspect({**sound(), **changed}, TASK, duplicates).problems


def test_sound_data_passes_without_a_word() -> None:
    findings = inspect(sound(), TASK, "refuse")
    assert (findings.problems, findings.warnings, findings.dropped) == ((), (), frozenset())


def test_empty_text_shows_five_rows_and_counts_the_rest() -> None:
    rows = [(" \n\u00a0", "offer")] * 7 + [("a", "request"), ("b", "offer")]
    assert problems(train=table(*rows)) == ("train (x.csv): empty text in rows 2, 3, 4, 5, 6 (+2 more)",)


def test_unknown_labels_name_the_nearest() -> None:
    rows = [("a", "Request "), ("b", "offer"), ("c", "request"), ("d", ""), ("e", "Request ")]
    assert problems(train=table(*rows)) == (
        "train (x.csv): unknown label 'Request ' (nearest: 'request') in rows 2, 6",
        "train (x.csv): unknown label '' in row 5",
    )


def test_a_wrong_label_column_is_not_a_thousand_lines() -> None:
    rows = [(f"text {i}", f"id-{i}") for i in range(1000)]
    found = problems(validation=table(*rows))
    assert len(found) == 6
    assert "995 more unknown labels" in found[-1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "offer"), ("b", "request")], "2 rows, at least 4 are needed"),
        ([], "0 rows, at least 4 are needed"),
        ([(str(i), "offer") for i in range(9)], "all 9 rows with a known label have 'offer'"),
    ],
)
def test_training_text_that_teaches_nothing(rows: list[tuple[str, str]], said: str) -> None:
    (problem,) = problems(train=table(*rows))
    assert said in problem


def test_a_label_without_training_rows() -> None:
    (problem,) = inspect(sound(), single_label((*LABELS, "other")), "refuse").problems
    assert problem == "train (train.csv): no row has label 'other'"


def test_a_test_without_rows() -> None:
    assert problems(test=table()) == ("test (x.csv): no rows",)


def test_broken_unicode() -> None:
    rows = [("a", "offer"), ("half \ud83d", "request")]
    assert problems(test=table(*rows)) == ("test (x.csv): half a surrogate pair (broken Unicode) in row 3",)
    assert unusable("half \ud83d")
    assert unusable(" ")
    assert not unusable("whole 🌊")


def leaking() -> dict[str, Table]:
    """Train rows 2, 4 are in the test, row 7 in a further one, all in disguise."""
    tables = sound()
    tables["test"] = table(
        ("  TRAIN\t0", "offer"), ("fresh", "offer"), ("\N{FULLWIDTH LATIN SMALL LETTER T}rain 2", "request")
    )
    tables["far"] = table(("Train  5", "request"))
    return tables


def test_duplicates_are_refused_with_rows_of_both_sides() -> None:
    found = inspect(leaking(), TASK, "refuse")
    assert found.dropped == frozenset()
    assert [problem.partition(";")[0] for problem in found.problems] == [
        "2 train texts also stand in test: train rows 2, 4 = test rows 2, 4",
        "1 train texts also stand in far: train row 7 = far row 2",
    ]
    assert 'duplicates = "drop"' in found.problems[0]


def test_duplicates_are_dropped_and_counted() -> None:
    found = inspect(leaking(), TASK, "drop")
    assert (found.problems, found.dropped) == ((), frozenset({0, 2, 5}))
    assert "train: 3 rows dropped that also stand in validation or a test" in found.warnings


def test_dropping_may_leave_a_label_without_rows() -> None:
    train = table(("a", "offer"), ("b", "request"), ("c", "offer"), ("d", "offer"), ("e", "offer"))
    (problem,) = problems("drop", train=train, test=table(("B", "request"), ("z", "offer")))
    assert (
        problem == "train (x.csv): all 4 rows with a known label have 'offer' (after dropping 1 duplicates)"
    )


def test_warnings_do_not_stop() -> None:
    tables = sound()
    tables["validation"] = table(("v", "offer"), ("V", "offer"), ("v", "request"), ("train 999", "offer"))
    tables["test"] = table(("v", "request"), ("w", "request"))
    findings = inspect(tables, TASK, "refuse")
    assert findings.warnings == (
        "validation (x.csv): 1 rows repeat an earlier one: row 3",
        "validation (x.csv): 1 rows repeat an earlier text under another label: row 4",
        "validation (x.csv): only 4 rows, one row moves accuracy by 25.0 points",
        "test (x.csv): only 2 rows, one row moves accuracy by 50.0 points",
        "test (x.csv): no row has label 'offer', its F1 counts as 0",
        "3 validation texts also stand in test: validation rows 2, 3, 4 = test rows 2, 2, 2",
    )


def test_all_problems_come_in_one_error() -> None:
    tables = leaking()
    tables["validation"] = table(("", "offer"), ("x", "ofer"))
    task = single_label((*LABELS, "other"))
    error = combine(inspect(tables, task, "refuse").problems, hint(task))
    lines = error.message.splitlines()
    assert lines[0] == "[data]: 5 problems, nothing was trained"
    assert len(lines) == 6
    assert "request, offer, other" in error.hint
    assert error.exit_code == 2


def test_overlap_and_the_form_texts_are_compared_in() -> None:
    assert same_text("ﬁne  STRASSE\u3000") == same_text("fine straße")
    assert same_text("a b") != same_text("ab")
    assert overlap(table(("TEST 3", ""), ("new", ""), ("train 0", "")), {"test": many("test")}) == {0}


def test_labels_that_look_alike_or_are_long() -> None:
    rows = [("a", "re\u0301quest"), ("b", "x" * 5000), ("c", "offer"), ("d", "request")]
    found = inspect(
        {"test": table(*rows)}, single_label(("r\u00e9quest", "offer", "request")), "refuse"
    ).problems
    assert found[0].startswith(
        "test (x.csv): unknown label 're\u0301quest' (looks like 'r\\xe9quest', and is spelled"
    )
    assert len(found[1]) < 120


def test_the_nearest_name_is_a_valid_one() -> None:
    assert nearest("OFFERS", LABELS) == " (nearest: 'offer')"
    assert nearest("zebra", LABELS) == ""


@pytest.mark.parametrize(
    ("name", "labels", "warned"),
    [
        ("actionable_help", ("request", "offer", "other"), 1),
        ("crisislex_t6", ("on_topic", "off_topic"), 1),
        ("sst2", ("negative", "positive"), 1),
        ("trec6", ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"), 2),
    ],
)
def test_published_sets_pass_with_the_defaults(name: str, labels: tuple[str, ...], warned: int) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    splits = ("train", "validation", "test")
    tables = {split: read(str(SHARED / name / f"{split}.csv"), split, SECTION) for split in splits}
    assert len(inspect(tables, single_label(labels), "refuse").warnings) == warned
