from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from squeeze.errors import ProfileError
from squeeze.models import conversion, families
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.models.families import HeadLayout
from squeeze.models.outline import tensors
from squeeze.models.support import ACTIVATION_NAMES
from tests import tiny

EXACT = 1e-5


def original(model, ids, mask):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, output_hidden_states=True)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_copy_gives_the_logits_of_the_original(family):
    model = tiny.classifier(family)
    ids, mask = tiny.batch(pad=model.config.pad_token_id)
    expected = original(model, ids, mask).logits
    assert expected.std(0).min() > 0.01  # rows differ, so the comparison means something
    copy = conversion.read(model)
    with torch.no_grad():
        torch.testing.assert_close(copy(ids, mask), expected, atol=EXACT, rtol=0)
        torch.testing.assert_close(copy.observe(ids, mask, inside=True).logits, expected, atol=EXACT, rtol=0)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_copy_has_the_states_of_the_original(family):
    model = tiny.classifier(family)
    ids, mask = tiny.batch(pad=model.config.pad_token_id)
    theirs = original(model, ids, mask).hidden_states
    with torch.no_grad():
        ours = conversion.read(model).observe(ids, mask).hidden
    assert len(ours) == len(theirs) == 4
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine[mask.bool()], other[mask.bool()], atol=EXACT, rtol=0)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_stands_at_padding_does_not_matter(family):
    model = tiny.classifier(family)
    ids, mask = tiny.batch()
    copy = conversion.read(model)
    with torch.no_grad():
        changed = torch.where(mask.bool(), ids, 7)
        torch.testing.assert_close(copy(ids, mask), copy(changed, mask), atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_shape_is_told_without_reading(family):
    model = tiny.classifier(family)
    shape = conversion.shape_of(model)
    assert shape == conversion.read(model).shape
    assert shape.positions == tiny.POSITIONS
    assert shape.layers == (LayerShape(heads=4, ffn=64),) * 3
    assert shape.embedding.width == (16 if family == "electra" else 32)
    assert shape.relative_bias == (family == "mpnet")


def test_every_family_is_tested():
    assert set(tiny.FAMILIES) == set(families.FAMILIES)


@pytest.mark.parametrize("pad", [0, 3])
def test_a_roberta_counts_positions_from_its_own_padding_piece(pad):
    model = tiny.classifier("roberta", pad_token_id=pad)
    ids, mask = tiny.batch(pad=pad)
    with torch.no_grad():
        torch.testing.assert_close(
            conversion.read(model)(ids, mask), original(model, ids, mask).logits, atol=EXACT, rtol=0
        )


def test_far_tokens_share_an_mpnet_bias():
    """Longer than the 128 distances after which all fall into one row of the table."""
    model = tiny.classifier("mpnet", max_position_embeddings=202)
    ids, mask = tiny.batch(rows=2, length=200)
    with torch.no_grad():
        torch.testing.assert_close(
            conversion.read(model)(ids, mask), original(model, ids, mask).logits, atol=EXACT, rtol=0
        )


def test_another_activation_is_copied():
    model = tiny.classifier("bert", hidden_act="relu", layer_norm_eps=1e-3)
    ids, mask = tiny.batch()
    with torch.no_grad():
        torch.testing.assert_close(
            conversion.read(model)(ids, mask), original(model, ids, mask).logits, atol=EXACT, rtol=0
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "silu"}, "'silu'"),
        ({"is_decoder": True}, "left to right"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
        ({"num_hidden_layers": 0}, "at least one layer"),
    ],
)
def test_variants_that_are_not_computed_are_refused(change, said):
    model = tiny.classifier("bert")
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises(ProfileError, match=said):
        conversion.read(model)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_supported_activation_is_copied(name, family):
    model = tiny.classifier(family, **{families.family_of(family).activation: name, "initializer_range": 0.5})
    ids, mask = tiny.batch(pad=model.config.pad_token_id)
    with torch.no_grad():
        torch.testing.assert_close(
            conversion.read(model)(ids, mask), original(model, ids, mask).logits, atol=1e-4, rtol=0
        )


def test_activations_differ_by_more_than_the_tests_allow():
    ids, mask = tiny.batch()
    answers = [
        original(tiny.classifier(hidden_act=name, initializer_range=0.5), ids, mask).logits
        for name in ("gelu", "gelu_new", "relu")
    ]
    assert min((answers[i] - answers[j]).abs().max() for i, j in ((0, 1), (0, 2), (1, 2))) > 5e-4


def test_distilbert_reads_neither_another_activation_nor_another_epsilon():
    model = tiny.classifier("distilbert", hidden_act="relu", layer_norm_eps=0.5)
    ids, mask = tiny.batch()
    with torch.no_grad():
        torch.testing.assert_close(
            conversion.read(model)(ids, mask), original(model, ids, mask).logits, atol=EXACT, rtol=0
        )


def test_an_unknown_family_is_named_with_the_known_ones():
    with pytest.raises(ProfileError, match=r"'gpt2' is not supported \(supported: bert, roberta"):
        families.family_of("gpt2")


TOY = families.Family(
    body="toy",
    layer="blocks.{}",
    modules={
        "qkv": ("query", "key", "value"), "out": ("mixed",), "attention_norm": ("first_norm",),
        "up": ("wider",), "down": ("narrower",), "norm": ("second_norm",),
    },
    heads={"AutoModelForSequenceClassification": HeadLayout("toy.pooler.dense", "classifier", "tanh")},
    sizes={**families.family_of("bert").sizes, "hidden": ("channels", 768), "heads": ("parts", 12)},
    epsilon=1e-12,
    activation="function",
)  # fmt: skip


class Toy:
    """A BERT whose tensors and fields have other names."""

    def __init__(self):
        self.bert = tiny.classifier("bert")
        fields = self.bert.config.to_dict()
        fields |= {"model_type": "toy", "channels": 32, "parts": 4, "function": "gelu"}
        self.config = SimpleNamespace(**fields, to_dict=lambda: fields)
        self.get_submodule = self.bert.get_submodule

    def state_dict(self):
        names: dict[str, str] = {}
        for index in range(3):
            for module, theirs in families.family_of("bert").modules.items():
                names |= {
                    f"bert.encoder.layer.{index}.{old}": f"toy.blocks.{index}.{new}"
                    for old, new in zip(theirs, TOY.modules[module], strict=True)
                }
        tensors = self.bert.state_dict().items()
        return {
            f"{names.get(place) or place.replace('bert', 'toy')}.{kind}": value
            for name, value in tensors
            for place, _, kind in [name.rpartition(".")]
        }


def test_a_family_is_added_by_one_entry(monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "toy", TOY)
    model = Toy()
    ids, mask = tiny.batch()
    with torch.no_grad():
        ours, theirs = conversion.read(model)(ids, mask), original(model.bert, ids, mask).logits
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert tensors(Path("toy"), model.config.to_dict(), outputs=2) == wanted


KINDS = {
    "dense": EmbeddingShape(width=32),
    "factorised": EmbeddingShape(kind="factorised", width=32, rank=5),
    "product": EmbeddingShape(kind="product", width=32, subvectors=4, codewords=16),
}


@pytest.mark.parametrize(
    ("kind", "activation"), [*((kind, "gelu") for kind in KINDS), ("dense", "gelu_tanh")]
)
def test_a_student_saved_as_bert_loads_anywhere_with_the_same_logits(kind, activation, tmp_path, capfd):
    student = tiny.encoder(embedding=KINDS[kind], activation=activation)
    conversion.write_bert(student, ("no", "yes"), pad_id=0).save_pretrained(tmp_path)
    assert not (tmp_path / "pytorch_model.bin").exists()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert loaded.config.id2label == {0: "no", 1: "yes"}
    ids, mask = tiny.batch()
    with torch.no_grad():
        torch.testing.assert_close(student(ids, mask), original(loaded, ids, mask).logits, atol=EXACT, rtol=0)
        again = conversion.read(loaded)
        torch.testing.assert_close(student(ids, mask), again(ids, mask), atol=EXACT, rtol=0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"layers": (LayerShape(heads=4, ffn=64), LayerShape(heads=4, ffn=32))}, False),
        ({"layers": (LayerShape(heads=2, ffn=64),)}, False),
        ({"activation": "gelu_tanh"}, True),
        ({"embedding": EmbeddingShape(width=16)}, False),
        ({"head_activation": "relu"}, False),
        ({"relative_bias": True}, False),
    ],
)
def test_which_shapes_a_bert_can_hold(change, fits):
    assert conversion.fits_bert(tiny.shape(**change)) is fits
