"""Pruning: what is cut is cut exactly, what is masked stays zero, a killed stage ends with the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from squeeze.artifact import Artifact
from squeeze.core.importance import top
from squeeze.distillation import inputs as distillation
from squeeze.errors import ProfileError
from squeeze.models import slicing, tokens
from squeeze.models.carve import Importance
from squeeze.models.encoder import EncoderShape, Layer
from squeeze.models.storage import load_shape, load_student
from squeeze.stages.prune import choosing, cutting, learned, sparse
from squeeze.stages.prune import run as stage
from squeeze.stages.prune.methods import METHODS
from squeeze.stages.prune.stage import LearnedSection, PruneConfig, PruneResult, PruneSection, sources
from squeeze.stages.prune.subject import Subject
from tests import distilled, tiny
from tests.labelled import single_label

RECOVER: dict[str, Any] = {
    "name": "recover", "epochs": 2, "batch": 16, "learning_rate": 1e-3, "losses": [{"name": "logit_mse"}],
}  # fmt: skip


def config(phases: Any = (), **more: Any) -> PruneConfig:
    section = {"batches": 2, "phases": list(phases), **more}
    return PruneConfig.parse(
        {"seed": 3, "task": {"labels": list(tiny.LABELS), "max_length": 32}, "prune": section}
    )


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> dict[str, Artifact]:
    """Dataset, teacher and a student of 2 layers, 3 heads and 48 neurons."""
    folder = tmp_path_factory.mktemp("prune")
    found = distilled.inputs(folder)
    shape = {"heads": 3, "ffn": 48, "embedding": {"kind": "product", "subvectors": 4}}
    settings = distilled.config(shape, [{**distilled.KD, "epochs": 1}])
    return {**found, "encoder": distilled.distil(settings, found, folder)}


def prune(
    settings: PruneConfig, where: dict[str, Artifact], folder: Path, name: str = "prune"
) -> tuple[PruneResult, Path]:
    work = tiny.work(folder, name)
    return stage.run(settings, where, work), work.out


def subject(**more: Any) -> Subject:
    batches = tuple((*tiny.batch(seed=seed), torch.tensor([0, 1, 0, 1])) for seed in range(3))
    return Subject(tiny.encoder(), batches, single_label(), **more)


def test_methods_are_those_that_a_profile_may_name():
    assert set(METHODS) == set(get_args(PruneSection.model_fields["method"].annotation))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_scores_every_head_and_neuron_alike_twice(method):
    given = subject(learned=LearnedSection(steps=3))
    before = {name: value.clone() for name, value in given.encoder.state_dict().items()}
    found, again = METHODS[method](given), METHODS[method](given)
    assert [len(layer) for layer in found.heads] == [4, 4, 4]
    assert [len(layer) for layer in found.neurons] == [64, 64, 64]
    for one, other in zip((*found.heads, *found.neurons), (*again.heads, *again.neurons), strict=True):
        assert torch.equal(one, other)
        assert (one >= 0).all()
        assert not one.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in given.encoder.state_dict().items())
    assert all(parameter.requires_grad for parameter in given.encoder.parameters())


@pytest.mark.parametrize("method", ["magnitude", "taylor", "learned"])
def test_heads_and_neurons_that_do_nothing_come_last(method):
    given = subject(learned=LearnedSection(steps=60), keep=(0.75, 0.75))
    with torch.no_grad():
        for layer in cast("list[Layer]", list(given.encoder.layers)):
            layer.out.weight[:, :8] = 0
            layer.down.weight[:, :16] = 0
            if method == "magnitude":
                layer.qkv.weight.view(3, 4, 8, 32)[:, 0] = 0
    found = METHODS[method](given)
    assert all(top(layer, 3) == (1, 2, 3) for layer in found.heads)
    assert all(layer[:16].mean() < layer[16:].mean() for layer in found.neurons)
    if method == "taylor":
        assert all(layer[:16].max() == 0 for layer in found.neurons)


def test_the_output_error_is_nothing_alike_and_sees_no_padding():
    model, (ids, mask) = tiny.encoder(), tiny.batch()
    with torch.no_grad():
        whole = model.observe(ids, mask)
        masked = model.observe(ids, mask)
        assert learned.output_error(masked, whole, mask, states=0.5) == 0
        masked.hidden[1][~mask.bool()] = 99.0
        assert learned.output_error(masked, whole, mask, states=0.5) == 0
        masked.hidden[1][0, 0] += 1.0
        assert learned.output_error(masked, whole, mask, states=0.5) > 0


def scores(heads: list[list[float]], neurons: list[list[float]]) -> Importance:
    return Importance(tuple(map(torch.tensor, heads)), tuple(map(torch.tensor, neurons)))


HALVES = scores([[4.0, 3.0], [2.0, 1.0]], [[8.0, 7.0, 6.0, 5.0], [4.0, 3.0, 2.0, 1.0]])


def test_a_share_is_cut_of_all_layers_together_or_of_each():
    together = choosing.by_share(HALVES, 0.25, 0.5)
    assert together.heads == ((0, 1), (0,))
    assert together.neurons == ((0, 1, 2), (0,))  # the last layer keeps its best
    each = choosing.by_share(HALVES, 0.5, 0.5, "layer")
    assert each.heads == ((0,), (0,))
    assert each.neurons == ((0, 1), (0, 1))
    assert choosing.by_share(HALVES, 0.9, 0.9).heads == ((0,), (0,))


def milliseconds(head: float, neuron: float, step: int = 1) -> choosing.Latency:
    """A device that takes so long for each head and for each `step` neurons begun."""

    def latency(shape: EncoderShape) -> float:
        return sum(head * x.heads + neuron * -(-x.ffn // step) * step for x in shape.layers)

    return latency


SHAPE = tiny.shape(layers=({"heads": 2, "ffn": 4}, {"heads": 2, "ffn": 4}))


def test_a_latency_is_met_and_no_cut_was_in_vain():
    latency = milliseconds(1.0, 0.5)
    kept = choosing.by_latency(HALVES, SHAPE, latency, 6.0, block=1)
    assert 5.0 <= latency(slicing.sliced_shape(SHAPE, kept)) <= 6.0
    assert choosing.by_latency(HALVES, SHAPE, latency, 8.0, 1) == slicing.everything(SHAPE)
    least = choosing.by_latency(HALVES, SHAPE, latency, 0.1, block=3)
    assert [len(part) for part in (*least.heads, *least.neurons)] == [1, 1, 1, 1]


def test_what_costs_more_is_cut_first_and_the_least_important_of_it():
    heads = choosing.by_latency(HALVES, SHAPE, milliseconds(10.0, 0.01), 30.5, block=1)
    assert heads.heads == ((0, 1), (0,))
    assert sum(map(len, heads.neurons)) == 8
    neurons = choosing.by_latency(HALVES, SHAPE, milliseconds(0.01, 10.0), 55.0, block=1)
    assert sum(map(len, neurons.heads)) == 4
    assert neurons.neurons == ((0, 1, 2, 3), (0,))


def test_cuts_that_save_nothing_lead_over_the_step_behind_them():
    kept = choosing.by_latency(HALVES, SHAPE, milliseconds(0.0, 1.0, step=4), 7.0, block=1)
    assert [len(part) for part in kept.neurons] == [1, 1]  # neither layer gets below its step


@pytest.mark.parametrize("method", METHODS)
def test_half_is_cut_and_the_saved_model_is_what_the_masked_one_computes(method, where, tmp_path):
    made, out = prune(config(method=method, share=0.5, learned={"steps": 2}), where, tmp_path)
    student, whole = load_student(out), load_student(where["encoder"].path)
    assert sum(made.cut.heads) == 3
    assert sum(made.cut.neurons) == 48
    assert made.before.heads == (3, 3)
    assert (
        made.before.quality["test"].scores["macro_f1"]
        == where["encoder"].result["quality"]["test"]["scores"]["macro_f1"]
    )
    assert made.source == "student"
    assert made.parameters < made.before.parameters
    assert made.size_bytes == (out / "student.safetensors").stat().st_size
    assert made.quality == made.cut.quality  # nothing was trained
    assert torch.equal(student.get_buffer("embedding.codes"), whole.get_buffer("embedding.codes"))
    shape = student.shape
    assert [layer.heads for layer in shape.layers] == list(made.cut.heads)
    said = load_file(out / "predictions.safetensors")
    assert set(said) == {"validation", "test", "other_events"}


def test_recovery_learns_from_the_teacher_and_is_reported(where, tmp_path):
    before, _ = prune(config(share=0.5), where, tmp_path, "cut")
    after, out = prune(config([RECOVER], share=0.5), where, tmp_path, "recovered")
    assert after.cut == before.cut
    assert [phase.name for phase in after.phases] == ["recover"]
    losses = [record["loss"] for record in after.phases[0].history]
    assert losses[-1] < losses[0]
    assert tiny.artifact(out, "encoder").path == out


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_masked_weights_are_zero_in_the_file_after_recovery(pattern, scope, where, tmp_path):
    more = {"sparsity": 0.5, "pattern": pattern, "sparsity_scope": scope}
    made, out = prune(config([RECOVER], **more), where, tmp_path)
    student, first = load_student(out), load_student(where["encoder"].path)
    assert made.sparsity is not None
    assert made.sparsity.zeros == pytest.approx(0.5, abs=0.01)
    assert "no speed in ONNX Runtime" in made.sparsity.note
    masks = load_tensors(tmp_path / "prune" / "scratch" / "start" / "masks.safetensors")
    assert sorted(masks) == sorted(sparse.masked_names(student))
    for name, mask in masks.items():
        weight, old = (model.get_parameter(f"{name}.weight") for model in (student, first))
        assert (weight[~mask] == 0).all()
        assert not torch.equal(weight[mask], old[mask])  # the rest has learned
        assert type(student.get_submodule(name)) is torch.nn.Linear
    if pattern == "2:4":
        assert all((mask.view(-1, 4).sum(1) == 2).all() for mask in masks.values())


def test_it_works_on_a_classifier_alone(where, tmp_path):
    alone = {name: where[name] for name in ("dataset", "teacher")}
    made, out = prune(config([RECOVER], share=0.5, layers=2, pieces=1), alone, tmp_path)
    assert made.source == "teacher"
    assert made.before.heads == (4, 4, 4)
    assert made.layers == (1, 2)
    assert load_shape(out).positions == 32  # no text reaches further
    assert made.cut.pieces < made.before.pieces == tiny.VOCABULARY
    vocabulary = tokens.make_tokenizer(tokens.read_spec(out), 32).get_vocab_size()
    assert vocabulary == made.cut.pieces == load_shape(out).vocabulary
    assert made.transformers_folder is (out / "transformers").is_dir()


def test_width_and_rank_are_cut(where, tmp_path):
    alone = {name: where[name] for name in ("dataset", "teacher")}
    made, out = prune(config([RECOVER], hidden=24, rank=6), alone, tmp_path, "dense")
    shape = load_shape(out)
    assert shape.hidden == shape.embedding.width == made.cut.hidden == 24
    assert (shape.embedding.kind, shape.embedding.rank) == ("factorised", 6)
    coded, out = prune(config(hidden=24), where, tmp_path, "coded")
    assert load_shape(out).embedding == load_shape(where["encoder"].path).embedding
    assert coded.cut.hidden == 24


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layers": 9}, "layers: 9, the model has 2"),
        ({"layers": [0, 5]}, "no layer 5, the model's go from 0 to 1"),
        ({"hidden": 32}, "hidden: 32, the model has 32"),
        ({"rank": 4}, "codes have no rank"),
        ({"pieces": 10_000}, "pieces: 10000, the model has"),
    ],
)
def test_what_the_model_does_not_have_is_refused(more, message, where, tmp_path):
    with pytest.raises(ProfileError, match=message):
        prune(config(**more), where, tmp_path)


def test_a_rank_that_is_no_less_is_refused(where, tmp_path):
    alone = {name: where[name] for name in ("dataset", "teacher")}
    with pytest.raises(ProfileError, match="rank: 24, the table has 24"):
        prune(config(hidden=24, rank=24), alone, tmp_path)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "nothing to cut"),
        ({"share": 0.5, "latency_ms": 2.0}, "give one target"),
        ({"latency_share": 0.5, "latency_ms": 2.0}, "give one target"),
        ({"pattern": "2:4", "sparsity": 0.7}, "has a `sparsity` of 0.5"),
        ({"layers": 0}, "at least one stays"),
        ({"share": 0.5, "phases": [RECOVER, RECOVER]}, "same name"),
        ({"share": 1.0}, "less than 1"),
        ({"shares": 0.5}, "shares"),
    ],
)
def test_settings_that_make_no_sense_are_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        PruneSection.parse(section)


def test_the_machine_counts_only_where_its_speed_decides():
    assert sources(config(share=0.5)) == {}
    assert list(sources(config(latency_share=0.5))) == ["machine"]


def test_a_latency_decides_what_is_cut(where, tmp_path, monkeypatch):
    asked: list[EncoderShape] = []

    def predictor(settings, shape, text, work):
        asked.append(shape)
        return milliseconds(1.0, 0.01)

    monkeypatch.setattr(stage, "predictor", predictor)
    made, _ = prune(config(latency_share=0.6, block=4), where, tmp_path)
    whole = 6 * 1.0 + 96 * 0.01
    assert made.before.predicted_ms == pytest.approx(whole)
    assert made.cut.predicted_ms is not None
    assert made.cut.predicted_ms <= 0.6 * whole
    with pytest.raises(
        ProfileError, match=r"latency_ms: 0\.5 ms, with one head and one neuron a layer it is"
    ):
        prune(config(latency_ms=0.5), where, tmp_path, "too fast")


def test_a_resumed_stage_does_not_choose_again_and_ends_with_the_same_bytes(where, tmp_path, monkeypatch):
    settings = config(
        [{**RECOVER, "checkpoint_seconds": 0}],
        share=0.5,
        sparsity=0.3,
        method="learned",
        learned={"steps": 4},
    )
    _, whole = prune(settings, where, tmp_path, "whole")
    real = distillation.write_student

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "write_student", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(settings, where, tmp_path, "torn")
    monkeypatch.setattr(stage, "write_student", real)
    monkeypatch.setattr(cutting, "_cut", killed)  # nor is anything cut a second time
    _, torn = prune(settings, where, tmp_path, "torn")
    assert tiny.artifact(torn, "encoder").digest == tiny.artifact(whole, "encoder").digest
    record = json.loads((tmp_path / "torn" / "scratch" / "start" / "cut.json").read_text())
    assert sum(record["measured"]["heads"]) == 3
