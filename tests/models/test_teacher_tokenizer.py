"""A teacher's tokenizer is AutoTokenizer's, whatever file says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from transformers import AutoTokenizer

from squeeze.errors import ProfileError
from squeeze.models import hub, tokens
from tests import tiny

TEXTS = [
    "WATER the Water",
    "wäter brïdge",
    "水water",
    "a <fire> b",
    "we need water near the bridge today",
    "",
]


def bert(folder, config: dict[str, Any] | None = None, **files: Any):
    """A BERT folder with one vocabulary for all spellings; `files` are JSON documents beside it."""
    folder.mkdir(exist_ok=True)
    tiny.classifier().save_pretrained(folder)
    spec = tiny.spec()
    extra = ["WATER", "Water", "w", "##ä", "##ter", "brïdge", "水", "<", ">", "##水"]
    spec["model"]["vocab"] |= {p: tiny.VOCABULARY + i for i, p in enumerate(extra)}
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    files["tokenizer_config"] = {"tokenizer_class": "BertTokenizer", **(config or {})}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def ids(folder, reach: int = 6) -> list[list[int]]:
    rows = tokens.load_tokenizer(folder).encode(TEXTS, reach)
    return [rows[i].tolist() for i in range(len(rows))]


TOKEN = {"content": "<fire>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
NUMBER = tiny.VOCABULARY + 10
KINDS: dict[str, dict[str, Any]] = {
    "do_lower_case": {"config": {"do_lower_case": False}},
    "strip_accents": {"config": {"strip_accents": False}},
    "tokenize_chinese_chars": {"config": {"tokenize_chinese_chars": False}},
    "truncation_side": {"config": {"truncation_side": "left"}},
    "added_tokens_decoder": {"config": {"added_tokens_decoder": {str(NUMBER): {**TOKEN, "special": False}}}},
    "added_tokens": {"added_tokens": {"<fire>": NUMBER}},
    "special_tokens_map": {"special_tokens_map": {"mask_token": "<fire>"}},
    "extra_special_tokens": {"config": {"extra_special_tokens": ["<fire>"]}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_of_a_tokenizer_counts(kind, tmp_path):
    plain, folder = bert(tmp_path / "plain"), bert(tmp_path / "changed", **KINDS[kind])
    auto = AutoTokenizer.from_pretrained(folder)
    expected = [auto(text, truncation=True, max_length=6)["input_ids"] for text in TEXTS]
    assert ids(folder) == expected
    assert ids(plain) != expected
    assert hub.fingerprint(str(folder)) != hub.fingerprint(str(plain))


@pytest.mark.parametrize("kind", KINDS)
def test_what_ships_cuts_as_the_teacher_does(kind, tmp_path):
    folder = bert(tmp_path / "teacher", **KINDS[kind])
    spec = tokens.read_spec(folder)
    tokens.write_spec(tmp_path / "tokenizer.json", spec, 6)
    again = tokens.make_tokenizer(tokens.read_spec(tmp_path), 6)
    assert [again.encode(text).ids for text in TEXTS] == ids(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_the_files_is_the_same_tokenizer(kind, tmp_path):
    folder = bert(tmp_path / "teacher", **KINDS[kind])
    tokenizer = tokens.load_tokenizer(folder)
    other = tmp_path / "copy"
    tiny.classifier().save_pretrained(other)
    tokenizer.copy(other)
    assert tokens.load_tokenizer(other).spec == tokenizer.spec
    assert not {path.name for path in other.iterdir()} - {path.name for path in folder.iterdir()}


def test_a_prefix_space_of_roberta_counts(tmp_path):
    """Where the class of the family builds the tokenizer of vocab.json and merges.txt."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"watere", "Ġw", "wa", "Ġwa", "Ġ"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    found = []
    for space in (False, True):
        folder = tmp_path / str(space)
        tiny.classifier("roberta").save_pretrained(folder)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\nw a\nĠ w\nĠ wa\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": space}))
        auto = AutoTokenizer.from_pretrained(folder)
        found.append(tokens.load_tokenizer(folder).encode(["water"], 16)[0].tolist())
        assert found[-1] == auto("water")["input_ids"]
        shipped = tokens.make_tokenizer(tokens.read_spec(folder), 16)
        assert shipped.encode("water").ids == found[-1]
    assert found[0] != found[1]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_folder_without_vocabulary_is_refused(family, tmp_path):
    """For which transformers makes a tokenizer of the special pieces alone."""
    tiny.classifier(family).save_pretrained(tmp_path)
    with pytest.raises(ProfileError, match=r"no tokenizer\.json, and none can be made"):
        tokens.load_tokenizer(tmp_path)


def test_special_tokens_that_are_split_are_refused(tmp_path):
    with pytest.raises(ProfileError, match="split_special_tokens"):
        tokens.load_tokenizer(bert(tmp_path / "teacher", {"split_special_tokens": True}))


def test_a_text_in_segment_one_is_refused(tmp_path):
    names = ["input_ids", "token_type_ids", "attention_mask"]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names}
    folder = bert(tmp_path / "teacher", settings)
    spec = json.loads((folder / "tokenizer.json").read_text())
    frame = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 1}}]
    pieces = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    spec["post_processor"] = {"type": "TemplateProcessing", "single": frame, "pair": frame}
    spec["post_processor"]["special_tokens"] = pieces
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ProfileError, match="segment 1"):
        tokens.load_tokenizer(folder)


def test_a_tokenizer_in_python_is_refused(tmp_path, monkeypatch):
    folder = bert(tmp_path / "teacher")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: object())
    with pytest.raises(ProfileError, match=r"\(object\) has no form as a tokenizer\.json"):
        tokens.load_tokenizer(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": 3}'])
def test_a_bad_tokenizer_file_of_a_teacher_is_one_line(content, tmp_path):
    folder = bert(tmp_path / "teacher")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ProfileError, match="its tokenizer cannot be loaded") as caught:
        tokens.load_tokenizer(folder)
    assert len(caught.value.message.splitlines()) == 1
