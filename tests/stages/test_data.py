from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from squeeze.data.dataset import load
from squeeze.errors import DataError, ProfileError
from squeeze.progress import Silent
from squeeze.stage import Work
from squeeze.stages.data import STAGE
from squeeze.stages.data.stage import DataConfig, DataResult

LABELS = ["offer", "request", "other"]


def work(folder: Path) -> Work:
    for name in ("out", "scratch", "cache"):
        (folder / name).mkdir(exist_ok=True)
    return Work(folder / "out", folder / "scratch", folder / "cache")


def csv(folder: Path, name: str, texts: list[str], labels: list[str] | None = None) -> str:
    given = labels or [LABELS[i % 3] for i in range(len(texts))]
    lines = [f'"{text}",{label}' for text, label in zip(texts, given, strict=True)]
    path = folder / f"{name}.csv"
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return str(path)


def section(folder: Path, **more: Any) -> dict[str, Any]:
    sizes = {"train": 30, "validation": 12, "test": 9}
    slots = {split: csv(folder, split, [f"{split} {i}" for i in range(n)]) for split, n in sizes.items()}
    return {**slots, **more}


def config(data: dict[str, Any], seed: int = 0) -> DataConfig:
    return DataConfig.parse({"seed": seed, "task": {"labels": LABELS}, "data": data})


def run(folder: Path, data: dict[str, Any], seed: int = 0) -> DataResult:
    result = STAGE.run(config(data, seed), {}, work(folder))
    assert isinstance(result, DataResult)
    assert DataResult.parse(result.plain()) == result
    return result


def test_writes_every_split_with_labels_in_the_order_of_the_task(tmp_path: Path) -> None:
    far = csv(tmp_path, "far", ["x", "y"], ["other", "offer"])
    data = section(tmp_path, more_tests={"out-of_event2": far}, unlabelled=[far])
    result = run(tmp_path, data)
    assert {split: count.rows for split, count in result.splits.items()} == {
        "train": 30, "validation": 12, "test": 9, "out-of_event2": 2, "unlabelled": 0
    }  # fmt: skip
    assert result.splits["train"].per_label == {"offer": 10, "request": 10, "other": 10}
    assert result.splits["train"].source == data["train"]
    assert result.splits["train"].sha256 == STAGE.sources(config(data))[data["train"]]
    dataset = load(tmp_path / "out")
    assert dataset.splits["out-of_event2"].texts == ("x", "y")
    assert dataset.splits["out-of_event2"].labels.tolist() == [2, 0]
    assert dataset.splits["train"].labels.tolist() == [0, 1, 2] * 10
    assert dataset.unlabelled == ()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        f"{name}.arrow" for name in ("train", "validation", "test", "out-of_event2", "unlabelled")
    )


def test_unlabelled_text_without_what_is_measured_on(tmp_path: Path) -> None:
    texts = ["train 3", "new 1", "  TEST 2", "validation 5", "x", "", "new 2"]
    pool = csv(tmp_path, "pool", texts, ["whatever"] * 7)
    far = csv(tmp_path, "far", ["X", "y", "z"])
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "new 3"}\n{"text": "half \\ud83d"}\n', encoding="utf-8")
    data = section(tmp_path, more_tests={"far": far}, unlabelled=[pool, str(more)])
    result = run(tmp_path, data)
    assert load(tmp_path / "out").unlabelled == ("train 3", "new 1", "new 2", "new 3")
    assert result.splits["unlabelled"].rows == 4
    assert result.splits["unlabelled"].per_label == {}
    said = [warning for warning in result.warnings if warning.startswith("unlabelled")]
    assert said == [
        f"unlabelled ({pool}): 1 empty or broken rows left out",
        f"unlabelled ({pool}): 3 rows left out, validation or a test has them too",
        f"unlabelled ({more}): 1 empty or broken rows left out",
    ]


def test_duplicates_are_refused_or_dropped(tmp_path: Path) -> None:
    leak = csv(tmp_path, "leak", ["TRAIN 4", "train 7", "fresh"])
    data = section(tmp_path, more_tests={"leak": leak})
    with pytest.raises(DataError, match="train rows 6, 9 = leak rows 2, 3"):
        run(tmp_path, data)
    assert list((tmp_path / "out").iterdir()) == []
    result = run(tmp_path, {**data, "duplicates": "drop"})
    assert (result.splits["train"].rows, result.splits["train"].dropped_duplicates) == (28, 2)
    assert result.splits["leak"].dropped_duplicates == 0
    texts = load(tmp_path / "out").splits["train"].texts
    assert texts == tuple(f"train {i}" for i in range(30) if i not in {4, 7})


def test_limit_draws_the_same_rows_in_their_order(tmp_path: Path) -> None:
    pool = csv(tmp_path, "pool", [f"pool {i}" for i in range(40)])
    data = section(tmp_path, limit=10, unlabelled=[pool])

    def drawn(seed: int) -> dict[str, tuple[str, ...]]:
        run(tmp_path, data, seed)
        dataset = load(tmp_path / "out")
        splits = {name: tuple(split.texts) for name, split in dataset.splits.items()}
        return {"pool": tuple(dataset.unlabelled), **splits}

    one, again, other = drawn(1), drawn(1), drawn(2)
    assert one == again != other
    assert {name: len(texts) for name, texts in one.items()} == {
        "pool": 10,
        "train": 10,
        "validation": 10,
        "test": 9,
    }
    numbers = [int(text.split()[1]) for text in one["train"]]
    assert numbers == sorted(numbers) != list(range(10))


def test_limit_says_which_labels_it_cut_off(tmp_path: Path) -> None:
    warnings = run(tmp_path, section(tmp_path, limit=1)).warnings
    assert sum("the limit of 1 rows leaves none with label" in warning for warning in warnings) == 3


@pytest.mark.parametrize("name", ["train", "validation", "test", "unlabelled", "Far", "a b", "../x", ""])
def test_names_of_further_tests(tmp_path: Path, name: str) -> None:
    data = section(tmp_path)
    with pytest.raises(ProfileError, match="more_tests"):
        run(tmp_path, {**data, "more_tests": {name: data["test"]}})
    assert list((tmp_path / "out").iterdir()) == []


def test_all_problems_of_all_sources_come_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    data = section(tmp_path)
    data["test"] = csv(tmp_path, "bad", ["", "ok", "train 0"], ["ofer", "other", "offer"])
    data["validation"] = str(tmp_path / "nothing.csv")
    data["unlabelled"] = [str(tmp_path / "pool.txt")]
    with pytest.raises(DataError) as caught:
        run(tmp_path, data)
    said = caught.value.message.splitlines()
    assert said[0] == "[data]: 5 problems, nothing was trained"
    for part in ("nothing.csv: no such file", "'.txt'", "empty text in row 2", "'ofer' (nearest: 'offer')"):
        assert sum(part in line for line in said) == 1
    assert "train row 2 = test row 4" in said[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_changed_file_is_another_source(tmp_path: Path) -> None:
    data = section(tmp_path)
    before = STAGE.sources(config(data))
    csv(tmp_path, "test", ["other text"])
    after = STAGE.sources(config(data))
    assert {name for name in before if before[name] != after[name]} == {data["test"]}


def test_demo_corpus(tmp_path: Path) -> None:
    data = dict.fromkeys(("train", "validation", "test"), "builtin:crisis-demo")
    result = run(tmp_path, data)
    assert {split: count.rows for split, count in result.splits.items()} == {
        "train": 1690, "validation": 260, "test": 390
    }  # fmt: skip
    assert result.warnings == ()
    assert load(tmp_path / "out").splits["train"].labels[0] == LABELS.index("other")


def test_near_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    long = "a post of ten words that stands in test number"
    test = csv(tmp_path, "near_test", [f"{long} {i}" for i in range(3)])
    train = csv(tmp_path, "near_train", [f"train {i}" for i in range(9)] + [f"{long} 77", "one more row"])
    pool = csv(tmp_path, "near_pool", [f"{long} 88", "something else"])
    data = section(tmp_path, train=train, test=test, unlabelled=[pool])
    result = run(tmp_path, data)
    assert (result.splits["train"].rows, result.splits["train"].dropped_near_duplicates) == (10, 1)
    assert "train: 1 row dropped that nearly equal validation or test text: train row 11 ~ test row 2" in (
        result.warnings
    )
    assert (
        f"unlabelled ({pool}): 1 rows left out that nearly equal validation or test text" in result.warnings
    )
    assert load(tmp_path / "out").unlabelled == ("something else",)
    kept = run(tmp_path, {**data, "near_duplicates": "keep"})
    assert (kept.splits["train"].rows, kept.splits["unlabelled"].rows) == (11, 2)


def test_one_file_is_split_and_named_as_the_source_of_all_parts(tmp_path: Path) -> None:
    everything = csv(tmp_path, "all", [f"text {i}" for i in range(90)])
    data = {"train": everything, "split": {"validation": 0.2}}
    result = run(tmp_path, data, seed=3)
    assert {name: (count.rows, count.source) for name, count in result.splits.items()} == {
        "train": (63, everything), "validation": (18, everything), "test": (9, everything),
    }  # fmt: skip
    assert result.splits["test"].per_label == dict.fromkeys(LABELS, 3)
    assert result.splits["test"].sha256 == STAGE.sources(config(data))[everything]
    dataset = load(tmp_path / "out")
    assert sum(len(dataset.splits[name]) for name in ("train", "validation", "test")) == 90
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.csv", "cache", "out", "scratch"]
    again = tuple(load(tmp_path / "out").splits["test"].texts)
    run(tmp_path, data, seed=4)
    assert load(tmp_path / "out").splits["test"].texts != again


def test_equal_texts_of_two_events_leave_the_training_part(tmp_path: Path) -> None:
    lines = [f'"text {i % 40}",{LABELS[i % 3]},{i // 10}' for i in range(200)]
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["text,label,event", *lines]) + "\n", encoding="utf-8")
    result = run(tmp_path, {"train": str(path), "split": {"by": "event"}})
    assert result.splits["train"].dropped_duplicates > 0
    assert any("rows dropped that also stand in validation or a test" in line for line in result.warnings)


def test_a_split_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("text,label,date\na,offer,2026\nb,other,soon\n", encoding="utf-8")
    data = {"train": str(path), "split": {"by": "date"}}
    assert STAGE.at_plan is not None
    for refuse in (lambda: run(tmp_path, data), lambda: STAGE.at_plan.run(config(data), Silent())):
        with pytest.raises(DataError, match="1 rows have no date, such as 'soon': row 3"):
            refuse()
    assert list((tmp_path / "out").iterdir()) == []
