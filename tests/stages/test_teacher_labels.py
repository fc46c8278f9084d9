"""Whose label is whose: a teacher that is right by construction, under other names and in other orders."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification

from squeeze.data.dataset import write_split, write_unlabelled
from squeeze.errors import ProfileError
from squeeze.models import tokens
from squeeze.models.inference import logits
from squeeze.progress import Silent
from squeeze.stages.teacher import STAGE
from squeeze.stages.teacher import labels as teacher_labels
from squeeze.stages.teacher.stage import HeadsConfig, PreflightConfig, TeacherConfig
from tests import tiny

COUNT = 12
NUMBERS = [str(i) for i in range(COUNT)]
AS_TEXT = sorted(NUMBERS)
NAMES = [f"kind {letter}" for letter in "abcdefghijkl"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """(folder of a model with 12 outputs LABEL_n, its answers by split): by definition it is always right."""
    folder = tmp_path_factory.mktemp("teacher")
    model = tiny.classifier(labels=tuple(NUMBERS), initializer_range=0.5)
    tokenizer = tokens.make_tokenizer(tiny.spec(), 24)

    def said(split):
        rows = tokens.encode(tokenizer, tiny.texts(*SIZES[split])[0])
        return logits(lambda i, m: model(input_ids=i, attention_mask=m).logits, rows, 0, COUNT)

    with torch.no_grad():
        model.classifier.bias.sub_(torch.from_numpy(said("train").mean(0)))  # no output wins always
    model.save_pretrained(folder)
    tokens.write_spec(folder / "tokenizer.json", tiny.spec())
    rename(folder, [f"LABEL_{i}" for i in range(COUNT)])
    return folder, {split: said(split).argmax(1) for split in SIZES}


SIZES = {"train": (40, 0), "validation": (120, 1), "test": (120, 2)}


def rename(folder, names):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    path.write_text(json.dumps(config))


def run(tmp_path, teacher, labels, truth, *, limit=None, label_map=None, **section):
    """The stage on data where output n of the teacher stands for the label `truth[n]`."""
    folder, answers = teacher
    place = tmp_path / "data"
    place.mkdir()
    for split, said in answers.items():
        texts, rows = tiny.texts(*SIZES[split])[0], [labels.index(truth[n]) for n in said]
        write_split(place, split, texts[:limit], rows[:limit])
    write_unlabelled(place, [])
    task = {"labels": labels, "max_length": 24, "label_map": label_map or {}}
    config = {"seed": 0, "task": task, "teacher": {"model": str(folder), **section}}
    work = tiny.work(tmp_path)
    result = STAGE.run(TeacherConfig.parse(config), {"dataset": tiny.artifact(place, "dataset")}, work)
    return result, load_file(work.out / "predictions.safetensors")


@pytest.mark.parametrize("labels", [NUMBERS, AS_TEXT, [f"{i:02}" for i in range(COUNT)]])
def test_numbers_are_matched_whatever_their_order_in_the_profile(labels, teacher, tmp_path):
    by_number = {int(label): label for label in labels}
    result, _ = run(tmp_path, teacher, labels, by_number)
    assert result.quality["validation"].scores["accuracy"] == result.quality["test"].scores["accuracy"] == 1
    assert result.warnings == ()


def test_names_for_counted_outputs_are_an_assumption(teacher, tmp_path):
    result, _ = run(tmp_path, teacher, NAMES, NAMES)
    assert result.quality["test"].scores["accuracy"] == 1
    (warning,) = result.warnings
    assert "its head only counts its outputs (LABEL_0, LABEL_1, ...)" in warning


def test_an_assumption_that_is_wrong_is_refused_with_the_map_that_fits(teacher, tmp_path):
    truth = [NAMES[(5 * n + 3) % COUNT] for n in range(COUNT)]
    with pytest.raises(ProfileError, match=r"with its outputs in another order 100\.0 % are") as caught:
        run(tmp_path, teacher, NAMES, truth)
    fit = tomllib.loads(caught.value.hint.partition("[task]: ")[2])["label_map"]
    said = set(teacher[1]["validation"].tolist())
    assert len(said) > 8
    assert {n: fit[f"LABEL_{n}"] for n in said} == {n: truth[n] for n in said}
    (tmp_path / "again").mkdir()
    result, _ = run(tmp_path / "again", teacher, NAMES, truth, label_map=fit)
    assert result.quality["validation"].scores["accuracy"] == 1
    assert result.warnings == ()


def test_a_teacher_that_is_fine_tuned_may_be_wrong_before(teacher, tmp_path):
    truth = NAMES[::-1]
    result, _ = run(tmp_path, teacher, NAMES, truth, finetune={"epochs": 1, "checkpoint_seconds": 0})
    assert result.warnings == ()


def test_few_rows_do_not_refuse(teacher, tmp_path):
    result, _ = run(tmp_path, teacher, NAMES, NAMES[::-1], limit=8)
    assert any("of 8 labelled rows" in line for line in result.warnings)


def test_several_labels_to_one_through_the_stage(teacher, tmp_path):
    small = {"0": "low", "LABEL_1": "low", "2": "middle", "*": "high"}
    truth = ["low", "low", "middle"] + ["high"] * (COUNT - 3)
    labels = ["high", "middle", "low"]
    result, averaged = run(tmp_path, teacher, labels, truth, label_map=small)
    assert averaged["test"].shape == (120, 3)
    rows = tokens.encode(tokens.make_tokenizer(tiny.spec(), 24), tiny.texts(*SIZES["test"])[0])
    model = AutoModelForSequenceClassification.from_pretrained(teacher[0]).eval()
    shares = softmax(logits(lambda i, m: model(input_ids=i, attention_mask=m).logits, rows, 0, COUNT), axis=1)
    groups = [range(3, COUNT), [2], [0, 1]]
    summed = np.stack([shares[:, list(group)].sum(1) for group in groups], axis=1)
    np.testing.assert_allclose(np.exp(averaged["test"]), summed, atol=1e-5)
    found = [labels.index(truth[n]) for n in teacher[1]["test"]]
    assert result.quality["test"].scores["accuracy"] == (summed.argmax(1) == found).mean() > 0.6


def plan(folder, labels, label_map=None, **section):
    return check({"labels": labels, "label_map": label_map or {}}, {"model": str(folder), **section})


def check(task, teacher):
    assert STAGE.at_plan is not None
    return STAGE.at_plan.run(HeadsConfig.parse({"task": task, "teacher": teacher}), Silent())


def test_plan_knows_it_all_from_config_json(teacher):
    folder, _ = teacher
    assert plan(folder, NUMBERS) == ()
    assert "they are taken in the order of [task] labels" in plan(folder, NAMES)[0]
    with pytest.raises(ProfileError, match=r"its labels are 'LABEL_0', .*, the task's are 'a', 'b'"):
        plan(folder, ["a", "b"])
    assert plan(folder, ["a", "b"], finetune={}) == ()
    with pytest.raises(ProfileError, match=r"'LABEL_99': not a label of .* \(nearest: 'LABEL_9'\)"):
        plan(folder, ["a", "b"], {"LABEL_99": "a", "*": "b"})
    assert plan("builtin:minilm-l6", ["a", "b"], finetune={}) == ()


def test_each_teacher_may_have_a_map_of_its_own(teacher, tmp_path):
    other = tiny.save_classifier(tmp_path / "other", labels=("b", "a"))
    first, second = {"model": str(teacher[0])}, {"model": str(other)}
    task = {"labels": ["a", "b"], "label_map": {"3": "a", "*": "b"}}
    assert check(task, {"models": [first, {**second, "label_map": {}}]}) == ()
    with pytest.raises(ProfileError, match=r"'3': not a label of .*other"):
        check(task, {"models": [first, second]})


def test_the_answers_are_those_of_the_model(teacher, tmp_path):
    _, averaged = run(tmp_path, teacher, AS_TEXT, {int(label): label for label in AS_TEXT})
    assert np.array_equal(averaged["test"].argmax(1), [AS_TEXT.index(str(n)) for n in teacher[1]["test"]])


def before(tmp_path, teacher, labels, truth, *, split=False, extra=(), **section):
    """The preflight on files whose labels are right where output n stands for `truth[n]`."""
    folder, answers = teacher
    data = {} if split else {"validation": str(tmp_path / "validation.csv"), "test": str(tmp_path / "no.csv")}
    for name in ("train", "validation"):
        texts = tiny.texts(*SIZES[name])[0]
        lines = [f"{text},{truth[n]}" for text, n in zip(texts, answers[name], strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines, *extra]) + "\n")
    config = {
        "seed": 0,
        "task": {"labels": labels, "max_length": 24},
        "data": {"train": str(tmp_path / "train.csv"), **data, **({"split": {}} if split else {})},
        "teacher": {"model": str(folder), **section},
    }
    assert STAGE.preflight is not None
    return STAGE.preflight.run(PreflightConfig.parse(config), Silent())


def test_a_wrong_order_is_refused_before_anything_is_written(teacher, tmp_path, monkeypatch):
    truth = [NAMES[(5 * n + 3) % COUNT] for n in range(COUNT)]
    extra = (",kind a", "some text,kind z")  # which the data stage refuses, and says why
    with pytest.raises(ProfileError, match=r"of 120 labelled rows, with its .* order 100\.0 % are") as caught:
        before(tmp_path, teacher, NAMES, truth, extra=extra)
    assert '"LABEL_0" = "kind d"' in caught.value.hint
    assert before(tmp_path, teacher, NAMES, NAMES) == ()
    assert before(tmp_path, teacher, NAMES, truth, finetune={}) == ()
    with pytest.raises(ProfileError, match="of 40 labelled rows"):
        before(tmp_path, teacher, NAMES, truth, split=True)
    monkeypatch.setattr(teacher_labels, "WORK", 1.0)
    monkeypatch.setattr(teacher_labels, "LEAST", 60)
    with pytest.raises(ProfileError, match="of 60 labelled rows"):
        before(tmp_path, teacher, NAMES, truth)
