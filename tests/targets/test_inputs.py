"""Inputs for models that nobody described."""

from __future__ import annotations

import numpy as np
import pytest

from squeeze.errors import StageFailed, UsageError
from squeeze.targets.inputs import Spec, draw_lengths, feed, has_length, slots

IDS = Spec("input_ids", "tensor(int64)", ("batch", "sequence"))
MASK = Spec("attention_mask", "tensor(int64)", ("batch", "sequence"))
TYPES = Spec("token_type_ids", "tensor(int32)", ("batch", "sequence"))
PLACES = Spec("position_ids", "tensor(int64)", ("batch", "sequence"))
IMAGE = Spec("pixel_values", "tensor(float)", ("batch", 3, 8, 8))


def made(specs, lengths=None, *, shapes=None, batch=1, bound=50):
    return feed(slots(specs, shapes or {}, batch), lengths, bound, np.random.default_rng(0))


def test_text_inputs_by_their_names():
    values = made([IDS, MASK, TYPES, PLACES], [4, 7], batch=2)
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(values, (2, 7))
    assert values["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0], [1] * 7]
    assert not values["token_type_ids"].any()
    assert values["token_type_ids"].dtype == np.int32
    assert values["position_ids"].tolist() == [list(range(7))] * 2


def test_ids_stay_below_the_bound_and_use_it():
    ids = made([IDS], [2000], bound=50)["input_ids"]
    assert (ids.min(), ids.max()) == (0, 49)


def test_without_lengths_128_tokens_and_no_padding():
    values = made([IDS, MASK])
    assert values["input_ids"].shape == (1, 128)
    assert values["attention_mask"].all()


def test_floats_are_standard_normal():
    values = made([IMAGE], batch=16)["pixel_values"]
    assert values.shape == (16, 3, 8, 8)
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(1, abs=0.05)


def test_a_given_shape_also_settles_dimensions_of_the_same_name():
    values = made([IDS, MASK], shapes={"input_ids": (2, 5)})
    assert values["attention_mask"].shape == (2, 5)


def test_a_fixed_length_is_padded_as_a_device_would():
    fixed = [Spec("input_ids", "tensor(int64)", (1, 16)), Spec("attention_mask", "tensor(int64)", (1, 16))]
    filled = slots(fixed, {}, 1)
    assert not has_length(filled)
    assert feed(filled, [5], 50, np.random.default_rng(0))["attention_mask"].sum() == 5


@pytest.mark.parametrize(
    ("specs", "shapes", "batch", "error", "told"),
    [
        ([IDS], {"input_ids": (1, 2, 3)}, 1, UsageError, "3 dimensions"),
        ([IMAGE], {"pixel_values": (1, 4, 8, 8)}, 1, UsageError, "says 4"),
        ([Spec("input_ids", "tensor(int64)", (1, "n"))], {}, 4, UsageError, "batch is fixed"),
        ([Spec("text", "tensor(string)", ("n",))], {}, 1, StageFailed, "only numbers"),
    ],
)
def test_what_cannot_be_made(specs, shapes, batch, error, told):
    with pytest.raises(error, match=told):
        slots(specs, shapes, batch)


def test_every_block_has_the_lengths_of_the_data():
    lengths = [3] * 50 + [10] * 40 + [60] * 10
    random = np.random.default_rng(0)
    for _ in range(20):
        block = draw_lengths(lengths, 20, 1, random).ravel().tolist()
        assert [block.count(each) for each in (3, 10, 60)] == [10, 8, 2]


def test_over_many_blocks_every_length_gets_its_due():
    random = np.random.default_rng(0)
    drawn = np.concatenate([draw_lengths(range(1, 101), 4, 3, random) for _ in range(2000)])
    assert drawn.shape == (8000, 3)
    counts = np.bincount(drawn.ravel())[1:]
    assert counts.min() > 150
    assert counts.max() < 340
