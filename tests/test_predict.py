"""Answers of a tiny bundle."""

from __future__ import annotations

import json

import pytest

from squeeze.errors import Corrupt, DataError, MissingBackend, UsageError
from squeeze.predict import feeds
from tests import tiny_onnx as tiny
from tests.labelled import predict

TEXTS = ["the river rises now", "Smoke burns", "quiet street"]


@pytest.fixture
def loose(tmp_path):
    return tiny.fill_bundle(tmp_path / "bundle")


def test_answers_are_probabilities_over_the_labels(tmp_path):
    answers = predict(tiny.bundle(tmp_path / "bundle").path, TEXTS)
    assert len(answers) == 3
    for answer in answers:
        assert tuple(answer.probabilities) == tiny.LABELS
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)
        assert answer.probability == max(answer.probabilities.values())
    assert [answer.tokens for answer in answers] == [4, 2, 2]


def test_padding_changes_nothing(loose):
    one, three = predict(loose, TEXTS), predict(loose, TEXTS, batch_size=3)
    for alone, together in zip(one, three, strict=True):
        assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
        assert together.tokens == alone.tokens


def test_long_texts_are_cut_and_say_so(loose):
    whole, cut = predict(loose, ["river " * 8, "river " * 9])
    assert (whole.tokens, whole.cut) == (8, False)
    assert (cut.tokens, cut.cut) == (8, True)


def test_the_form_can_be_chosen(loose):
    tiny.classifier(loose / "model.int8.onnx", labels=2)
    assert predict(loose, TEXTS[:1], form="fp32")[0].label in tiny.LABELS
    with pytest.raises(Corrupt, match=r"gives 2 outputs, labels.json has 3"):
        predict(loose, TEXTS[:1])
    with pytest.raises(UsageError, match=r"no form int4; it holds fp32, int8-dynamic"):
        predict(loose, TEXTS[:1], form="int4")


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_text_is_refused_with_its_position(loose, empty):
    with pytest.raises(DataError, match="text 2 of 3 is empty"):
        predict(loose, ["river", empty, "smoke"])


def test_a_text_that_is_not_utf8_is_refused_with_its_position(loose):
    with pytest.raises(DataError, match="text 2 of 2 is not UTF-8") as caught:
        predict(loose, ["river", "a\udcff" * 100])
    assert len(caught.value.message) < 700


def test_no_texts_no_answers(loose):
    assert predict(loose, []) == []


def test_a_single_str_is_one_text_and_a_path_may_be_a_str(loose):
    (answer,) = predict(str(loose), TEXTS[0])
    assert answer == predict(loose, TEXTS[:1])[0]
    assert answer.tokens == 4
    assert predict(loose, iter(TEXTS)) == predict(loose, TEXTS)
    assert [each["input_ids"].shape for each in feeds(loose, TEXTS[0])] == [(1, 4)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["river", None], "text 2 of 2 is NoneType"),
        (b"ab", "text 1 of 2 is int"),
        ([["a"]], "1 of 1 is list"),
    ],
)
def test_what_is_no_str_is_refused_with_its_position(texts, said, loose):
    with pytest.raises(DataError, match=f"{said}, not str"):
        predict(loose, texts)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": -1}, {"threads": 0}])
def test_counts_below_one_are_refused(wrong, loose):
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{name}: {value}, must be at least 1"):
        predict(loose, TEXTS, **wrong)


def test_a_changed_bundle_is_refused(tmp_path):
    folder = tiny.bundle(tmp_path / "bundle").path
    (folder / "labels.json").write_text('{"labels": ["a", "b", "c"], "max_length": 8}')
    with pytest.raises(Corrupt, match=r"labels.json: has changed"):
        predict(folder, TEXTS)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("labels.json", "{}", r"labels.json: labels: Field required"),
        ("labels.json", '{"labels": ["a"], "max_length": 8}', r"labels.json: .*at least 2 items"),
        ("labels.json", '{"labels": ["a", "b", "b"], "max_length": 8}', r"labels.json: .*stand twice: b"),
        (
            "labels.json",
            '{"labels": ["a", "b"], "max_length": 8, "problem_type": "ranking"}',
            r"labels.json: .*'ranking' is none of single_label_classification",
        ),
        (
            "labels.json",
            '{"labels": ["a", "b"], "max_length": 8, "problem_type": "multi_label_classification"}',
            r"labels.json: .*state: threshold is not a number",
        ),
        (
            "labels.json",
            '{"labels": ["a", "b"], "max_length": 8, "problem_type": "regression", "state": {"mean": [1.0]}}',
            r"labels.json: .*state: mean is not a number for each output",
        ),
        ("labels.json", "nonsense", r"labels.json: document: Invalid JSON"),
        ("labels.json", None, r"labels.json: cannot be read"),
        ("tokenizer.json", "[" * 100_000, r"tokenizer.json: not a readable tokenizer"),
        ("tokenizer.json", "nonsense", r"tokenizer.json: not a readable tokenizer"),
        ("tokenizer.json", json.dumps({"model": {"type": "?"}}), r"tokenizer.json: not a readable tokenizer"),
        ("tokenizer.json", None, r"tokenizer.json: not a readable tokenizer"),
    ],
)
def test_parts_that_cannot_be_read(loose, file, content, told):
    if content is None:
        (loose / file).unlink()
    else:
        (loose / file).write_text(content)
    with pytest.raises(Corrupt, match=told):
        predict(loose, TEXTS)


def test_a_model_of_another_kind_is_refused(loose):
    tiny.vision(loose / "model.int8.onnx")
    with pytest.raises(Corrupt, match=r"takes pixels, a bundle's model takes attention_mask, input_ids"):
        predict(loose, TEXTS)


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        predict(tmp_path / "nothing", TEXTS)


def test_a_missing_tokenizers_library(loose, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingBackend, match="tokenizers is not installed"):
        predict(loose, TEXTS)
