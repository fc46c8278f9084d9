from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from squeeze.errors import ProfileError
from squeeze.models import support
from squeeze.models.teacher import load_classifier
from tests import tiny

SHARED = Path(__file__).resolve().parents[2] / "../shared/faults"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_config_that_the_library_writes_is_supported(family, tmp_path):
    tiny.save_classifier(tmp_path, family)
    config = json.loads((tmp_path / "config.json").read_text())
    assert support.config_problem(config) is None
    assert support.config_problem({"model_type": family}) is None  # defaults


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "names no model_type"),
        ({"hidden_size": 3}, "names no model_type"),
        ({"model_type": "gpt2"}, "'gpt2' is not supported (supported: bert, roberta"),
        ({"model_type": "bert", "auto_map": {"AutoModel": "code.Own"}}, "(auto_map), which is never run"),
        ({"model_type": "bert", "quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "bert", "is_decoder": True}, "left to right"),
        ({"model_type": "electra", "add_cross_attention": True}, "add_cross_attention"),
        ({"model_type": "bert", "pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"model_type": "roberta", "position_embedding_type": "relative_key"}, "'relative_key'"),
        ({"model_type": "mpnet", "relative_attention_num_buckets": 16}, "MPNet reads 32"),
        ({"model_type": "bert", "hidden_act": "silu"}, "activation 'silu'"),
        ({"model_type": "bert", "hidden_act": None}, "activation None"),
        ({"model_type": "distilbert", "activation": "quick_gelu"}, "activation 'quick_gelu'"),
        ({"model_type": "bert", "num_hidden_layers": 0}, "at least one layer"),
        ({"model_type": "distilbert", "n_layers": 0}, "at least one layer"),
        ({"model_type": "electra", "type_vocab_size": 0}, "at least one segment"),
        (
            {"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4},
            "hidden_size 30 is not a multiple",
        ),
        ({"model_type": "distilbert", "dim": 30, "n_heads": 4}, "dim 30 is not a multiple of n_heads 4"),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id is missing, and RoBERTa counts"),
        ({"model_type": "xlm-roberta", "pad_token_id": -2}, "none is negative"),
        ({"model_type": "bert", "pad_token_id": 99, "vocab_size": 99}, "the table has 99 rows"),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "leaves the first 2 out"),
        ({"model_type": "mpnet", "max_position_embeddings": 2}, "leaves the first 2 out"),
        ({"model_type": "bert", "layer_norm_eps": 0}, "layer_norm_eps 0"),
        ({"model_type": "bert", "layer_norm_eps": float("nan")}, "layer_norm_eps nan"),
    ],
)
def test_what_cannot_be_read_exactly_has_one_line(config, message):
    found = support.config_problem(config)
    assert found is not None
    assert message in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "distilbert", "hidden_act": "silu", "layer_norm_eps": 0},  # it reads neither
        {"model_type": "bert", "pad_token_id": None},
        {"model_type": "mpnet", "pad_token_id": None},
        {"model_type": "mpnet", "relative_attention_num_buckets": 64},
        {"model_type": "bert", "problem_type": "single_label_classification"},
        {"model_type": "bert", "auto_map": {"AutoTokenizer": ["code.Own", None]}},
        {"model_type": "roberta", "pad_token_id": -1},
    ],
)
def test_what_is_harmless_is_not_refused(config):
    assert support.config_problem(config) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["bert.embeddings.word_embeddings.weight", "classifier.bias"])
def test_weights_that_are_not_finite_are_named(name, value, tmp_path):
    model = tiny.classifier()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[1] = value
    model.save_pretrained(tmp_path)
    for trained in (False, True):
        with pytest.raises(ProfileError, match=f"{name} holds {'NaN' if value != value else 'infinity'}"):
            load_classifier(tmp_path, tiny.LABELS, untrained_head=trained)


def test_settings_of_how_the_library_runs_a_model_change_nothing(tmp_path):
    tiny.save_classifier(tmp_path)
    path = tmp_path / "config.json"
    changed = {"chunk_size_feed_forward": 7, "return_dict": False, "output_hidden_states": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    model = load_classifier(tmp_path, tiny.LABELS, untrained_head=False)
    ids, mask = tiny.batch(length=11)
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask)
        expected = tiny.classifier()(input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.hidden_states is None


def test_the_check_loads_nothing_heavy():
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys; import squeeze.models.support; print(sorted({heavy}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("roberta_pad_null", "pad_token_id is missing, and RoBERTa counts positions from it"),
        ("multi_label_teacher", "its head is made for multi_label_classification"),
        ("nan_teacher", "bert.encoder.layer.0.output.dense.bias holds NaN"),
    ],
)
def test_faults_of_the_field_are_refused(fault, message, tmp_path):
    if not (SHARED / fault).is_dir():
        pytest.skip("../shared/faults is not here")
    folder = shutil.copytree(SHARED / fault / "teacher", tmp_path / "teacher")
    with pytest.raises(ProfileError, match=message):
        load_classifier(
            folder,
            ("flood", "fire", "music"),
            untrained_head=False,
            problem_type="single_label_classification",
        )
