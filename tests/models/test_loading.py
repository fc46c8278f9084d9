"""From a name to a folder, from a folder to a classifier, a tokenizer, a student."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import expit, softmax
from transformers import AutoTokenizer

from squeeze.errors import MissingBackend, ProfileError
from squeeze.models import conversion, encoder, hub, inference, storage, tokens
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.models.teacher import average, load_classifier, save_classifier
from tests import tiny

NAME = "builtin:minilm-l6"


def one_line(error):
    assert "\n" not in error.value.message, error.value.message
    return error.value.message


@pytest.fixture
def folder(tmp_path):
    return tiny.save_classifier(tmp_path / "model")


# hub.py


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A stand-in for the package of the built-in model, with weights of another digest."""
    (tmp_path / "p").mkdir()

    class Distribution:
        def locate_file(self, inside):
            return tmp_path / "p"

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    return tmp_path / "p"


def test_the_builtin_model_is_found_and_is_the_published_one():
    name, inside, _ = hub.BUILTIN[NAME]
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed (the extra `demo`)")
    found = hub.resolve(NAME)
    assert found.as_posix().endswith(inside)
    assert name.replace("-", "_") not in sys.modules  # its code is never imported


def test_a_builtin_model_of_another_digest_is_refused(packaged):
    (packaged / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ProfileError, match=r"sha256 is [0-9a-f]{64}, the published model has 53aa51"):
        hub.resolve(NAME)


def test_a_package_without_its_file_says_how_to_mend_it(packaged):
    with pytest.raises(MissingBackend, match="missing from the package") as caught:
        hub.resolve(NAME)
    assert "--force-reinstall" in caught.value.hint


def test_a_missing_package_gives_the_install_line(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingBackend, match="which is not installed") as caught:
        hub.resolve(NAME)
    assert caught.value.hint == "pip install 'squeeze-ondevice[demo]'"


def test_an_unknown_builtin_names_the_known(monkeypatch):
    with pytest.raises(
        ProfileError, match=r"no built-in model 'builtin:none' \(built in: builtin:minilm-l6\)"
    ):
        hub.resolve("builtin:none")


def test_a_folder_is_taken_as_it_is(folder):
    assert hub.resolve(str(folder)) == folder


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "../none", "a/b/c", "~/x", "with blank"])
def test_what_looks_like_a_path_is_never_looked_up(name):
    with pytest.raises(ProfileError, match="no such folder"):
        hub.resolve(name)


def test_a_file_is_no_folder(folder):
    with pytest.raises(ProfileError, match="a file, not a folder"):
        hub.resolve(str(folder / "config.json"))


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path):
    """In a process of its own: the hub's library reads its variables once."""
    code = (
        "from squeeze.models.hub import resolve\nfrom squeeze.errors import MissingBackend\n"
        "try: resolve('nobody/nothing-of-this-name')\n"
        "except MissingBackend as e: print(e.message.count(chr(10)), e.message); print(e.hint)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HOME": str(tmp_path), "PYTHONPATH": str(root), "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said, hint = done.stdout.splitlines()
    assert said.startswith("0 model nobody/nothing-of-this-name: not a folder, and the Hugging Face hub gave")
    assert hint == "check the name, or download it once and give the folder"
    assert done.stderr == ""


def test_the_fingerprint_changes_with_every_file_that_shapes_the_model(folder):
    first = hub.fingerprint(str(folder))
    (folder / "notes.txt").write_text("not part of the model")
    assert hub.fingerprint(str(folder)) == first
    (folder / storage.SHAPE).write_text("{}")  # as in the folder of an earlier student
    first = hub.fingerprint(str(folder))
    for name in ("config.json", storage.SHAPE, "model.safetensors", "tokenizer.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        assert hub.fingerprint(str(folder)) != first
        (folder / name).write_bytes(content)
    assert hub.fingerprint(str(folder)) == first


# teacher.py


def logits(model):
    ids, mask = tiny.batch()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_labels_are_brought_into_our_order_by_name(family, tmp_path):
    tiny.save_classifier(tmp_path, family, labels=("a", "B", "c"))
    theirs = logits(tiny.classifier(family, labels=("a", "B", "c")))
    model = load_classifier(tmp_path, ("c", "a", "b"), untrained_head=False)
    assert not model.training
    torch.testing.assert_close(logits(model), theirs[:, [2, 0, 1]])
    assert model.config.id2label == {0: "c", 1: "a", 2: "b"}
    assert model.config.label2id == {"c": 0, "a": 1, "b": 2}


def test_labels_that_differ_in_case_only_are_matched_exactly(tmp_path):
    tiny.save_classifier(tmp_path, labels=("a", "A"))
    theirs = logits(tiny.classifier(labels=("a", "A")))
    model = load_classifier(tmp_path, ("A", "a"), untrained_head=False)
    torch.testing.assert_close(logits(model), theirs[:, [1, 0]])


def test_labels_without_names_are_taken_in_order(tmp_path):
    tiny.save_classifier(tmp_path, labels=("LABEL_0", "LABEL_1"))
    model = load_classifier(tmp_path, ("x", "y"), untrained_head=False)
    torch.testing.assert_close(logits(model), logits(tiny.classifier()))


@pytest.mark.parametrize("labels", [("x", "y"), ("offer", "request", "other")])
def test_other_labels_need_training(labels, folder):
    with pytest.raises(ProfileError, match="its labels are") as caught:
        load_classifier(folder, labels, untrained_head=False)
    assert "[teacher.finetune]" in caught.value.hint
    one_line(caught)
    assert logits(load_classifier(folder, labels, untrained_head=True)).shape == (4, len(labels))


def test_a_body_without_head_needs_training(tmp_path, folder):
    tiny.classifier().bert.save_pretrained(tmp_path)
    with pytest.raises(
        ProfileError, match=r"2 tensors are missing .* \(classifier.bias, classifier.weight\)"
    ):
        load_classifier(tmp_path, tiny.LABELS, untrained_head=False)
    model = load_classifier(tmp_path, tiny.LABELS, untrained_head=True)
    whole = tiny.classifier().bert.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in model.bert.state_dict().items())


@pytest.mark.parametrize("trained", [True, False])
def test_a_body_of_another_size_is_refused_also_where_a_head_is_to_be_trained(trained, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 70}))
    with pytest.raises(ProfileError, match=r"of another size .*word_embeddings") as caught:
        load_classifier(folder, tiny.LABELS, untrained_head=trained)
    one_line(caught)


def test_pickled_weights_are_never_opened(folder, monkeypatch):
    torch.save(tiny.classifier().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ProfileError, match="only pickled ones, which are never opened") as caught:
        load_classifier(folder, tiny.LABELS, untrained_head=False)
    one_line(caught)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ProfileError, match=r"no safetensors weights\n"):
        load_classifier(folder, tiny.LABELS, untrained_head=False)


@pytest.mark.parametrize("damage", [lambda b: b[:-1000], lambda b: b"x" * len(b), lambda b: b""])
def test_damaged_weights_are_one_line(damage, folder):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ProfileError, match="cannot be loaded as a classifier") as caught:
        load_classifier(folder, tiny.LABELS, untrained_head=False)
    one_line(caught)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '"x"',
        '{"model_type": "zzz"}',
        '{"model_type": "zzz", "auto_map": {"AutoConfig": "code.Config"}}',
        '{"model_type": "bert", "vocab_size": "many"}',
    ],
)
def test_a_bad_config_is_one_line_and_nobody_is_asked(content, folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (folder / "config.json").write_text(content)
    with pytest.raises(ProfileError) as caught:
        load_classifier(folder, tiny.LABELS, untrained_head=False)
    one_line(caught)


def test_another_family_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ProfileError, match="'gpt2' is not supported"):
        load_classifier(folder, tiny.LABELS, untrained_head=False)


def test_transformers_writes_nothing_to_the_terminal(tmp_path, capfd, monkeypatch):
    """Also where its bars and warnings are on and the head is missing."""
    import transformers

    tiny.classifier().bert.save_pretrained(tmp_path)
    transformers.utils.logging.set_verbosity_warning()
    monkeypatch.setattr("transformers.utils.logging._tqdm_active", True)
    transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    chatter = capfd.readouterr()
    assert "Loading weights" in chatter.out + chatter.err  # so there is something to be silent about
    model = load_classifier(tmp_path, ("a", "b"), untrained_head=True)
    save_classifier(model, tmp_path / "again")
    conversion.write_bert(conversion.read(model), ("a", "b"), 0).save_pretrained(tmp_path / "bert")
    assert capfd.readouterr() == ("", "")
    # The report on missing tensors is a warning, on a stream that no test can catch.
    assert transformers.utils.logging.get_verbosity() == logging.ERROR


def test_teachers_are_averaged_in_probability():
    first, second = (np.random.default_rng(i).normal(size=(5, 3)).astype(np.float32) * 4 for i in range(2))
    found = average([first, second + 7.0], [1.0, 3.0], "softmax")
    expected = 0.25 * softmax(first, 1) + 0.75 * softmax(second, 1)
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(average([first], [0.3], "softmax"), np.log(softmax(first, 1)), atol=1e-6)
    assert np.isfinite(
        average([np.array([[0.0, 9000.0]], dtype=np.float32)] * 2, [1.0, 1.0], "softmax")
    ).all()


def test_other_answers_are_averaged_as_what_they_are():
    first, second = (np.random.default_rng(i).normal(size=(5, 3)).astype(np.float32) * 4 for i in range(2))
    found = average([first, second], [1.0, 3.0], "sigmoid")
    np.testing.assert_allclose(expit(found), 0.25 * expit(first) + 0.75 * expit(second), atol=1e-6)
    far = np.array([[800.0, -800.0]], dtype=np.float32)
    np.testing.assert_allclose(average([far, far], [1.0, 3.0], "sigmoid"), far)
    found = average([first, second], [1.0, 3.0], "real")
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * second, atol=1e-6)


# tokens.py


def test_encodings_are_flat_and_keep_every_text():
    rows = tokens.Encodings.of([[5, 6], [], [7]])
    assert (len(rows), rows.lengths.tolist(), rows[0].tolist(), rows[1].tolist(), rows[2].tolist()) == (
        3, [2, 0, 1], [5, 6], [], [7]
    )  # fmt: skip
    assert rows.values.dtype == np.int32
    table = [0] * 5 + [50, 60, 70]
    assert rows.renumber(table).values.tolist() == [50, 60, 70]
    assert len(tokens.Encodings.of([])) == 0


def test_texts_are_cut_and_framed():
    tokenizer = tokens.make_tokenizer(tiny.spec(), 4)
    rows = tokens.encode(tokenizer, ["we need water near the bridge", "food", ""])
    assert rows.lengths.tolist() == [4, 3, 2]
    assert {int(rows[i][0]) for i in range(3)} == {2}
    assert {int(rows[i][-1]) for i in range(3)} == {3}


def test_texts_are_encoded_some_at_a_time(monkeypatch):
    texts = tiny.texts(7)[0]
    tokenizer = tokens.make_tokenizer(tiny.spec(), 6)
    monkeypatch.setattr("squeeze.data.batches.PART", 3)
    found = tokens.encode(tokenizer, texts)
    assert [found[i].tolist() for i in range(len(found))] == [tokenizer.encode(text).ids for text in texts]
    assert len(tokens.encode(tokenizer, [])) == 0


def test_the_padding_and_cutting_of_a_file_are_not_used(tmp_path):
    spec = tiny.spec()
    spec["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    spec["padding"] |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    assert tokens.encode(tokens.make_tokenizer(spec, 8), ["we need water"]).lengths.tolist() == [5]
    tokens.write_spec(tmp_path / "tokenizer.json", spec)
    again = tokens.read_spec(tmp_path)
    assert (again["truncation"], again["padding"]) == (None, None)
    assert again["model"] == spec["model"]
    assert " " not in (tmp_path / "tokenizer.json").read_text()


def cased_spec():
    spec = tiny.spec()
    spec["normalizer"]["lowercase"] = False
    spec["model"]["vocab"] |= {"Water": tiny.VOCABULARY, "W": tiny.VOCABULARY + 1}
    return spec


def bpe_spec():
    added = [{**token, "content": f"<{i}>"} for i, token in enumerate(tiny.spec()["added_tokens"])]
    pieces = [*(token["content"] for token in added), *"Ġwater", "Ġw", "er"]
    merges = [["Ġ", "w"], ["e", "r"]]
    model = {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": added, "pre_tokenizer": byte_level, "model": model}


@pytest.mark.parametrize("make", [tiny.spec, cased_spec, bpe_spec])
def test_a_folder_for_transformers_is_read_as_we_read_it(make, tmp_path):
    spec = make()
    tokenizer = tokens.make_tokenizer(spec, 64)
    student = tiny.encoder(vocabulary=tokenizer.get_vocab_size())
    conversion.write_bert(student, tiny.LABELS, tokens.pad_id(spec)).save_pretrained(tmp_path)
    tokens.write_transformers(tmp_path, spec, max_length=9)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Water", "water", "wer w"):
        assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert (theirs.model_max_length, len(theirs)) == (9, tokenizer.get_vocab_size())
    assert theirs.pad_token_id == (None if make is bpe_spec else tokens.pad_id(spec))


@pytest.mark.parametrize(
    ("content", "pad"), [("[PAD]", 7), ("<pad>", 7), ("PAD", 7), ("[UNK]", 0), ("padding", 0)]
)
def test_the_padding_piece(content, pad):
    assert tokens.pad_id({"added_tokens": [{"id": 7, "content": content}]}) == pad
    assert tokens.pad_id({}) == 0


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": 3}'])
def test_a_bad_tokenizer_file_is_one_line(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ProfileError, match=r"tokenizer\.json: not a") as caught:
        tokens.read_spec(tmp_path)
    one_line(caught)


def test_a_tokenizer_that_the_library_refuses_is_one_line():
    with pytest.raises(ProfileError, match=r"tokenizer\.json: not a tokenizer") as caught:
        tokens.make_tokenizer({"model": {"type": "Nothing"}}, 8)
    one_line(caught)


def test_older_files_become_a_tokenizer(tmp_path):
    vocab = tiny.spec()["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocab))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    tokenizer = tokens.make_tokenizer(tokens.read_spec(tmp_path), 16)
    expected = tokens.make_tokenizer(tiny.spec(), 16)
    text = ["Volunteers bring water."]
    assert tokens.encode(tokenizer, text).values.tolist() == tokens.encode(expected, text).values.tolist()


def test_a_folder_without_tokenizer_is_one_line(tmp_path):
    with pytest.raises(ProfileError, match=r"no tokenizer\.json, and none can be made") as caught:
        tokens.read_spec(tmp_path)
    one_line(caught)


# storage.py and inference.py

SHAPES: dict[str, dict[str, Any]] = {
    "dense": {},
    "factorised": {"embedding": EmbeddingShape(kind="factorised", width=32, rank=5)},
    "product": {"embedding": EmbeddingShape(kind="product", width=32, subvectors=4, codewords=16)},
    "widened": {"embedding": EmbeddingShape(width=16)},
    "uneven": {"layers": (LayerShape(heads=1, ffn=3), LayerShape(heads=3, ffn=8)), "relative_bias": True},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_student_survives_the_disk(kind, tmp_path):
    student = tiny.encoder(**SHAPES[kind])
    storage.save_student(tmp_path / "s", tiny.encoder(seed=7))
    storage.save_student(tmp_path / "s", student)
    loaded = storage.load_student(tmp_path / "s")
    assert not loaded.training
    assert loaded.shape == student.shape
    with torch.no_grad():
        assert torch.equal(loaded(*tiny.batch()), student(*tiny.batch()))
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"encoder.json", "student.safetensors"}


@pytest.mark.parametrize("kind", SHAPES)
def test_with_and_without_a_look_inside_the_logits_are_the_same(kind):
    student = tiny.encoder(**SHAPES[kind])
    ids, mask = tiny.batch()
    depth, sizes = len(student.shape.layers), [layer.heads for layer in student.shape.layers]
    with torch.no_grad():
        expected = student(ids, mask)
        seen = student.observe(ids, mask, inside=True)
        torch.testing.assert_close(seen.logits, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(student.train()(ids, mask), expected, atol=1e-5, rtol=0)
    assert [tuple(state.shape) for state in seen.hidden] == [(4, 11, 32)] * (depth + 1)
    assert [tuple(a.shape) for a in seen.attention] == [(4, heads, 11, 11) for heads in sizes]
    assert [q.shape[-1] for q, _, _ in seen.relations] == [heads * 8 for heads in sizes]
    torch.testing.assert_close(seen.attention[0].sum(-1), torch.ones(4, sizes[0], 11))
    assert not seen.attention[0][1, :, :, 8:].any()  # nobody looks at padding


def test_parameters_count_tables_codes_and_positions():
    dense, product = tiny.encoder(), tiny.encoder(**SHAPES["product"])
    v, p = tiny.VOCABULARY, tiny.POSITIONS
    assert encoder.embedding_parameters(dense) == v * 32 + p * 32
    assert encoder.embedding_parameters(product) == v * 4 + 16 * 32 + p * 32
    assert encoder.parameters(dense) - encoder.parameters(product) == v * 32 - (v * 4 + 16 * 32)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "encoder.json").unlink(), "encoder.json"),
        (lambda f: (f / "student.safetensors").unlink(), "student.safetensors"),
        (lambda f: (f / "encoder.json").write_text("{"), "not a student"),
        (lambda f: (f / "encoder.json").write_text("{}"), "not a student"),
        (lambda f: (f / "student.safetensors").write_bytes(b"x" * 99), "not a student"),
        (lambda f: save_file({"x": torch.zeros(1)}, f / "student.safetensors"), "Missing key"),
    ],
)
def test_what_is_no_student_is_one_line(damage, said, tmp_path):
    storage.save_student(tmp_path, tiny.encoder())
    damage(tmp_path)
    with pytest.raises(ProfileError, match=said) as caught:
        storage.load_student(tmp_path)
    one_line(caught)
    assert caught.value.hint == "needs encoder.json and student.safetensors of one student"


def test_batches_go_from_short_to_long_and_stay_below_the_limit():
    lengths = np.random.default_rng(0).integers(1, 50, size=80)
    batches = list(inference.batches_by_length(lengths, tokens=100))
    assert sorted(np.concatenate(batches).tolist()) == list(range(80))
    assert np.diff(np.concatenate([lengths[rows] for rows in batches])).min() >= 0
    assert max(len(rows) * lengths[rows].max() for rows in batches) <= 100
    assert [rows.tolist() for rows in inference.batches_by_length(np.array([300, 200]), tokens=100)] == [
        [1],
        [0],
    ]


def test_logits_stand_in_the_order_of_the_texts():
    student = tiny.encoder()
    texts, _ = tiny.texts(30)
    rows = tokens.encode(tokens.make_tokenizer(tiny.spec(), 40), texts)
    found = inference.logits(student, rows, 0, 2)
    for index in (0, 17, 29):
        alone = inference.logits(student, tokens.Encodings.of([rows[index].tolist()]), 0, 2)
        np.testing.assert_allclose(found[index], alone[0], atol=1e-5)
    plain = inference.logits(lambda ids, mask: student(ids, mask), rows, 0, 2)
    np.testing.assert_array_equal(found, plain)


def test_a_shape_that_makes_no_sense_is_refused():
    changes: list[dict[str, Any]] = [{"kind": "product", "subvectors": 5}, {"kind": "factorised", "rank": 33}]
    for change in (*changes, {"width": 0}):
        with pytest.raises(ValueError, match=r"divide|larger|greater"):
            EmbeddingShape(**{"width": 32, **change})
    assert conversion.fits_bert(tiny.shape())


def test_copies_of_a_folder_have_one_fingerprint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert hub.fingerprint(str(folder)) == hub.fingerprint(str(tmp_path / "copy"))
