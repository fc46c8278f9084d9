from __future__ import annotations

import json
import shutil
import threading
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.data.teacher_cache import LOGITS, Layout, Spent, TeacherCache, attention, hidden, relations
from squeeze.errors import StageFailed
from squeeze.models.inference import batches_by_length, to_tensors
from squeeze.models.tokens import Encodings
from squeeze.progress import Silent
from tests import tiny

LAYOUT = Layout(labels=2, hidden=32, heads=(4, 4, 4), head_size=8)
FEATURES = (LOGITS, hidden(0), hidden(3), attention(2), relations(3))
ENCODER = tiny.encoder()
RNG = np.random.default_rng(0)
TEXTS = Encodings.of([RNG.integers(5, tiny.VOCABULARY, size=n).tolist() for n in (3, 9, 1, 12, 5, 9, 2)])


def observe(rows, features):
    """The teacher on a batch, each feature cut to the real tokens."""
    ids, mask = to_tensors(TEXTS, rows, 0)
    with torch.inference_mode():
        out = ENCODER.observe(ids, mask, inside=True)
    lengths = mask.sum(1).tolist()

    def each(feature):
        name, _, number = feature.partition("-")
        if name == "logits":
            return list(out.logits.numpy())
        if name == "hidden":
            return [row[:n].numpy() for row, n in zip(out.hidden[int(number)], lengths, strict=True)]
        if name == "attention":
            return [
                row[:, :n, :n].numpy() for row, n in zip(out.attention[int(number) - 1], lengths, strict=True)
            ]
        joined = torch.stack(out.relations[int(number) - 1], dim=2)
        return [row[:n].numpy() for row, n in zip(joined, lengths, strict=True)]

    return {feature: each(feature) for feature in features}


class Teacher:
    """Counts what it is asked."""

    def __init__(self, fail_after=None):
        self.asked, self.fail_after = [], fail_after

    def __call__(self, rows, features):
        if self.fail_after is not None and len(self.asked) == self.fail_after:
            raise KeyboardInterrupt
        self.asked.append((tuple(rows.tolist()), tuple(features)))
        return observe(rows, features)


def cache(root, teacher="t", texts=TEXTS.digest, lengths=TEXTS.lengths, layout=LAYOUT):
    return TeacherCache(root, teacher, texts, lengths, layout)


def fill(store, features=FEATURES, teacher=None):
    teacher = teacher or Teacher()
    return store.ensure(features, teacher, batches_by_length(TEXTS.lengths, tokens=24), Silent()), teacher


@pytest.mark.parametrize("feature", FEATURES)
def test_shuffled_reads_are_what_the_teacher_says_of_each_text_alone(feature, tmp_path):
    store = cache(tmp_path)
    fill(store)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        for row, found in zip(order, store.read(feature, order), strict=True):
            expected = observe(np.array([row]), [feature])[feature][0]
            assert found.shape == LAYOUT.shape(feature, int(TEXTS.lengths[row])) == expected.shape
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 if feature != LOGITS else 1e-6)


def test_shapes_and_kinds(tmp_path):
    store = cache(tmp_path)
    fill(store)
    row = np.array([1])  # 9 tokens
    found = {feature: next(store.read(feature, row)) for feature in FEATURES}
    assert {feature: array.shape for feature, array in found.items()} == {
        LOGITS: (2,), hidden(0): (9, 32), hidden(3): (9, 32),
        attention(2): (4, 9, 9), relations(3): (9, 3, 32),
    }  # fmt: skip
    assert found.pop(LOGITS).dtype == np.float32
    assert {array.dtype for array in found.values()} == {np.dtype(np.float16)}
    np.testing.assert_allclose(found[attention(2)].sum(-1), 1, atol=5e-3)


def test_padded_reads_are_zero_beyond_each_text(tmp_path):
    store = cache(tmp_path)
    fill(store)
    rows = np.array([4, 2, 3])
    states, weights = store.padded(hidden(3), rows), store.padded(attention(2), rows)
    assert (states.shape, weights.shape) == ((3, 12, 32), (3, 4, 12, 12))
    assert states.dtype == weights.dtype == np.float32
    for place, row in enumerate(rows):
        n = int(TEXTS.lengths[row])
        np.testing.assert_array_equal(states[place, :n], next(store.read(hidden(3), rows[place : place + 1])))
        assert not states[place, n:].any()
        assert not weights[place, :, n:].any()
        assert not weights[place, :, :, n:].any()


def test_a_second_call_asks_the_teacher_nothing(tmp_path):
    spent, teacher = fill(cache(tmp_path))
    assert spent.texts == len(TEXTS)
    assert spent.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert sorted(row for rows, _ in teacher.asked for row in rows) == list(range(len(TEXTS)))
    again, quiet = fill(cache(tmp_path))
    assert (again, quiet.asked) == (Spent(), [])


def test_only_what_is_missing_is_computed_and_in_one_pass(tmp_path):
    fill(cache(tmp_path), (LOGITS, hidden(0)))
    _, teacher = fill(cache(tmp_path), (LOGITS, hidden(3), hidden(0), attention(2), hidden(3)))
    assert {features for _, features in teacher.asked} == {(hidden(3), attention(2))}
    assert sorted(row for rows, _ in teacher.asked for row in rows) == list(range(len(TEXTS)))


OTHERS: dict[str, dict[str, Any]] = {
    "teacher": {"teacher": "u"},
    "text": {"texts": Encodings.of([[5, 6, 7]] * 7).digest},
    "labels": {"layout": Layout(3, 32, (4, 4, 4), 8)},
    "heads": {"layout": Layout(2, 32, (4, 4, 2), 8)},
    "head size": {"layout": Layout(2, 32, (4, 4, 4), 16)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_teacher_text_or_layout_is_never_hit(other, tmp_path):
    fill(cache(tmp_path))
    assert cache(tmp_path, **OTHERS[other]).folder != cache(tmp_path).folder
    assert not cache(tmp_path, **OTHERS[other]).folder.exists()


def test_where_texts_begin_is_part_of_their_digest():
    assert Encodings.of([[5, 6], [7]]).digest != Encodings.of([[5], [6, 7]]).digest
    assert Encodings.of([[5, 6], [7]]).digest != Encodings.of([[6, 5], [7]]).digest


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "one byte": flip,
    "half": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "gone": lambda path: path.unlink(),
    "no digest": lambda path: path.with_suffix(".json").unlink(),
    "bad digest": lambda path: path.with_suffix(".json").write_text('{"sha256": 3}'),
    "no json": lambda path: path.with_suffix(".json").write_text("{"),
    "a list": lambda path: path.with_suffix(".json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_computed_again(damage, tmp_path):
    store = cache(tmp_path)
    fill(store)
    rows = np.arange(len(TEXTS))
    expected = [array.copy() for array in store.read(hidden(3), rows)]
    DAMAGE[damage](store.folder / "hidden-3.npy")
    _, teacher = fill(store)
    assert {features for _, features in teacher.asked} == {(hidden(3),)}
    for found, array in zip(store.read(hidden(3), rows), expected, strict=True):
        np.testing.assert_array_equal(found, array)


def test_what_a_kill_leaves_behind_is_not_used(tmp_path):
    store = cache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fill(store, teacher=Teacher(fail_after=2))
    assert {path.suffix for path in store.folder.iterdir() if path.name != ".lock"} == {".partial"}
    with pytest.raises(FileNotFoundError):
        next(store.read(LOGITS, np.array([0])))
    spent, _ = fill(cache(tmp_path))
    assert spent.texts == len(TEXTS)
    assert not list(store.folder.glob("*.partial"))
    np.testing.assert_allclose(
        np.stack(list(store.read(LOGITS, np.arange(len(TEXTS))))),
        np.stack([observe(np.array([row]), [LOGITS])[LOGITS][0] for row in range(len(TEXTS))]),
        atol=1e-6,
    )


def test_two_at_once_fill_it_once(tmp_path):
    teachers = [Teacher(), Teacher()]
    threads = [
        threading.Thread(target=fill, args=(cache(tmp_path), FEATURES, teacher)) for teacher in teachers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bool(teacher.asked) for teacher in teachers) == [False, True]


def test_rows_that_no_batch_has_are_noticed(tmp_path):
    with pytest.raises(AssertionError, match="leave out rows"):
        cache(tmp_path).ensure([LOGITS], observe, [np.array([0, 1])], Silent())
    assert not list(tmp_path.rglob("*.npy"))


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1000))
    with pytest.raises(StageFailed, match=r"teacher outputs take 0\.0 GB, 0\.0 GB are free"):
        fill(cache(tmp_path))
    assert not list(tmp_path.rglob("*.partial"))


def test_files_hold_plain_numbers_and_are_never_unpickled(tmp_path):
    store = cache(tmp_path)
    fill(store)
    for path in store.folder.glob("*.npy"):
        assert np.load(path, allow_pickle=False).dtype.kind == "f"
        assert json.loads(path.with_suffix(".json").read_text()).keys() == {"sha256"}
    shutil.rmtree(store.folder)
    store.folder.mkdir()
    np.save(store.folder / "logits.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Python objects|allow_pickle=False"):
        next(cache(tmp_path).read(LOGITS, np.array([0])))


def test_an_empty_list_of_texts_is_no_trouble(tmp_path):
    nothing = Encodings.of([])
    store = TeacherCache(tmp_path, "t", nothing.digest, nothing.lengths, LAYOUT)
    assert store.ensure(FEATURES, observe, [], Silent()).texts == 0
