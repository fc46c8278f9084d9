"""A teacher that cuts long texts at their beginning and has an added token: both reach every reader."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from squeeze.models import tokens
from squeeze.predict import feeds
from squeeze.stages.export import run as export
from squeeze.targets import reading
from tests import distilled, tiny
from tests.labelled import predict

README = Path(__file__).resolve().parents[2] / "README.md"
REACH = 12
WORDS = (*tiny.OFFERS, *tiny.REQUESTS, *tiny.COMMON, "<fire>")
TEXTS = [" ".join(np.random.default_rng(seed).choice(WORDS, size=4 + 3 * (seed % 12))) for seed in range(60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the teacher's folder, the bundle, the student's folder); the student has all but the rare pieces."""
    folder = tmp_path_factory.mktemp("left")
    where = distilled.inputs(folder, vocab_size=tiny.VOCABULARY + 1, initializer_range=0.5)
    member = where["teacher"].path / "members" / "0"
    token = {"content": "<fire>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    tiny.save_tokenizer(
        member,
        truncation_side="left",
        added_tokens_decoder={str(tiny.VOCABULARY): {**token, "special": False}},
    )
    where["teacher"] = tiny.artifact(where["teacher"].path, "teacher", where["teacher"].result)
    whole = {"layers": 3, "heads": None, "ffn": None, "vocabulary": {"trim": True, "frequent": 5}}
    settings = distilled.config(whole, [{**distilled.KD, "epochs": 0}])
    task = settings.task.model_copy(update={"max_length": REACH})
    encoder = distilled.distil(settings.model_copy(update={"task": task}), where, folder)
    work = tiny.work(folder, "export")
    loose = {"agreement": 0.5, "metric_drop": 0.5}
    export.run(distilled.export_config(REACH, int8_tolerance=loose), {**where, "encoder": encoder}, work)
    return member, work.out, encoder.path


def labels_of(folder: Path, tokenizer) -> list[str]:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        rows = [tokenizer(t, return_tensors="pt", truncation=True, max_length=REACH) for t in TEXTS]
        answers = [int(model(row["input_ids"], row["attention_mask"]).logits.argmax()) for row in rows]
    return [tiny.LABELS[answer] for answer in answers]


def test_a_bundle_answers_long_texts_as_the_teacher_does(made):
    member, bundle, _ = made
    tokenizer = AutoTokenizer.from_pretrained(member)
    assert tokenizer.truncation_side == "left"
    expected = labels_of(member, tokenizer)
    found = [answer.label for answer in predict(bundle, TEXTS, form="fp32")]
    assert found == expected
    assert len(set(expected)) == 2
    right = AutoTokenizer.from_pretrained(member, truncation_side="right")
    assert labels_of(member, right) != expected  # so the side is seen in the labels


def test_the_added_token_and_the_side_reach_every_reader(made):
    member, bundle, student = made
    auto = AutoTokenizer.from_pretrained(member)
    expected = [
        auto.convert_ids_to_tokens(auto(t, truncation=True, max_length=REACH)["input_ids"]) for t in TEXTS
    ]
    assert any("<fire>" in row for row in expected)
    assert max(map(len, expected)) == REACH
    ours = reading.tokenizer(bundle / "tokenizer.json", REACH)
    assert [ours.encode(text).tokens for text in TEXTS] == expected
    assert [ours.id_to_token(int(row["input_ids"][0, 1])) for row in feeds(bundle, TEXTS)] == [
        row[1] for row in expected
    ]
    alone = Tokenizer.from_file(str(bundle / "tokenizer.json"))  # which cuts by itself
    assert [alone.encode(text).tokens for text in TEXTS] == expected
    again = tokens.make_tokenizer(tokens.read_spec(student), REACH)
    assert [again.encode(text).tokens for text in TEXTS] == expected
    theirs = AutoTokenizer.from_pretrained(student / "transformers")
    assert [theirs.convert_ids_to_tokens(theirs(t, truncation=True)["input_ids"]) for t in TEXTS] == expected


def test_the_snippet_of_the_readme_answers_as_predict_does(made):
    _, bundle, _ = made
    (block,) = re.findall(r"```python\n(import json.*?)```", README.read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    exec(block, scope)
    classify = scope["classify"]
    assert callable(classify)
    expected = [answer.label for answer in predict(bundle, TEXTS, form="int8-dynamic")]
    assert [classify(bundle, text) for text in TEXTS] == expected


def test_the_card_says_which_end_is_lost(made):
    _, bundle, _ = made
    card = (bundle / "MODEL_CARD.md").read_text()
    assert f"at most {REACH} tokens; a longer one loses its beginning." in card


def test_a_tokenizer_that_cuts_at_the_end_is_written_as_before(tmp_path):
    tokens.write_spec(tmp_path / "tokenizer.json", tiny.spec(), 12)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"] is None
