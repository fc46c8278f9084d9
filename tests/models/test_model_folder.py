"""What looks like a model's folder and is none."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from squeeze.errors import ProfileError
from squeeze.models import hub
from squeeze.models.model_folder import refuse_unloadable, weight_names
from tests import tiny


@pytest.fixture
def folder(tmp_path):
    return tiny.save_classifier(tmp_path / "model")


def refusal(folder):
    with pytest.raises(ProfileError) as caught:
        hub.resolve(str(folder))
    assert "\n" not in caught.value.message
    return caught.value.message, caught.value.hint


def rename(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file({change(name): value for name, value in weights.items()}, folder / "model.safetensors")


def test_a_whole_model_is_resolved(folder):
    assert hub.resolve(str(folder)) == folder
    assert "bert.embeddings.word_embeddings.weight" in weight_names(folder)


@pytest.mark.parametrize("config", [True, False])
def test_an_adapter_is_named_with_its_base(tmp_path, config):
    if config:
        (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    save_file({"base_model.model.x.lora_A.weight": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    message, hint = refusal(tmp_path)
    assert message == f"{tmp_path}: a PEFT adapter of org/base, not a whole model"
    assert "merge_and_unload()" in hint


def test_an_adapter_beside_whole_weights_is_refused(folder):
    (folder / "adapter_config.json").write_text("[]")
    message, hint = refusal(folder)
    assert message == f"{folder}: a PEFT adapter, not a whole model"
    assert "remove adapter_config.json" in hint


def test_adapter_weights_inside_a_model_are_refused(folder):
    rename(folder, lambda name: name.replace("query.weight", "query.lora_A.weight"))
    assert refusal(folder)[0].endswith("a PEFT adapter, not a whole model")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_fsdp_wrapped_module."])
def test_weights_of_a_wrapped_model_are_named(folder, prefix):
    rename(folder, lambda name: prefix + name)
    message, hint = refusal(folder)
    assert message.endswith(f"every name begins with '{prefix}'")
    assert f"strip '{prefix}' from the names" in hint


def test_one_weight_called_like_a_wrapper_is_no_wrapped_model(folder):
    rename(folder, lambda name: "module.x" if name == "classifier.bias" else name)
    refuse_unloadable(folder)


def test_a_sentence_transformers_folder_names_its_encoder(tmp_path):
    inner = tiny.save_classifier(tmp_path / "0_Transformer")
    modules = [{"path": "0_Transformer", "type": "Transformer"}, {"path": "1_Pooling", "type": "Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    message, hint = refusal(tmp_path)
    assert message == f"{tmp_path}: a sentence-transformers model, its encoder lies in 0_Transformer"
    assert hint.startswith(f"give {inner}; it has no classification head")


@pytest.mark.parametrize("content", ["[]", "{}", '[{"path": 3}, 4]', "[" * 100_000, "\xff"])
def test_a_broken_list_of_modules_ends_in_a_line(tmp_path, content):
    (tmp_path / "modules.json").write_text(content, encoding="latin-1")
    assert refusal(tmp_path)[0].endswith("a sentence-transformers model, it has no config.json")


def test_a_sentence_transformers_folder_with_its_config_is_a_model(folder):
    (folder / "modules.json").write_text("[]")
    assert hub.resolve(str(folder)) == folder


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"\xff\xff"]
)
def test_a_broken_header_has_no_names(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weight_names(tmp_path) == frozenset()
    refuse_unloadable(tmp_path)  # whoever loads the weights says what is wrong


def test_no_torch_is_loaded_for_it():
    import subprocess

    code = "import sys, squeeze.models.model_folder; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
