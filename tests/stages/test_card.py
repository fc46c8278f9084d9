"""The model card: metadata that the hub's own library reads, and nothing told that is not known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from squeeze.artifact import Artifact
from squeeze.models.hub import BUILTIN
from squeeze.stages.export.card import model_card
from squeeze.stages.export.card_data import BASES
from squeeze.stages.export.stage import ExportConfig, ExportResult
from tests.tiny_onnx import quality

LABELS = ("no", "yes: [x](y) 'z' \"w\" #1 \u00e9\U0001f600", "later")
PARITY = {"source": "torch", "rows": 6, "max_abs": 0.0, "mean_abs": 0.0, "agreement": 1.0, "metric_drop": 0.0}
SPLITS = ("validation", "test", "far_away")


def inputs(teacher: Any, data: Any) -> dict[str, Artifact]:
    counts = {name: {"rows": 1200, "per_label": {"no": 1000, "yes": 200}} for name in ("train", *SPLITS)}
    found = {"family": "bert", "parameters": 22_713_603, "quality": {"test": quality()}}
    results = {"teacher": found, "encoder": {"parameters": 4_000_000}, "dataset": {"splits": counts}}
    configs = {"teacher": {"teacher": {"model": teacher}}, "encoder": {}, "dataset": {"data": data}}
    return {
        kind: Artifact(kind, Path("/none"), "0" * 64, {"result": result, "config": configs[kind]})
        for kind, result in results.items()
    }


def card(teacher: Any = "builtin:minilm-l6", labels: tuple[str, ...] = LABELS, **data: Any) -> str:
    sources: dict[str, Any] = {
        "train": "/home/me/secret/train.csv",
        "validation": "/home/me/secret/validation.csv",
    }
    sources |= {
        "test": {"name": "hf:owner/set", "subset": "s"},
        "more_tests": {"far_away": "/home/me/far.csv"},
    }
    config = ExportConfig.parse({"seed": 0, "task": {"labels": labels}, "export": {}})
    forms = {
        form: {
            "file": file,
            "size_bytes": 1000,
            "parity": PARITY,
            "quality": {split: quality(macro_f1=f1) for split in SPLITS},
        }
        for form, file, f1 in (("fp32", "model.onnx", 0.8), ("int8-dynamic", "model.int8.onnx", 0.7912345))
    }
    result = ExportResult.parse({"forms": forms, "tokenizer_bytes": 5, "lengths": [3]})
    return model_card(config, inputs(teacher, {**sources, **data}), result, 64)


def read(text: str) -> Any:
    """The metadata, as the hub's library sees them; it makes up its attributes."""
    return ModelCard(text).data


def test_the_hubs_library_reads_the_metadata():
    data = read(card())
    assert (data.license, data.language, data.base_model) == (
        "apache-2.0",
        ["en"],
        "sentence-transformers/all-MiniLM-L6-v2",
    )
    assert (data.pipeline_tag, data.library_name, data.datasets) == (
        "text-classification",
        "onnx",
        ["owner/set"],
    )
    assert data.model_name == f"Text classifier: {', '.join(LABELS)}"
    results = {(each.dataset_split, each.metric_type): each for each in data.eval_results}
    assert set(results) == {(split, kind) for split in ("test", "far_away") for kind in ("accuracy", "f1")}
    shipped = results["test", "f1"]
    assert (shipped.metric_value, shipped.metric_args) == (0.7912, {"average": "macro"})
    assert (shipped.dataset_type, results["far_away", "f1"].dataset_type) == ("owner/set", "private")


@pytest.mark.parametrize("teacher", ["/home/me/models/teacher", None, 5])
def test_what_is_not_known_is_left_out(teacher):
    text = card(teacher, test="/home/me/test.csv")
    data = read(text)
    assert (data.license, data.language, data.base_model, data.datasets) == (None, None, None, None)
    assert "its license and that of the text bind this model" in text


def test_a_teacher_of_the_hub_is_named_and_its_license_is_not_guessed():
    data = read(card("bert-base-uncased"))
    assert (data.base_model, data.license) == ("bert-base-uncased", None)


def test_no_folder_of_this_machine_is_told():
    text = card("/home/me/models/teacher")
    assert "/home" not in text
    assert "secret" not in text
    assert "- train: 1,200 texts of train.csv (no 1,000, yes 200)" in text


def test_labels_cannot_become_markup():
    text = card(labels=("a", "*b* <script>\n# c | d", "e"))
    body = text.split("---\n", 2)[2]
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert "\\*b\\* \\<script\\> \\# c \\| d" in body


def test_labels_cannot_end_the_metadata():
    labels = ("a\n---\nlicense: x", '"b": c', "d\u2028\x00")
    text = card(labels=labels)
    end = re.search(r"\n---\n", text)
    assert end is not None
    found = yaml.safe_load(text[4 : end.start()])
    names = 'a\\u000a---\\u000alicense: x, "b": c, d\\u2028\\u0000'
    assert found["model-index"][0]["name"] == f"Text classifier: {names}"


def test_the_same_inputs_give_the_same_bytes():
    assert card() == card()


def test_every_built_in_teacher_has_its_origin():
    assert set(BASES) == set(BUILTIN)
