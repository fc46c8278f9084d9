"""Teachers as config.json and headers describe them: what is said without torch is what is loaded with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from squeeze.errors import MissingBackend, ProfileError
from squeeze.models import conversion, headers
from squeeze.models.families import family_of
from squeeze.models.model_folder import read_config
from squeeze.models.outline import outline
from squeeze.models.teacher import load_classifier
from tests import tiny

LABELS = len(tiny.LABELS)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.save_classifier(tmp_path_factory.mktemp("bert"))


def seen(folder: Path, outputs: int | None = LABELS) -> Any:
    return outline(folder, read_config(folder), LABELS, outputs)


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_shape_is_that_of_the_loaded_model(family, tmp_path):
    folder = tiny.save_classifier(tmp_path, family)
    loaded = conversion.shape_of(load_classifier(folder, tiny.LABELS, untrained_head=False))
    assert seen(folder) == loaded.model_copy(update={"epsilon": seen(folder).epsilon})


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_a_config_leaves_out_is_what_the_library_takes(family):
    from transformers import AutoConfig

    config = AutoConfig.for_model(family)
    sizes = dict(family_of(family).sizes.values())
    assert {key: getattr(config, key) for key in sizes} == sizes


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_model_without_its_head_teaches_only_where_one_is_trained(family, tmp_path):
    tiny.classifier(family).base_model.save_pretrained(tmp_path)
    assert seen(tmp_path, None).hidden == 32
    with pytest.raises(ProfileError) as told:
        seen(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    named = {"id2label": dict(enumerate(tiny.LABELS)), "label2id": {n: i for i, n in enumerate(tiny.LABELS)}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **named}))
    with pytest.raises(ProfileError) as loaded:
        load_classifier(tmp_path, tiny.LABELS, untrained_head=False)
    assert str(told.value) == str(loaded.value)


def test_norms_may_have_the_names_that_tensorflow_gave_them(bert, tmp_path):
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(bert / "model.safetensors").items()
    }
    save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
    assert seen(tmp_path) == seen(bert)
    load_classifier(tmp_path, tiny.LABELS, untrained_head=False)


def test_a_model_in_several_files(bert, tmp_path):
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    weights = load_file(bert / "model.safetensors")
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, some in parts.items():
        save_file({name: weights[name] for name in some}, tmp_path / file, {"format": "pt"})
    index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
    (tmp_path / headers.INDEX).write_text(json.dumps(index))
    assert seen(tmp_path) == seen(bert)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(MissingBackend, match=r"b\.safetensors: missing, model\.safetensors\.index\.json"):
        seen(tmp_path)


@pytest.mark.parametrize("index", [b"", b"[]", b"{}", b'{"weight_map": []}', b"[" * 5000, b" " * 10_000_001])
def test_an_index_that_cannot_be_followed(index, tmp_path):
    (tmp_path / headers.INDEX).write_bytes(index)
    with pytest.raises(ProfileError, match="not an index of weights"):
        headers.sizes(tmp_path)


@pytest.mark.parametrize("name", ["../x.safetensors", "sub/x.safetensors", "..", ""])
def test_an_index_names_files_of_its_own_folder(name, tmp_path):
    (tmp_path / headers.INDEX).write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ProfileError, match="which is no file of this folder"):
        headers.sizes(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, "no safetensors weights"),
        ("pytorch_model.bin", "no safetensors weights, only pickled ones, which are never opened"),
        (
            "adapter.safetensors",
            "no safetensors weights; it has adapter.safetensors, which no model is loaded",
        ),
    ],
)
def test_weights_that_are_not_there(file, said, tmp_path):
    if file:
        (tmp_path / file).touch()
    with pytest.raises(ProfileError, match=said):
        headers.sizes(tmp_path)


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"[" * 3000, "its header is not JSON"),
        (b"\xff\xff", "its header is not JSON"),
        ([], "its header is no table"),
        ({"w": 1}, "w has no shape"),
        ({"w": {**GOOD, "shape": [-1]}}, "w has no shape or no place"),
        ({"w": {**GOOD, "shape": [True]}}, "w has no shape or no place"),
        ({"w": {**GOOD, "shape": None}}, "w has no shape or no place"),
        ({"w": {**GOOD, "data_offsets": [8, 0]}}, "w has no shape or no place"),
        ({"w": {**GOOD, "data_offsets": [0]}}, "w has no shape or no place"),
        ({"w": {**GOOD, "data_offsets": [0, 16]}}, "it ends early, w lies behind its end"),
        ({"w": {**GOOD, "shape": [3]}}, "w has another size than its shape"),
    ],
)
def test_headers_that_are_none(header, said, tmp_path):
    path = write(tmp_path / "model.safetensors", header, bytes(8))
    with pytest.raises(ProfileError, match=said) as caught:
        headers.header(path)
    assert caught.value.message.startswith(f"{path}: not a readable safetensors file")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\xff" * 100, (10**9).to_bytes(8, "little") + bytes(50)]
)
def test_a_header_that_would_not_fit(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ProfileError, match=r"its header would have \d+ bytes"):
        headers.header(tmp_path / "model.safetensors")


def test_a_header_is_read_as_it_stands(tmp_path):
    unknown = {"dtype": "F4", "shape": [7], "data_offsets": [8, 12]}
    path = write(tmp_path / "a.safetensors", {"__metadata__": {"a": "b"}, "w": GOOD, "x": unknown}, bytes(12))
    assert headers.header(path) == {"w": (2,), "x": (7,)}
    with pytest.raises(ProfileError, match="cannot be read"):
        headers.header(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": "32"}, "hidden_size 32 is no whole number from 1"),
        ({"hidden_size": 10**30}, "hidden_size 1000000000000000000000000000000 is no whole number"),
        ({"vocab_size": True}, "vocab_size True is no whole number"),
        ({"num_hidden_layers": 10**6}, "1000000 layers, at most 1,000 are read"),
        ({"num_hidden_layers": 4}, r"16 tensors are missing .* \(bert.encoder.layer.3.attention.output"),
        ({"num_attention_heads": 5}, "not a multiple of"),
        ({"vocab_size": 50}, r"1 tensors are missing .* \(bert.embeddings.word_embeddings.weight\)"),
        ({"model_type": "gpt2"}, "teacher family 'gpt2' is not supported"),
    ],
)
def test_a_config_that_does_not_fit_its_weights(change, said, bert, tmp_path):
    config = json.loads((bert / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    (tmp_path / "model.safetensors").symlink_to(bert / "model.safetensors")
    with pytest.raises(ProfileError, match=said):
        seen(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "no readable config.json: Expecting"),
        (b"[]", "no readable config.json: not a JSON object"),
        (b"[" * 100_000, "no readable config.json: maximum recursion"),
        (b" " * 4_000_001, "no readable config.json: more than 4,000 kB"),
        (None, "no readable config.json: .*No such file"),
    ],
)
def test_a_config_that_is_none(content, said, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ProfileError, match=said):
        read_config(tmp_path)
