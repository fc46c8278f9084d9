"""The distil stage on tiny random teachers, from a profile's sections to the encoder artefact."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file

from squeeze.data import dataset
from squeeze.data.teacher_cache import LOGITS, hidden
from squeeze.distillation import cache, initialize
from squeeze.distillation.cache import Signals
from squeeze.distillation.config import DistilConfig, VocabularySection
from squeeze.distillation.inputs import TrainingPlan, load_inputs, train
from squeeze.distillation.teachers import Teacher, TransformersTeacher, load_teachers
from squeeze.distillation.tokenized import choose_vocabulary, tokenize_pool
from squeeze.errors import ProfileError
from squeeze.models import carve, tokens
from squeeze.models.encoder import Encoder
from squeeze.models.inference import logits
from squeeze.models.storage import load_student
from squeeze.models.teacher import average
from squeeze.stages.distil.run import run
from squeeze.stages.distil.stage import DistilResult
from squeeze.tasks import task_of
from tests import tiny
from tests.distilled import KD, config, distil, inputs, other_spec

INSIDE = {**KD, "name": "inside", "losses": [{"name": "hidden_mse"}]}
LABELS_AND_LOGITS = [{"name": "cross_entropy"}, {"name": "kl", "temperature": 2.0}]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("bert"), base=True)


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Texts of every forward pass of a teacher."""
    seen: list[int] = []
    original = cache._observe

    def counted(teacher: Teacher, ids: torch.Tensor, *rest: Any) -> Any:
        seen.append(len(ids))
        return original(teacher, ids, *rest)

    monkeypatch.setattr(cache, "_observe", counted)
    return seen


def predictions(artifact) -> dict[str, Any]:
    return load_file(artifact.path / "predictions.safetensors")


def test_a_student_its_files_and_its_report(bert, tmp_path):
    made = distil(config(), bert, tmp_path)
    result = DistilResult.parse(made.result)
    assert {path.name for path in made.path.iterdir()} == {
        "student.safetensors", "encoder.json", "tokenizer.json", "predictions.safetensors",
    }  # fmt: skip
    student = load_student(made.path)
    assert [(layer.heads, layer.ffn) for layer in student.shape.layers] == [(2, 32)] * 2
    assert result.pool.model_dump() == {
        "labelled": 64, "unlabelled": 16, "augmented": 0,
        "replaced_tokens": 0, "dropped_tokens": 0, "spliced_texts": 0,
    }  # fmt: skip
    assert result.embedding_variance_kept == 1.0
    assert (result.vocabulary.pieces, result.vocabulary.kept) == (tiny.VOCABULARY, tiny.VOCABULARY)
    assert result.size_bytes == (made.path / "student.safetensors").stat().st_size
    assert result.phases[0].samples == 2 * 80
    assert set(result.quality) == {"validation", "test", "other_events"}
    reader = tokens.make_tokenizer(tokens.read_spec(made.path), 32)
    texts = dataset.load(bert["dataset"].path).splits["test"].texts
    said = logits(student, tokens.encode(reader, texts), 0, 2)
    np.testing.assert_allclose(said, predictions(made)["test"], atol=1e-6)


def test_a_student_comes_nearer_to_its_teacher(bert, tmp_path):
    long = {**KD, "epochs": 8, "learning_rate": 5e-3}
    made = distil(config({"layers": 3, "heads": 4, "ffn": 48}, [long]), bert, tmp_path)
    losses = [epoch["loss"] for epoch in DistilResult.parse(made.result).phases[0].history]
    assert losses[-1] < losses[0] / 2


def test_a_whole_copy_is_the_teacher(bert, tmp_path):
    whole = {"layers": 3, "heads": None, "ffn": None}
    made = distil(config(whole, [{**KD, "epochs": 0}]), bert, tmp_path)
    teacher = load_teachers(bert["teacher"].path, "task", tiny.LABELS)[0].encoder
    student = load_student(made.path)
    ids, mask = tiny.batch()
    torch.testing.assert_close(student(ids, mask), teacher(ids, mask), atol=1e-5, rtol=0)
    assert (made.path / "transformers" / "model.safetensors").is_file()


def test_the_teacher_is_asked_once(bert, tmp_path, passes):
    first = distil(config(), bert, tmp_path, "one")
    computed = DistilResult.parse(first.result).cache
    once = len(passes)
    assert sum(passes) == computed.texts == computed.computed == 80  # one pass for states and logits
    again = distil(config(), bert, tmp_path, "two")
    more = distil(config(phases=[{**KD, "epochs": 5}, {**KD, "name": "again"}]), bert, tmp_path, "three")
    assert len(passes) == once
    assert DistilResult.parse(more.result).cache.computed == 0
    assert again.digest == first.digest


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_logits_are_those_of_transformers_with_whatever_else_is_asked(family, tmp_path):
    """Also where our own copy of the teacher would answer otherwise."""
    folder = tiny.save_classifier(tmp_path / "teacher", family, initializer_range=0.5)
    teacher = TransformersTeacher.load(folder, tiny.LABELS)
    bias = teacher.encoder.head.output.bias.detach()
    teacher.encoder.head.output.bias = torch.nn.Parameter(bias + 7.0)
    ids, mask = tiny.batch(pad=1)
    model = tiny.classifier(family, initializer_range=0.5)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        inside = teacher.encoder.observe(ids, mask, inside=True)
    for wanted in (["logits"], ["hidden-2", "logits"], ["logits", "relations-1", "hidden-2"]):
        found = cache._observe(teacher, ids, mask, wanted)
        assert list(found) == wanted
        np.testing.assert_allclose(np.stack(found["logits"]), expected.logits, atol=1e-5)
        for row, length in enumerate(mask.sum(1)):
            if "hidden-2" in wanted:
                states = expected.hidden_states[2][row, :length]
                np.testing.assert_allclose(found["hidden-2"][row], states, atol=1e-5)
            if "relations-1" in wanted:
                queries = inside.relations[0][0][row, :length]
                np.testing.assert_allclose(found["relations-1"][row][:, 0], queries, atol=1e-5)
    alone = cache._observe(teacher, ids, mask, ["hidden-2"])["hidden-2"]
    np.testing.assert_allclose(alone[0], expected.hidden_states[2][0], atol=1e-5)


def test_a_head_stays_in_single_precision_where_the_body_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "precision", lambda: "bf16")
    teacher = TransformersTeacher.load(tiny.save_classifier(tmp_path, initializer_range=0.5), tiny.LABELS)
    seen = []
    head = teacher.model.classifier
    head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].dtype, output.dtype)))  # type: ignore[union-attr]
    ids, mask = tiny.batch()
    found = cache._observe(teacher, ids, mask, ["logits"])
    assert seen == [(torch.float32, torch.float32)]
    exact = tiny.classifier(initializer_range=0.5)(input_ids=ids, attention_mask=mask).logits
    difference = np.abs(np.stack(found["logits"]) - exact.detach().numpy()).max()
    assert 1e-5 < difference < 0.2  # so the body was in half precision
    assert not torch.is_autocast_enabled("cpu")


def test_a_teacher_and_its_copy_share_what_they_can(tmp_path):
    teacher = TransformersTeacher.load(tiny.save_classifier(tmp_path), tiny.LABELS)
    table = teacher.model.get_input_embeddings().weight  # type: ignore[operator]
    assert teacher.encoder.embedding.table().data_ptr() == table.data_ptr()


def test_the_same_weights_under_another_config_are_another_teacher(tmp_path):
    folder = tiny.save_classifier(tmp_path)
    first = TransformersTeacher.load(folder, tiny.LABELS)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "hidden_act": "relu"}))
    second = TransformersTeacher.load(folder, tiny.LABELS)
    assert first.layout == second.layout
    assert first.digest != second.digest  # under which its word on every text is kept
    assert (
        first.digest == TransformersTeacher.load(tiny.save_classifier(tmp_path / "copy"), tiny.LABELS).digest
    )


def test_teachers_are_let_go_when_nobody_will_ask_them_again(bert, tmp_path):
    settings, work = config(phases=[{**KD, "epochs": 0}]), tiny.work(tmp_path)
    training = TrainingPlan(task_of(settings.task), 3, settings.distil.phases, settings.distil.augment)
    found = load_inputs(bert, training, settings.student, work.scratch)
    student, teacher = initialize.initialize(found, 2, work.scratch), found.first.encoder
    for again in (True, False):
        train(student, found, work, again=again)
        assert {parameter.is_meta for parameter in teacher.parameters()} == {not again}


def test_logits_are_the_teachers_own_and_states_stand_on_the_students_pieces(tmp_path):
    where = inputs(tmp_path, ("bert", "distilbert"))
    data = dataset.load(where["dataset"].path)
    texts = [*data.splits["train"].texts, "flooding waters 7 blankets"]
    members = load_teachers(where["teacher"].path, "task", tiny.LABELS)
    settings = VocabularySection(trim=True, frequent=0, min_count=60)
    vocabulary = choose_vocabulary(members[0].tokenizer_json, texts[:64], settings, tiny.VOCABULARY)
    assert len(vocabulary.kept) < tiny.VOCABULARY
    aligned = tokenize_pool(texts, vocabulary, 32).aligned
    signals = Signals(members, texts, aligned, 32, tiny.work(tmp_path), "softmax")
    signals.prepare([LOGITS, hidden(3)])
    rows = np.array([64, 5])
    batch = signals.read([LOGITS, hidden(3)], rows)
    own = []
    for member, spec in zip(members, (tiny.spec(), other_spec()), strict=True):
        encoded = tokens.encode(tokens.make_tokenizer(spec, 32), texts)
        own.append(logits(member.encoder, encoded, 0, 2)[rows])
    loose: dict[str, Any] = {"atol": 0.02, "rtol": 0}  # the teacher may compute in half precision
    np.testing.assert_allclose(batch[LOGITS].numpy(), average(own, [1.0, 2.0], "softmax"), **loose)
    full = tokens.encode(tokens.make_tokenizer(tiny.spec(), 32), texts)
    assert len(aligned[64]) > len(full[64])  # a dropped piece fell into several
    ids = torch.from_numpy(aligned[64].astype(np.int64))[None]
    want = members[0].encoder.observe(ids, torch.ones_like(ids)).hidden[3][0].detach()
    np.testing.assert_allclose(
        batch[hidden(3)][0, : len(want)].numpy(), want.numpy(), **{**loose, "atol": 0.05}
    )


def test_texts_that_are_cut_alike_cost_one_pass(tmp_path, passes):
    where = inputs(tmp_path, ("bert",))
    members = load_teachers(where["teacher"].path, "task", tiny.LABELS)
    texts = [*dataset.load(where["dataset"].path).splits["train"].texts[:20], "flooding waters 7 blankets"]
    settings = VocabularySection(trim=True, frequent=0, min_count=1)
    vocabulary = choose_vocabulary(members[0].tokenizer_json, texts[:20], settings, tiny.VOCABULARY)
    aligned = tokenize_pool(texts, vocabulary, 32).aligned
    own = tokens.encode(tokens.make_tokenizer(tiny.spec(), 32), texts)
    assert own.same(aligned).tolist() == [True] * 20 + [False]
    signals = Signals(members, texts, aligned, 32, tiny.work(tmp_path), "softmax")
    assert signals.prepare([LOGITS, hidden(3)]).texts == 21 + 1
    assert sum(passes) == 21 + 1
    rows = np.arange(21)
    want = logits(members[0].encoder, own, 0, 2)
    np.testing.assert_allclose(signals.read([LOGITS], rows)[LOGITS].numpy(), want, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("family", "embedding"),
    [
        ("mpnet", {"kind": "product", "subvectors": 8, "codewords": 16}),
        ("roberta", {"kind": "factorised", "rank": 8}),
        ("distilbert", {"kind": "product", "subvectors": 4, "codewords": 32}),
        ("electra", {"kind": "factorised", "rank": 4}),
    ],
)
def test_every_family_with_a_small_table(family, embedding, tmp_path):
    student = {"vocabulary": {"trim": True, "frequent": 0, "min_count": 60}, "embedding": embedding}
    losses = [{"name": "logit_mse"}, {"name": "relation_kl", "heads": 2, "layers": "last"}]
    made = distil(config(student, [{**KD, "losses": losses}]), inputs(tmp_path, (family,)), tmp_path)
    result = DistilResult.parse(made.result)
    shape = load_student(made.path).shape
    assert shape.embedding.kind == embedding["kind"]
    assert shape.relative_bias == (family == "mpnet")
    assert shape.vocabulary == result.vocabulary.kept < tiny.VOCABULARY
    assert 0.2 < result.embedding_variance_kept < 1
    assert result.vocabulary.unknown_after == 0


def test_two_phases_from_the_base_teacher_to_the_task(bert, tmp_path):
    phases = [
        {**INSIDE, "teacher": "base", "data": "unlabelled", "epochs": 3, "learning_rate": 3e-3},
        {**KD, "losses": LABELS_AND_LOGITS, "alpha": 0.3, "freeze_embedding": True},
    ]
    made = distil(config(phases=phases), bert, tmp_path)
    first, second = DistilResult.parse(made.result).phases
    assert first.history[-1]["loss"] < first.history[0]["loss"]
    assert (first.samples, first.best_epoch) == (3 * 16, 3)  # nothing trained the head: the last one stays
    assert (second.samples, second.alpha) == (2 * 80, 0.3)


def test_a_frozen_table_stays_as_it_was_carved(bert, tmp_path):
    tables = []
    for epochs in (0, 2):
        phase = {**KD, "epochs": epochs, "freeze_embedding": True}
        tables.append(load_student(distil(config(phases=[phase]), bert, tmp_path, f"e{epochs}").path))
    assert torch.equal(tables[0].embedding.weight, tables[1].embedding.weight)
    assert not torch.equal(tables[0].position_embeddings, tables[1].position_embeddings)


def test_pieces_that_no_text_has_stay_as_they_were_carved(bert, tmp_path):
    made = [distil(config(phases=[{**KD, "epochs": e}]), bert, tmp_path, f"e{e}").path for e in (0, 2)]
    before, after = (load_student(path).embedding.weight.detach().numpy() for path in made)
    data = dataset.load(bert["dataset"].path)
    reader = tokens.make_tokenizer(tokens.read_spec(made[0]), 32)
    read = np.unique(tokens.encode(reader, (*data.splits["train"].texts, *data.unlabelled)).values)
    moved = np.flatnonzero((before != after).any(axis=1))
    assert 0 < len(moved) < len(before)
    assert set(moved) <= set(read.tolist())


def test_random_narrow_and_earlier_students(bert, tmp_path):
    narrow = {"hidden": 16, "embedding": {"kind": "product", "subvectors": 4}}
    learned = {**KD, "losses": [{"name": "hidden_mse", "projection": "learned"}, {"name": "kl"}]}
    first = distil(config(narrow, [learned]), bert, tmp_path, "narrow")
    assert load_student(first.path).shape.hidden == 16
    assert not [name for name in load_file(first.path / "student.safetensors") if "learned" in name]
    free = {"init": "random", "hidden": 48, "head_size": 6, "layers": 4, "heads": [1, 2, 3, 4]}
    second = distil(config(free, [{**KD, "losses": [{"name": "kl"}]}]), bert, tmp_path, "free")
    shape = load_student(second.path).shape
    assert [layer.heads for layer in shape.layers] == [1, 2, 3, 4]
    assert (shape.hidden, shape.head_size, shape.positions) == (48, 6, 32)
    on = {"init": "path", "path": str(second.path)}
    third = distil(config(on, [{**KD, "epochs": 0, "losses": [{"name": "kl"}]}]), bert, tmp_path, "third")
    np.testing.assert_array_equal(predictions(third)["test"], predictions(second)["test"])


@pytest.mark.parametrize("start", [{}, {"init": "random"}])
def test_a_student_of_fewer_positions_reads_the_beginning(start, bert, tmp_path):
    short = distil(config({"max_positions": 8, **start}), bert, tmp_path, "short")
    assert load_student(short.path).shape.positions == 8
    settings = config({"init": "path", "path": str(short.path), "max_positions": 8}, [{**KD, "epochs": 0}])
    again = distil(settings, bert, tmp_path, "again")
    np.testing.assert_array_equal(predictions(again)["test"], predictions(short)["test"])
    for most in (None, 9):
        with pytest.raises(ProfileError, match=rf"short.* reads 8 tokens, .* profile reads {most or 32}"):
            distil(config({"init": "path", "path": str(short.path), "max_positions": most}), bert, tmp_path)


def test_an_earlier_student_never_reads_on_behind_its_teachers_reach(bert, tmp_path):
    """Distillation would cut where the teacher ends, export where the student does."""
    long = distil(config({"init": "random"}), bert, tmp_path, "long")
    on = {"init": "path", "path": str(long.path), "max_positions": 8}
    with pytest.raises(ProfileError, match=r"long.* reads 32 tokens, one of this profile reads 8"):
        distil(config(on), bert, tmp_path)


def test_the_weight_of_the_labels_in_closed_form(bert, tmp_path):
    phase = {**KD, "losses": LABELS_AND_LOGITS, "alpha": "auto"}
    made = [distil(config(phases=[phase]), bert, tmp_path, name) for name in ("one", "two")]
    alpha = [DistilResult.parse(one.result).phases[0].alpha for one in made]
    assert alpha[0] is not None
    assert 0 <= alpha[0] <= 1
    assert alpha[0] == alpha[1]
    assert made[0].digest == made[1].digest
    fixed = distil(config(phases=[{**phase, "alpha": alpha[0]}]), bert, tmp_path, "fixed")
    assert fixed.digest == made[0].digest  # the probes leave no trace


def test_a_resume_does_not_carve_again(bert, tmp_path, monkeypatch):
    settings = config({"embedding": {"kind": "product", "subvectors": 4}})
    whole = distil(settings, bert, tmp_path, "whole")
    work = tiny.work(tmp_path, "resumed")

    def cut_short(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("squeeze.stages.distil.run.train", cut_short)
        with pytest.raises(KeyboardInterrupt):
            run(settings, bert, work)
    monkeypatch.setattr(carve, "measure_importance", cut_short)
    run(settings, bert, work)
    assert tiny.artifact(work.out, "encoder").digest == whole.digest


def test_a_start_that_was_cut_short_is_made_again(bert, tmp_path):
    settings = config()
    whole = distil(settings, bert, tmp_path, "whole")
    work = tiny.work(tmp_path, "torn")
    (work.scratch / "start").mkdir()
    (work.scratch / "start" / "encoder.json").write_text("{")
    run(settings, bert, work)
    assert tiny.artifact(work.out, "encoder").digest == whole.digest


REFUSED = [
    ({"layers": 4}, {}, r"\[student\] layers: 4, the teacher has 3"),
    ({"layers": [0, 3]}, {}, r"\[student\] layers: no layer 3, the teacher's go from 0 to 2"),
    ({"heads": 5}, {}, r"\[student\] heads: 5 in layer 0, the teacher has 4"),
    ({"heads": [2, 9]}, {}, r"\[student\] heads: 9 in layer 1, the teacher has 4"),
    ({"ffn": 65}, {}, r"\[student\] ffn: 65 in layer 0, the teacher has 64"),
    ({"head_size": 4}, {}, r"\[student\] head_size: 4, carved heads keep the teacher's 8"),
    ({"hidden": 33}, {}, r"\[student\] hidden: 33, the teacher has 32"),
    ({"embedding": {"kind": "product", "subvectors": 5}}, {}, r"subvectors: 5 does not divide .* width 32"),
    ({"embedding": {"kind": "factorised", "rank": 33}}, {}, r"\[student.embedding\] rank: 33, .* 32 wide"),
    ({"init": "path", "path": "nowhere"}, {}, r"nowhere: not a student"),
    ({"init": "random", "layers": 4}, {}, r"\[student\] layers: 4, the teacher has 3"),
    ({"init": "random", "hidden": 64}, {}, r"\[student\] hidden: 64, the teacher has 32"),
    ({}, {"losses": [{"name": "relation_kl", "heads": 3}]}, r"relation_kl heads: 3 does not divide .* 16"),
    ({}, {"losses": [{"name": "hidden_mse"}], "patience": 1}, r"kd, patience: no loss of it trains the head"),
    ({}, {"losses": [{"name": "kl"}], "data": "unlabelled"}, r'kd, data: "unlabelled", and there is no such'),
]


@pytest.mark.parametrize(("student", "phase", "message"), REFUSED)
def test_what_does_not_fit_is_refused_before_the_teacher_is_asked(
    student, phase, message, bert, tmp_path, passes
):
    silent = tmp_path / "dataset"
    tiny.dataset(silent, unlabelled=0)
    where = {**bert, "dataset": tiny.artifact(silent, "dataset")}
    with pytest.raises(ProfileError, match=message) as caught:
        distil(config(student, [{**KD, **phase}]), where, tmp_path)
    assert "\n" not in caught.value.message
    assert not passes
    assert not list((tmp_path / "cache").iterdir())


def test_a_stream_as_wide_as_a_widened_table_is_refused(tmp_path):
    with pytest.raises(ProfileError, match=r"\[student\] hidden: 16 is the width of the teacher's table"):
        distil(config({"hidden": 16}), inputs(tmp_path, ("electra",)), tmp_path)


def record_cuts(monkeypatch) -> list[carve.Cut]:
    """What is kept of the teacher, in each carving from now on."""
    cuts: list[carve.Cut] = []
    original = carve.carve

    def recorded(teacher: Encoder, cut: carve.Cut) -> Encoder:
        cuts.append(cut)
        return original(teacher, cut)

    monkeypatch.setattr(carve, "carve", recorded)
    return cuts


def test_rows_are_stored_by_the_root_of_their_use(monkeypatch, bert, tmp_path):
    cuts = record_cuts(monkeypatch)
    for kind in ("product", "factorised"):
        table = {"kind": kind, "subvectors": 4, "rank": 4}
        distil(config({"embedding": table}, [{**KD, "epochs": 0}]), bert, tmp_path, kind)
    data = dataset.load(bert["dataset"].path)
    reader = tokens.make_tokenizer(tiny.spec(), 1000)
    texts = (*data.splits["train"].texts, *data.unlabelled)
    uses = np.bincount(tokens.encode(reader, texts).values, minlength=tiny.VOCABULARY)
    assert uses[2] == len(texts)  # [CLS] frames every text
    for cut in cuts:
        assert cut.weights is not None
        np.testing.assert_allclose(cut.weights, np.sqrt(uses + 1))
    assert len(cuts) == 2


def test_the_most_important_heads_and_neurons_stay(bert, tmp_path, monkeypatch):
    cuts = record_cuts(monkeypatch)
    settings = config({"layers": [0, 2], "heads": [1, 3], "ffn": [8, 16]}, [{**KD, "epochs": 0}])
    distil(settings, bert, tmp_path)
    teacher = load_teachers(bert["teacher"].path, "task", tiny.LABELS)[0].encoder
    data = dataset.load(bert["dataset"].path).splits["train"]
    encoded = tokens.encode(tokens.make_tokenizer(tiny.spec(), 32), data.texts)

    class Labelled:
        labels = data.labels

        def rows(self, _: str) -> Any:
            return np.arange(len(data))

    batches: Any = initialize.labelled_batches(Labelled(), encoded, 0, 2, 3)  # type: ignore[arg-type]
    found = carve.measure_importance(teacher, batches, torch.nn.functional.cross_entropy)
    for place, layer in enumerate((0, 2)):
        kept, scores = cuts[0].heads[place], found.heads[layer]
        assert min(scores[list(kept)]) >= max([0.0, *scores[[h for h in range(4) if h not in kept]]])
        kept, scores = cuts[0].neurons[place], found.neurons[layer]
        assert min(scores[list(kept)]) >= max(scores[[n for n in range(64) if n not in kept]])
    assert [len(kept) for kept in (*cuts[0].heads, *cuts[0].neurons)] == [1, 3, 8, 16]


def test_unknown_keys_and_a_path_without_its_init_are_refused():
    with pytest.raises(ValidationError, match="typo"):
        config({"typo": 1})
    with pytest.raises(ValidationError, match="goes with init"):
        config({"path": "somewhere"})


def _stage(settings: DistilConfig, where: Any, folder: Path) -> None:
    torch.set_num_threads(1)
    distil(settings, where, folder)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path):
    where = inputs(tmp_path, base=True)
    phases = [
        {**INSIDE, "teacher": "base", "epochs": 1, "checkpoint_seconds": 0},
        {**KD, "losses": LABELS_AND_LOGITS, "alpha": "auto", "checkpoint_seconds": 0},
    ]
    student = {"hidden": 24, "embedding": {"kind": "product", "subvectors": 4}}
    settings = config(student, phases)
    torch.set_num_threads(1)  # no threads to lose in a fork
    began = time.process_time()  # a machine that is busy now may be quiet later, and kill nothing
    whole = distil(settings, where, tmp_path / "whole")
    took = time.process_time() - began
    torn, fork = tmp_path / "torn", multiprocessing.get_context("fork")
    rng, kills = random.Random(5), 0
    for _ in range(40):
        process = fork.Process(target=_stage, args=(settings, where, torn))
        process.start()
        process.join(rng.uniform(0.05, 0.3) * took)
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        if process.exitcode == 0:
            break
    if process.exitcode != 0:
        distil(settings, where, torn)
    assert kills >= 3
    assert tiny.artifact(torn / "distil" / "out", "encoder").digest == whole.digest
    left = json.loads((torn / "distil" / "scratch" / "start" / "encoder.json").read_text())
    assert left["hidden"] == 24
