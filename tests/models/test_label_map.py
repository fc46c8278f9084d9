"""Teachers whose labels are mapped to the task's: probabilities are summed, exactly and everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp

from squeeze.errors import ProfileError
from squeeze.models import carve, conversion
from squeeze.models.head_labels import load_head
from squeeze.models.teacher import load_classifier, save_classifier
from tests import tiny

NAMES = ("joy", "anger", "fear", "love", "calm")
MAP = {"joy": "good", "love": "good", "anger": "bad", "*": "other"}
LABELS = ("bad", "good", "other")
GROUPS = ((1,), (0, 3), (2, 4))


def answers(model):
    ids, mask = tiny.batch()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits.numpy()


def expected(logits):
    logs = log_softmax(logits.astype(np.float64), axis=1)
    return np.stack([logsumexp(logs[:, list(group)], axis=1) for group in GROUPS], axis=1)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_several_to_one_is_the_log_of_summed_probabilities(family, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", family, labels=NAMES, initializer_range=0.4)
    theirs = expected(answers(tiny.classifier(family, labels=NAMES, initializer_range=0.4)))
    model = load_classifier(folder, LABELS, untrained_head=False, label_map=MAP)
    np.testing.assert_allclose(answers(model), theirs, atol=1e-4)
    np.testing.assert_allclose(np.exp(answers(model)).sum(1), 1, atol=1e-4)
    # what is stored is the teacher itself, with the map beside it
    save_classifier(model, tmp_path / "member")
    assert load_head(tmp_path / "member").names == NAMES
    again = load_classifier(tmp_path / "member", LABELS, untrained_head=False)
    np.testing.assert_array_equal(answers(again), answers(model))
    # our encoder gives the same, inside and out
    encoder = conversion.read(again)
    ids, mask = tiny.batch()
    with torch.no_grad():
        np.testing.assert_allclose(encoder(ids, mask).numpy(), theirs, atol=1e-4)
        np.testing.assert_allclose(encoder.observe(ids, mask).logits.numpy(), theirs, atol=1e-4)
    assert (encoder.shape.labels, encoder.shape.groups) == (3, GROUPS)


def test_one_to_one_only_reorders(tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", labels=("a", "b", "c"))
    model = load_classifier(
        folder, ("x", "y", "z"), untrained_head=False, label_map={"a": "z", "b": "x", "c": "y"}
    )
    assert model.config.id2label == {0: "x", 1: "y", 2: "z"}
    plain = answers(tiny.classifier(labels=("a", "b", "c")))
    np.testing.assert_array_equal(answers(model), plain[:, [1, 2, 0]])


def test_a_student_starts_with_one_row_a_label(tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", labels=NAMES)
    encoder = conversion.read(load_classifier(folder, LABELS, untrained_head=False, label_map=MAP))
    student = carve.carve(encoder, carve.Cut(**tiny.WHOLE)).eval()
    assert (student.shape.labels, student.shape.groups) == (3, ())
    rows = tiny.classifier(labels=NAMES).classifier
    torch.testing.assert_close(student.head.output.weight[0], rows.weight[1])
    torch.testing.assert_close(student.head.output.weight[1], (rows.weight[0] + rows.weight[3]) / 2)
    bias = (rows.bias[0] + rows.bias[3]) / 2 + np.log(2)
    torch.testing.assert_close(student.head.output.bias[1], bias)
    ids, mask = tiny.batch()
    with torch.no_grad():
        near, exact = student(ids, mask).log_softmax(-1), encoder(ids, mask)
    assert 0 < (near - exact).abs().max() < 0.3
    other = carve.one_row_each(encoder)
    with torch.no_grad():
        torch.testing.assert_close(other(ids, mask).log_softmax(-1), near)
    assert carve.one_row_each(other) is other


def test_a_map_needs_a_head_that_is_read(tmp_path):
    folder = tmp_path / "body"
    tiny.classifier(labels=NAMES).bert.save_pretrained(folder)
    with pytest.raises(ProfileError, match="2 tensors are missing"):
        load_classifier(folder, LABELS, untrained_head=True, label_map=MAP)
    load_classifier(folder, LABELS, untrained_head=True)


def test_a_map_that_was_saved_for_other_labels_is_not_used(tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", labels=NAMES)
    save_classifier(load_classifier(folder, LABELS, untrained_head=False, label_map=MAP), tmp_path / "member")
    with pytest.raises(ProfileError, match="its labels are 'joy', 'anger'"):
        load_classifier(tmp_path / "member", ("up", "down", "flat"), untrained_head=False)
    assert answers(load_classifier(tmp_path / "member", NAMES, untrained_head=False)).shape == (4, 5)


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000])
def test_a_config_that_is_none(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ProfileError, match=r"no readable config\.json"):
        load_head(tmp_path)


def test_a_config_that_contradicts_itself_is_no_matter_for_a_head_that_is_trained(tmp_path):
    folder = tiny.save_classifier(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["label2id"] = {"offer": 1, "request": 0}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ProfileError, match="contradicts itself"):
        load_classifier(folder, tiny.LABELS, untrained_head=False)
    assert answers(load_classifier(folder, tiny.LABELS, untrained_head=True)).shape == (4, 2)
