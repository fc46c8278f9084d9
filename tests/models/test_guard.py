"""Readers that are broken on purpose: each of them must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from squeeze.data.table import Table
from squeeze.errors import ProfileError
from squeeze.models import conversion, guard, tokens
from squeeze.models.encoder import ACTIVATIONS, Encoder
from squeeze.models.teacher import load_classifier
from tests import tiny

PLAIN = tuple(tiny.texts(60)[0])  # no piece is unknown
LONG = " ".join(["we need water near the bridge"] * 8)
TEXTS = (*PLAIN, "WATER for the Bridge", "wäter near the brïdge", "water <fire> food", LONG)


def table(texts: tuple[str, ...] = TEXTS) -> Table:
    return Table(texts, None, tuple(range(2, len(texts) + 2)), "train.csv")


def prove(folder, *, trained: bool = False, texts: tuple[str, ...] = TEXTS, change: Any = None) -> Any:
    model = load_classifier(folder, tiny.LABELS, untrained_head=trained)
    tokenizer = tokens.load_tokenizer(folder)
    if change is not None:
        tokenizer = replace(tokenizer, spec=change(json.loads(json.dumps(tokenizer.spec))))
    return guard.prove(folder, model, tokenizer, table(texts), 24)


@pytest.fixture
def folder(tmp_path):
    tiny.save_classifier(tmp_path, initializer_range=0.5)
    added = [*tiny.spec()["added_tokens"]]
    added.append({**added[-1], "id": tiny.VOCABULARY - 1, "content": "<fire>", "special": False})
    spec = tiny.spec()
    spec["model"]["vocab"] = {("<fire>" if p == "wat" else p): i for p, i in spec["model"]["vocab"].items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**spec, "added_tokens": added}))
    return tmp_path


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_whole_reader_passes(family, trained, tmp_path):
    tiny.save_classifier(tmp_path, family, initializer_range=0.5)
    warned = prove(tmp_path, trained=trained, texts=PLAIN)
    assert all("pad_token_id is the piece '[UNK]'" in line for line in warned)
    assert len(warned) == (family in ("roberta", "xlm-roberta", "mpnet"))


def swapped(encoder: Encoder) -> None:
    for layer in encoder.layers:
        q, k, v = layer.qkv.weight.chunk(3)  # type: ignore[union-attr, operator]
        layer.qkv.weight.copy_(torch.cat([k, q, v]))  # type: ignore[union-attr, operator]


def shifted(encoder: Encoder) -> None:
    encoder.position_embeddings.copy_(encoder.position_embeddings.roll(1, 0))


def other_activation(name: str) -> Callable[[Encoder], None]:
    def change(encoder: Encoder) -> None:
        for layer in encoder.layers:
            layer.activation = ACTIVATIONS[name]  # type: ignore[index, assignment]

    return change


def other_head(encoder: Encoder) -> None:
    encoder.head.activation = torch.relu


def other_epsilon(encoder: Encoder) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3


def other_labels(encoder: Encoder) -> None:
    encoder.head.output.weight.copy_(encoder.head.output.weight.flip(0))


def one_bias(encoder: Encoder) -> None:
    encoder.layers[0].up.bias.zero_()  # type: ignore[union-attr, operator]


BROKEN = {
    "q and k swapped": swapped,
    "positions shifted": shifted,
    "relu": other_activation("relu"),
    "tanh form of gelu": other_activation("gelu_tanh"),
    "relu in the head": other_head,
    "epsilon": other_epsilon,
    "labels": other_labels,
    "a bias forgotten": one_bias,
}


def break_reader(monkeypatch: pytest.MonkeyPatch, change: Callable[[Encoder], None]) -> None:
    """Let every copy of a teacher be changed after it is read."""
    whole = conversion.read

    def broken(model: Any, **more: Any) -> Encoder:
        copy = whole(model, **more)
        with torch.no_grad():
            change(copy)
        return copy

    monkeypatch.setattr(conversion, "read", broken)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_copy_is_refused(kind, trained, folder, monkeypatch):
    break_reader(monkeypatch, BROKEN[kind])
    with pytest.raises(ProfileError, match=r"train\.csv: row \d+ .*: the copy .* answers \[.*transformers"):
        prove(folder, trained=trained)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_is_guarded(family, tmp_path, monkeypatch):
    tiny.save_classifier(tmp_path, family, initializer_range=0.5)
    break_reader(monkeypatch, shifted)
    with pytest.raises(ProfileError, match="the copy that students are carved from answers"):
        prove(tmp_path, texts=PLAIN)


def cased(spec: dict[str, Any]) -> dict[str, Any]:
    spec["normalizer"]["lowercase"] = False
    spec["normalizer"]["strip_accents"] = True
    return spec


def accents(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "normalizer": {**spec["normalizer"], "strip_accents": False}}


def no_added_token(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "added_tokens": spec["added_tokens"][:-1]}


def no_frame(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "post_processor": None}


def cut_left(spec: dict[str, Any]) -> dict[str, Any]:
    side = {"direction": "Left", "max_length": 24, "strategy": "LongestFirst", "stride": 0}
    return {**spec, "truncation": side}


def other_numbers(spec: dict[str, Any]) -> dict[str, Any]:
    vocabulary = spec["model"]["vocab"]
    vocabulary["water"], vocabulary["food"] = vocabulary["food"], vocabulary["water"]
    return spec


CUT = {
    "lower case": (cased, r"row 62 \('WATER for the Bridge'\)"),
    "accents": (accents, r"row 63 "),
    "added token": (no_added_token, r"row 64 \('water <fire> food'\)"),
    "special pieces": (no_frame, r"row 2 "),
    "side": (cut_left, r"row 65 .*\.\.\."),
    "numbers": (other_numbers, r"row \d+"),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_broken_tokenizer_is_refused_with_the_first_text(kind, folder):
    assert prove(folder) == ()
    change, row = CUT[kind]
    with pytest.raises(ProfileError, match=rf"train\.csv: {row}.*: the tokenizer that would ship") as caught:
        prove(folder, change=change)
    assert "AutoTokenizer gives" in caught.value.message
    assert "please report it" in caught.value.hint


def test_a_shipped_tokenizer_that_cuts_right_is_refused_where_the_teacher_cuts_left(folder):
    tiny.save_tokenizer(folder, truncation_side="left")
    assert prove(folder) == ()
    with pytest.raises(ProfileError, match="row 65"):
        prove(folder, change=lambda spec: {**spec, "truncation": None})


def test_answers_that_overflow_are_refused(folder):
    model = tiny.classifier()
    with torch.no_grad():
        model.classifier.weight.fill_(3e38)
    model.save_pretrained(folder)
    with pytest.raises(ProfileError, match=r"train\.csv: row \d+ .*: its answers are not finite"):
        prove(folder)


def test_a_small_difference_passes_and_a_larger_one_does_not():
    theirs = np.array([[0.5, -0.5], [200.0, 1.0]], dtype=np.float32)
    found = guard.largest_difference(theirs, theirs + np.array([[9e-5, 0], [0.01, 0]], dtype=np.float32))
    np.testing.assert_allclose(found, [9e-5, 5e-5], rtol=0.01)


def test_large_models_are_compared_on_fewer_texts(monkeypatch):
    encoded = tokens.Encodings.of([[1] * (5 + row % 7) for row in range(1000)])
    rows = np.arange(1000)
    assert len(guard._chosen(encoded, 10_000_000, rows)) == guard.ROWS
    few = guard._chosen(encoded, 300_000_000, rows)
    assert guard.LEAST < len(few) < guard.ROWS
    assert len(guard._chosen(encoded, 10**13, rows)) == guard.LEAST
    assert set(few) <= set(rows)
    assert encoded.lengths[few].max() == 11  # the longest is among them
    assert len(guard._chosen(encoded, 1, rows[:0])) == 0


# RoBERTa and MPNet do not count the position of one piece.


def roberta(folder, pad: int, tokenizer: dict[str, Any], family: str = "roberta") -> None:
    sizes: dict[str, Any] = {"pad_token_id": pad, "max_position_embeddings": 100}
    tiny.classifier(family, initializer_range=0.5, **sizes).save_pretrained(folder)
    spec = tiny.spec()
    names = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4} | tokenizer
    spec["model"]["vocab"] = {**spec["model"]["vocab"], **names}
    for token in spec["added_tokens"]:
        token["id"] = names[token["content"]]
    spec["post_processor"] = {**spec["post_processor"], "sep": ["[SEP]", names["[SEP]"]]}
    spec["post_processor"]["cls"] = ["[CLS]", names["[CLS]"]]
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def own_answers(folder, texts) -> torch.Tensor:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        rows = [tokenizer(t, return_tensors="pt", truncation=True, max_length=24) for t in texts]
        return torch.cat([model(row["input_ids"], row["attention_mask"]).logits for row in rows])


def test_a_first_piece_that_is_not_counted_is_computed(tmp_path):
    """`<pad>` is 0, `<s>` is 1, and the config keeps RoBERTa's default of 1."""
    roberta(tmp_path, 1, {"[CLS]": 1, "[UNK]": 2})
    expected = own_answers(tmp_path, TEXTS)
    assert prove(tmp_path) == ()
    model = load_classifier(tmp_path, tiny.LABELS, untrained_head=False)
    tokenizer = tokens.load_tokenizer(tmp_path)
    before = conversion.shape_of(model).positions
    assert guard.settle_positions(tmp_path, model, tokenizer) == {0, 1}
    assert conversion.shape_of(model).positions == before + 1
    model.save_pretrained(tmp_path / "again")
    again = load_classifier(tmp_path / "again", tiny.LABELS, untrained_head=False)
    rows = tokenizer.encode(TEXTS, 24)
    for one in (model, again, conversion.read(model)):
        runs = one if isinstance(one, Encoder) else guard.Logits(one)
        with torch.no_grad():
            found = torch.cat(
                [
                    runs(
                        torch.tensor(rows[i][None].astype(np.int64)),
                        torch.ones(1, len(rows[i]), dtype=torch.long),
                    )
                    for i in range(len(rows))
                ]
            )
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("family", "pad", "numbers", "message"),
    [
        ("roberta", 3, {}, r"pad_token_id 3 is the piece '\[SEP\]' .* stands in every text"),
        ("roberta", 2, {"[PAD]": 0}, r"pad_token_id 2 is the piece '\[CLS\]' .* stands in every text"),
        ("mpnet", 1, {"[CLS]": 1, "[UNK]": 2}, r"is the piece '\[CLS\]' .* stands in every text"),
        ("roberta", tiny.spec()["model"]["vocab"]["water"], {}, r"is the piece 'water' .* row 2 .* holds"),
    ],
)
def test_a_common_piece_that_is_not_counted_is_refused(family, pad, numbers, message, tmp_path):
    roberta(tmp_path, pad, numbers, family)
    with pytest.raises(ProfileError, match=message):
        prove(tmp_path, texts=("we need water", *TEXTS))


def test_padding_inside_a_text_is_warned_of(tmp_path):
    roberta(tmp_path, 0, {})
    assert prove(tmp_path) == ()
    (line,) = prove(tmp_path, texts=("we need water", "we [PAD] need water", *TEXTS))
    assert "1 of 66 texts hold '[PAD]', first train.csv: row 3 ('we [PAD] need water')" in line
    assert "does not count the position" in line
    tiny.save_classifier(tmp_path / "bert", "bert")  # which counts every piece
    assert prove(tmp_path / "bert", texts=("we [PAD] need water", *TEXTS)) == ()
