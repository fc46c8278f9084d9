"""Inputs for models that nobody described."""

from __future__ import annotations

import numpy as np
import pytest

from squeeze.errors import StageFailed, UsageError
from squeeze.targets.guesses import Spec
from squeeze.targets.inputs import draw_lengths, feed, has_length, hint, slots

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


def kinds(*specs, batch=1, shapes=None):
    """Shapes, and for each whether it is constant and which value that is."""
    values = made([Spec(*spec) for spec in specs], shapes=shapes, batch=batch)
    return {
        name: (each.shape, each.ravel()[0].item() if each.size else None) for name, each in values.items()
    }


@pytest.mark.parametrize(
    ("kind", "shape", "wanted"),
    [
        ("tensor(float)", ("N", 3, "H", "W"), (2, 3, 224, 224)),
        ("tensor(float)", (None, None, None, None), (2, 3, 224, 224)),
        ("tensor(float)", ("N", 1, 48, "width"), (2, 1, 48, 224)),
        ("tensor(uint8)", ("batch", "height", "width", 3), (2, 224, 224, 3)),
        ("tensor(float16)", (2, "h", "w", "channels"), (2, 224, 224, 3)),
        ("tensor(float)", ("b", 3, 640, 640), (2, 3, 640, 640)),
    ],
)
def test_pictures(kind, shape, wanted):
    values = made([Spec("images", kind, shape)], batch=2)["images"]
    assert values.shape == wanted
    assert values.astype(float).std() > 0
    if kind == "tensor(uint8)":
        assert (values.min(), values.max()) == (0, 255)


def test_a_picture_without_batch():
    assert made([Spec("image", "tensor(uint8)", ("h", "w", 3))])["image"].shape == (224, 224, 3)


def test_a_mask_of_four_dimensions_is_no_picture():
    mask = Spec("attention_mask", "tensor(float)", ("batch", 1, "sequence", "sequence"))
    values = made([mask], [7])["attention_mask"]
    assert values.shape == (1, 1, 7, 7)
    assert values.all()


def test_sound_with_a_rate_and_a_state_as_silero_vad_has_it():
    found = kinds(
        ("input", "tensor(float)", (None, None)),
        ("state", "tensor(float)", (2, None, 128)),
        ("sr", "tensor(int64)", ()),
        batch=2,
    )
    assert found["input"][0] == (2, 512)
    assert found["state"] == ((2, 2, 128), 0.0)
    assert found["sr"] == ((), 16_000)


def test_a_step_of_sound_beside_a_state_alone():
    found = kinds(
        ("input", "tensor(float)", ("batch", "sequence")), ("state", "tensor(float)", (2, "batch", 128))
    )
    assert found["input"][0] == (1, 512)


def test_a_mask_beside_sound_has_its_length():
    names = ("batch", "sequence_length")
    found = kinds(("input_values", "tensor(float)", names), ("attention_mask", "tensor(int64)", names))
    assert found["attention_mask"][0] == found["input_values"][0] == (1, 16_000)


def test_sound_and_how_long_it_is():
    found = kinds(
        ("audio_signal", "tensor(float)", ("batch", "samples")), ("length", "tensor(int64)", ("batch",))
    )
    assert found["audio_signal"][0] == (1, 16_000)
    assert found["length"] == ((1,), 16_000)


def test_a_voice_as_piper_has_it():
    found = kinds(
        ("input", "tensor(int64)", ("batch_size", "phonemes")),
        ("input_lengths", "tensor(int64)", ("batch_size",)),
        ("scales", "tensor(float)", (3,)),
    )
    assert found["input"][0] == (1, 128)
    assert found["input_lengths"] == ((1,), 128)
    assert found["scales"] == ((3,), 1.0)


def test_a_decoder_with_an_empty_past():
    found = kinds(
        ("input_ids", "tensor(int64)", ("batch_size", "sequence_length")),
        ("attention_mask", "tensor(int64)", ("batch_size", "past_sequence_length + sequence_length")),
        ("past_key_values.0.key", "tensor(float)", ("batch_size", 4, "past_sequence_length", 8)),
        ("use_cache_branch", "tensor(bool)", (1,)),
    )
    assert found["attention_mask"][0] == found["input_ids"][0] == (1, 128)
    assert found["past_key_values.0.key"][0] == (1, 4, 0, 8)
    assert found["use_cache_branch"] == ((1,), False)


def test_sums_of_sizes_that_are_known():
    found = kinds(
        ("past_key", "tensor(float)", ("batch", 2, "past_len", 4)),
        ("attention_mask", "tensor(int64)", ("batch", "past_len + 1")),
    )
    assert found["attention_mask"][0] == (1, 1)


def test_scalars_thresholds_and_extents():
    found = kinds(
        ("iou_threshold", "tensor(float)", ()),
        ("top_k", "tensor(int64)", ()),
        ("orig_target_sizes", "tensor(int64)", ("N", 2)),
        ("boxes", "tensor(float)", ("batch", "num_boxes", 4)),
        ("training", "tensor(bool)", ()),
    )
    assert {name: value for name, (_, value) in found.items() if name != "boxes"} == {
        "iou_threshold": 0.5,
        "top_k": 1,
        "orig_target_sizes": 224,
        "training": True,
    }
    assert found["boxes"][0] == (1, 1, 4)


def test_what_another_network_gave_is_no_state():
    hidden = Spec("encoder_hidden_states", "tensor(float)", ("batch", "sequence", 16))
    values = made([hidden], [9])["encoder_hidden_states"]
    assert values.shape == (1, 9, 16)
    assert values.any()


def test_ids_fit_into_small_types():
    values = made([Spec("tokens", "tensor(int8)", ("batch", "sequence"))], [500], bound=1000)["tokens"]
    assert values.min() >= 0
    assert values.max() <= 127


@pytest.mark.parametrize(
    "kind", ["seq(tensor(float))", "optional(tensor(float))", "tensor(bfloat16)", "map(int64,tensor(float))"]
)
def test_types_that_cannot_be_made_up_are_named(kind):
    with pytest.raises(StageFailed, match=r"input x is .*: only numbers can be made up, in tensors"):
        slots([Spec("x", kind, (1,))], {}, 1)


def told(specs, lengths=None):
    return hint(specs, slots(specs, {}, 1), made(specs, lengths))


def test_a_hint_has_the_option_with_the_names_and_shapes_that_were_tried():
    specs = [IDS, Spec("fixed", "tensor(float)", (1, 2))]
    said = told(specs, [7])
    assert "--shape input_ids=1x7:" in said
    assert "--seq" in said
    assert "fixed" not in said
    many = [Spec(f"x{place}", "tensor(float)", ("n", 2)) for place in range(6)]
    assert "and 2 more" in told(many)
    assert "--seq" not in told([Spec("picture", "tensor(float)", ("n", 3, "h", "w"))])
    assert "no option" in told(specs[1:])
