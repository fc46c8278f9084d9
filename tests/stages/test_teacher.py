from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import log_softmax, logsumexp

from squeeze.data.dataset import load
from squeeze.errors import ProfileError, StageFailed
from squeeze.models import conversion, guard, tokens
from squeeze.models.inference import logits
from squeeze.models.teacher import load_classifier
from squeeze.progress import Silent
from squeeze.stages.teacher import STAGE
from squeeze.stages.teacher import run as implementation
from squeeze.stages.teacher.stage import TeacherConfig, TeacherResult
from squeeze.training import loop
from tests import tiny
from tests.labelled import single_label

FINETUNE = {"epochs": 4, "batch": 8, "learning_rate": 3e-3, "checkpoint_seconds": 0}


def config(seed=0, **teacher):
    task = {"labels": list(tiny.LABELS), "max_length": 24}
    return TeacherConfig.parse({"seed": seed, "task": task, "teacher": teacher})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.artifact(tiny.dataset(tmp_path_factory.mktemp("data") / "d"), "dataset")


@pytest.fixture
def stage(tmp_path, data):
    """`stage(name, settings)`: run it in the folders of that name, again where it ran before."""

    def run(name="one", **teacher):
        work = tiny.work(tmp_path, name)
        result = STAGE.run(config(**teacher), {"dataset": data}, work)
        assert isinstance(result, TeacherResult)
        assert TeacherResult.parse(result.plain()) == result
        return result, work.out

    return run


def own(model, data):
    """A Hugging Face classifier's logits on every split but train, by its own forward pass."""
    tokenizer = tokens.make_tokenizer(tiny.spec(), 24)
    said = {}
    for name, split in load(data.path).splits.items():
        if name != "train":
            rows = tokens.encode(tokenizer, split.texts)
            said[name] = logits(lambda i, m: model(input_ids=i, attention_mask=m).logits, rows, 0, 2)
    return said


def test_a_classifier_is_taken_as_it_is(stage, data, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model")
    result, out = stage(model=str(folder))
    assert {path.name for path in out.iterdir()} == {"members", "predictions.safetensors"}
    member = out / "members" / "0"
    assert {path.name for path in member.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "member.json"
    }  # fmt: skip
    assert json.loads((member / "member.json").read_text()) == {"model": str(folder), "weight": 1.0}
    model = tiny.classifier()
    said = load_file(out / "predictions.safetensors")
    assert set(said) == {"validation", "test", "other_events"}
    for name, rows in own(model, data).items():
        np.testing.assert_allclose(said[name], log_softmax(rows, axis=1), atol=1e-5)
        assert said[name].dtype == np.float32
    expected = single_label(tiny.LABELS).scores(said["test"], load(data.path).splits["test"].labels)
    assert result.quality["test"] == expected
    assert set(result.quality) == set(said)
    assert (result.family, result.layers, result.hidden, result.heads) == ("bert", 3, 32, 4)
    assert result.parameters > result.embedding_parameters > 0
    assert result.size_bytes == (member / "model.safetensors").stat().st_size


def test_the_written_member_is_the_teacher(stage, tmp_path):
    _, out = stage(model=str(tiny.save_classifier(tmp_path / "model", labels=tiny.LABELS[::-1])))
    again = load_classifier(out / "members" / "0", tiny.LABELS, untrained_head=False)
    ids, mask = tiny.batch()
    with torch.no_grad():
        theirs = tiny.classifier(labels=tiny.LABELS[::-1])(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(again(input_ids=ids, attention_mask=mask).logits, theirs.flip(1))


def test_two_members_are_averaged_in_probability(stage, data, tmp_path):
    folders = [
        tiny.save_classifier(tmp_path / "bert", initializer_range=0.4),
        tiny.save_classifier(tmp_path / "mpnet", "mpnet", seed=5, initializer_range=0.4),
    ]
    models = [{"model": str(folder), "weight": w} for folder, w in zip(folders, (1.0, 3.0), strict=True)]
    result, out = stage(models=models)
    each = [
        own(tiny.classifier(initializer_range=0.4), data),
        own(tiny.classifier("mpnet", seed=5, initializer_range=0.4), data),
    ]
    said = load_file(out / "predictions.safetensors")
    for name, found in said.items():
        first, second = (log_softmax(one[name].astype(np.float64), axis=1) for one in each)
        expected = logsumexp([first + np.log(0.25), second + np.log(0.75)], axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert np.abs(expected - second).max() > 1e-3
    notes = [json.loads((out / "members" / str(i) / "member.json").read_text()) for i in range(2)]
    assert [note["weight"] for note in notes] == [1.0, 3.0]
    sizes = [conversion.read(load_classifier(f, tiny.LABELS, untrained_head=False)) for f in folders]
    assert result.parameters == sum(p.numel() for model in sizes for p in model.parameters())
    assert result.family == "bert"


def test_fine_tuning_learns_and_keeps_the_base(stage, data, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model")
    before, _ = stage("before", model=str(folder))
    result, out = stage("after", model=str(folder), finetune=FINETUNE, keep_base=True)
    assert result.quality["validation"].scores["macro_f1"] > max(
        0.8, before.quality["validation"].scores["macro_f1"] + 0.1
    )
    base, after = (
        load_classifier(f, tiny.LABELS, untrained_head=False) for f in (out / "base", out / "members/0")
    )
    for name, value in tiny.classifier().state_dict().items():
        assert torch.equal(base.state_dict()[name], value), name
    assert not torch.equal(after.classifier.weight, base.classifier.weight)
    tables = [model.bert.embeddings.word_embeddings.weight for model in (base, after)]
    read = tokens.encode(tokens.make_tokenizer(tiny.spec(), 24), load(data.path).splits["train"].texts).values
    moved = (tables[0] != tables[1]).any(dim=1)
    assert moved[np.unique(read)].all()
    unread = np.setdiff1d(np.arange(1, len(moved)), read)  # without padding, whose row never moves
    assert len(unread) > 1
    assert not moved[unread].any()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_is_fine_tuned_on_the_pieces_that_are_read(family, stage, data, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", family)
    _, out = stage("one", model=str(folder), finetune={**FINETUNE, "epochs": 1})
    before, after = (
        load_classifier(f, tiny.LABELS, untrained_head=False) for f in (folder, out / "members/0")
    )
    assert before.state_dict().keys() == after.state_dict().keys()
    tables = [model.get_input_embeddings().weight for model in (before, after)]
    moved = (tables[0] != tables[1]).any(dim=1)
    read = tokens.encode(tokens.make_tokenizer(tiny.spec(), 24), load(data.path).splits["train"].texts).values
    unread = np.setdiff1d(np.arange(1, len(moved)), read)
    assert moved[np.unique(read)].all()
    assert len(unread) > 1
    assert not moved[unread].any()


def test_a_model_without_head_is_given_one(stage, tmp_path):
    folder = tmp_path / "body"
    tiny.classifier().bert.save_pretrained(folder)
    tiny.save_tokenizer(folder)
    first, out = stage("first", model=str(folder), finetune=FINETUNE)
    assert first.quality["validation"].scores["macro_f1"] > 0.7
    _, again = stage("again", model=str(folder), finetune=FINETUNE)
    said, repeated = (load_file(f / "members/0/model.safetensors") for f in (out, again))
    assert all(np.array_equal(said[name], repeated[name]) for name in said)  # same seed, same weights
    with pytest.raises(ProfileError, match="2 tensors are missing"):
        stage("third", model=str(folder))


class Killed(BaseException):
    pass


def test_fine_tuning_goes_on_where_it_was_killed(stage, tmp_path, monkeypatch):
    folder = str(tiny.save_classifier(tmp_path / "model"))
    models = [{"model": folder}, {"model": folder}]
    settings = {"models": models, "finetune": {**FINETUNE, "epochs": 1}}
    _, whole = stage("whole", **settings)
    plain = loop._Run._step
    for step in (3, 8, 13):  # the first teacher, between the two, the second
        taken: list[int] = []

        def step_or_die(self, batch, taken=taken, step=step):
            if len(taken) == step:
                raise Killed
            taken.append(1)
            return plain(self, batch)

        monkeypatch.setattr(loop._Run, "_step", step_or_die)
        with pytest.raises(Killed):
            stage(f"cut-{step}", **settings)
        monkeypatch.setattr(loop._Run, "_step", plain)
        torch.manual_seed(1234)
        shutil.rmtree(tmp_path / f"cut-{step}" / "out")  # the pipeline gives every start an empty folder
        _, resumed = stage(f"cut-{step}", **settings)
        for name in ("members/0/model", "members/1/model", "predictions"):
            first, second = (load_file(f / f"{name}.safetensors") for f in (whole, resumed))
            assert all(np.array_equal(first[key], second[key]) for key in first), (step, name)


def test_long_texts_are_cut_where_the_teachers_positions_end(data, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", max_position_embeddings=6)
    result = STAGE.run(config(model=str(folder)), {"dataset": data}, tiny.work(tmp_path))
    assert isinstance(result, TeacherResult)
    assert set(result.quality) == {"validation", "test", "other_events"}
    lengths = {
        name: [len(tokens.make_tokenizer(tiny.spec(), 99).encode(text).ids) for text in split.texts]
        for name, split in load(data.path).splits.items()
    }
    counts = ", ".join(f"{sum(n >= 6 for n in ns)} of {len(ns)} in {name}" for name, ns in lengths.items())
    assert f"texts that fill all 6 tokens, longer ones are cut: {counts}" in result.warnings


def test_a_tokenizer_of_another_model_is_refused(stage, tmp_path):
    folder = tiny.save_classifier(tmp_path / "model", vocab_size=60)
    with pytest.raises(ProfileError, match=r"its tokenizer gives piece \d+, its table has 60 rows"):
        stage(model=str(folder))


def left_out(encoder):
    """Our copy without the positions: what a reader of another family would make."""
    with torch.no_grad():
        encoder.position_embeddings.zero_()
    return encoder


@pytest.mark.parametrize("finetune", [None, {**FINETUNE, "epochs": 1}])
def test_a_copy_that_answers_otherwise_ends_the_stage(finetune, stage, tmp_path, monkeypatch):
    folder = tiny.save_classifier(tmp_path / "model", initializer_range=0.4)
    whole = conversion.read
    monkeypatch.setattr(conversion, "read", lambda model, **more: left_out(whole(model, **more)))
    with pytest.raises(StageFailed, match="the copy that students are carved from differs by"):
        stage(model=str(folder), finetune=finetune)


def test_predictions_are_those_of_transformers_whatever_the_copy_says(stage, data, tmp_path, monkeypatch):
    folder = tiny.save_classifier(tmp_path / "model", initializer_range=0.4)
    whole = conversion.read
    monkeypatch.setattr(conversion, "read", lambda model, **more: left_out(whole(model, **more)))
    monkeypatch.setattr(implementation, "_hold", lambda *_: None)
    _, out = stage(model=str(folder))
    said = load_file(out / "predictions.safetensors")
    for name, rows in own(tiny.classifier(initializer_range=0.4), data).items():
        np.testing.assert_allclose(said[name], log_softmax(rows, axis=1), atol=1e-5)


def test_training_that_ends_in_nan_is_one_line(stage, tmp_path, monkeypatch):
    folder = tiny.save_classifier(tmp_path / "model")

    def ruined(ground, name, model, *rest):
        with torch.no_grad():
            model.classifier.bias.fill_(float("nan"))

    monkeypatch.setattr(implementation, "_finetune", ruined)
    with pytest.raises(StageFailed, match="its answers are not finite") as caught:
        stage(model=str(folder), finetune=FINETUNE)
    assert caught.value.hint == "lower the learning rate"


def test_a_copy_of_the_tokenizer_that_is_read_otherwise_ends_the_stage(stage, tmp_path, monkeypatch):
    folder = tiny.save_classifier(tmp_path / "model")
    whole = tokens.load_tokenizer

    def other(place):
        found = whole(place)
        return found if place == folder else replace(found, spec={**found.spec, "normalizer": None})

    monkeypatch.setattr(tokens, "load_tokenizer", other)
    with pytest.raises(StageFailed, match="reads the copy of its tokenizer's files otherwise"):
        stage(model=str(folder))


def preflight(tmp_path, rows, **teacher):
    """The check before a run, on a training file of these texts."""
    path = tmp_path / "train.csv"
    lines = [f'"{text}",{tiny.LABELS[i % 2]}' for i, text in enumerate(rows)]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    data = {name: str(path) for name in ("train", "validation", "test")}
    task = {"labels": list(tiny.LABELS), "max_length": 24}
    check = STAGE.preflight
    assert check is not None
    return check.run(
        check.config.parse({"seed": 0, "task": task, "data": data, "teacher": teacher}), Silent()
    )


@pytest.mark.parametrize("finetune", [None, FINETUNE])
def test_before_a_run_every_member_is_compared(finetune, tmp_path, monkeypatch):
    folders = [tiny.save_classifier(tmp_path / "a"), tiny.save_classifier(tmp_path / "b", "electra")]
    teacher = {"models": [{"model": str(folder)} for folder in folders], "finetune": finetune}
    assert preflight(tmp_path, tiny.texts(30)[0], **teacher) == ()
    whole = conversion.read
    kinds = {"electra": lambda model, **more: left_out(whole(model, **more)), "bert": whole}
    monkeypatch.setattr(
        conversion, "read", lambda model, **more: kinds[model.config.model_type](model, **more)
    )
    with pytest.raises(ProfileError, match=r"/b: .*train\.csv: row \d+ .* transformers \["):
        preflight(tmp_path, tiny.texts(30)[0], **teacher)


def test_a_model_without_head_is_compared_before_it_is_trained(tmp_path):
    folder = tmp_path / "body"
    tiny.classifier().bert.save_pretrained(folder)
    tiny.save_tokenizer(folder)
    assert preflight(tmp_path, tiny.texts(30)[0], model=str(folder), finetune=FINETUNE) == ()


def test_only_the_first_rows_are_read_before_a_run(tmp_path, monkeypatch):
    folder = tiny.save_classifier(tmp_path / "model")
    sizes = []

    def prove(folder, model, tokenizer, texts, max_length):
        sizes.append((len(texts), max_length))
        return ()

    monkeypatch.setattr(guard, "prove", prove)
    preflight(tmp_path, [f"we need water {i}" for i in range(1500)], model=str(folder))
    assert sizes == [(1000, 24)]


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({}, "either `model` or `models`"),
        ({"model": "a", "models": [{"model": "b"}]}, "either `model` or `models`"),
        ({"model": ""}, "at least 1 character"),
        ({"models": [{"model": "a", "weight": 0.0}]}, "greater than 0"),
        ({"model": "a", "finetune": {"epochs": 0}}, "greater than or equal to 1"),
        ({"model": "a", "typo": 1}, "typo"),
    ],
)
def test_settings_that_make_no_sense(teacher, said):
    with pytest.raises(ValueError, match=said):
        config(**teacher)


def test_a_changed_model_is_a_changed_source(tmp_path):
    folder = tiny.save_classifier(tmp_path / "model")
    first = STAGE.sources(config(model=str(folder)))
    assert set(first) == {str(folder)}
    tiny.save_classifier(folder, seed=3)
    assert STAGE.sources(config(model=str(folder))) != first


def test_what_run_gives_away_is_listed():
    assert implementation.__all__ == ["run"]
