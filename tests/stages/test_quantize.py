"""The quantize stage: what it saves is what it measured, killed or not; nonsense is refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file

from squeeze.artifact import Artifact
from squeeze.distillation import inputs as distillation
from squeeze.distillation.config import PREDICTIONS
from squeeze.errors import GateFailed, ProfileError
from squeeze.models.storage import load_student
from squeeze.quantization import storage
from squeeze.quantization.encoder import FakeQuantized
from squeeze.quantization.plan import Plan, Scheme, sites
from squeeze.stages.quantize import choosing
from squeeze.stages.quantize import run as stage
from squeeze.stages.quantize.rounding import Rounded
from squeeze.stages.quantize.stage import QuantizeConfig, QuantizeResult, QuantizeSection
from squeeze.training import loop
from tests import distilled, tiny

QAT: dict[str, Any] = {
    "name": "qat", "epochs": 2, "batch": 16, "learning_rate": 1e-3, "losses": [{"name": "logit_mse"}],
}  # fmt: skip


def config(**section: Any) -> QuantizeConfig:
    return QuantizeConfig.parse(
        {"seed": 3, "task": {"labels": list(tiny.LABELS), "max_length": 32}, "quantize": section}
    )


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> dict[str, Artifact]:
    """Dataset, teacher and a student of 2 layers."""
    folder = tmp_path_factory.mktemp("quantize")
    found = distilled.inputs(folder)
    settings = distilled.config({"heads": 3, "ffn": 48}, [{**distilled.KD, "epochs": 1}])
    return {**found, "encoder": distilled.distil(settings, found, folder)}


def quantize(
    where: dict[str, Artifact], folder: Path, name: str = "quantize", **section: Any
) -> tuple[QuantizeResult, Path]:
    work = tiny.work(folder, name)
    return stage.run(config(**section), where, work), work.out


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static", "int4-weight"])
@pytest.mark.parametrize("method", ["ptq", "qat"])
def test_it_saves_what_it_measured(scheme, method, where, tmp_path):
    more: dict[str, Any] = {"phases": [QAT]} if method == "qat" else {}
    made, out = quantize(where, tmp_path, scheme=scheme, method=method, **more)
    found = storage.load(out)
    assert found is not None
    assert (found.record.scheme, found.record.method) == (scheme, method)
    student = load_student(out)
    listed = sites(student.shape)
    assert list(found.scales.weights) == ([] if scheme == "int4-weight" else sorted(listed))
    assert sorted(found.scales.inputs) == (sorted(listed) if scheme == "int8-static" else [])
    said, in_float = load_file(out / PREDICTIONS), load_file(out / storage.FLOAT_PREDICTIONS)
    assert set(said) == set(in_float) == {"validation", "test", "other_events"}
    assert (
        made.before["test"].scores["macro_f1"]
        == where["encoder"].result["quality"]["test"]["scores"]["macro_f1"]
    )
    gap = max(float(np.abs(said[name] - in_float[name]).max()) for name in said)
    assert gap > 1e-5
    weight = student.get_parameter("layers.0.up.weight").detach().numpy()
    levels = max(len(np.unique(row)) for row in weight)
    assert levels <= (32 if scheme == "int4-weight" else 255)
    assert (made.phases == ()) is (method == "ptq")
    assert made.size_bytes == (out / "student.safetensors").stat().st_size
    if method == "ptq":
        assert made.quality == made.rounded
        assert not made.trained
    assert QuantizeResult.parse(made.plain()) == made


def test_training_brings_the_rounded_model_nearer_to_its_teacher(where, tmp_path):
    made, out = quantize(where, tmp_path, scheme="int4-weight", phases=[{**QAT, "epochs": 4}])
    losses = [record["loss"] for record in made.phases[0].history]
    assert losses[-1] < losses[0]
    assert made.against == "teacher"
    if made.trained:
        _, plain = quantize(where, tmp_path, "ptq", scheme="int4-weight", method="ptq")
        theirs = load_file(where["teacher"].path / PREDICTIONS)["test"]
        far, near = (
            float(np.square(load_file(folder / PREDICTIONS)["test"] - theirs).mean())
            for folder in (plain, out)
        )
        assert near < far


def test_its_former_self_can_be_the_teacher(where, tmp_path):
    made, _ = quantize(where, tmp_path, scheme="int8-static", against="student", phases=[QAT])
    assert made.cache is not None
    assert made.cache.computed == made.cache.texts  # its answers are not those of the teacher
    assert made.phases[0].history[-1]["loss"] < 0.1
    assert made.against == "student"


def test_labels_alone_ask_no_teacher(where, tmp_path):
    made, _ = quantize(where, tmp_path, against="labels")
    assert made.cache is not None
    assert made.cache.computed == 0
    assert made.phases[0].samples == 2 * 64


def test_named_products_stay_float(where, tmp_path):
    made, out = quantize(where, tmp_path, method="ptq", keep=["layers.1.*"])
    found = storage.load(out)
    assert found is not None
    assert made.keep == tuple(f"layers.1.{name}" for name in ("down", "out", "pair", "query", "up"))
    assert found.record.keep == made.keep
    assert not set(found.scales.weights) & set(made.keep)
    with pytest.raises(ProfileError, match="is no product that is quantized"):
        quantize(where, tmp_path, "wrong", method="ptq", keep=["layers.7.up"])


def test_sensitive_products_stay_float_until_the_floor_holds(where, tmp_path):
    easy, _ = quantize(where, tmp_path, "easy", method="ptq", keep="auto", floor=1.0, scheme="int4-weight")
    assert easy.keep == ()
    assert list(easy.sensitivity.values()) == sorted(easy.sensitivity.values(), reverse=True)
    hard, _ = quantize(where, tmp_path, "hard", method="ptq", keep="auto", floor=0.0, scheme="int4-weight")
    count = len(hard.keep)
    assert set(hard.keep) == set(list(easy.sensitivity)[:count])
    lost = hard.before["validation"].scores["macro_f1"] - hard.quality["validation"].scores["macro_f1"]
    assert lost <= 0 or count == len(hard.sensitivity)


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int8-static"])
def test_a_killed_training_ends_with_the_same_bytes(scheme, where, tmp_path, monkeypatch):
    section = {"scheme": scheme, "phases": [{**QAT, "checkpoint_seconds": 0}]}
    whole, out = quantize(where, tmp_path, "whole", **section)
    real, steps = loop._Run._step, iter(range(7))

    def killed(self: Any, batch: Any) -> float:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(loop._Run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        quantize(where, tmp_path, "torn", **section)
    monkeypatch.setattr(loop._Run, "_step", real)
    torn, again = quantize(where, tmp_path, "torn", **section)
    assert torn.phases[0].steps == whole.phases[0].steps
    assert tiny.artifact(again, "encoder").digest == tiny.artifact(out, "encoder").digest


def test_steps_are_learned(where, tmp_path):
    found = {
        learn: storage.load(quantize(where, tmp_path, f"{learn}", scheme="int8-static", learn_steps=learn,
                                     phases=[QAT])[1])
        for learn in (True, False)
    }  # fmt: skip
    begin = storage.load(quantize(where, tmp_path, "begin", scheme="int8-static", method="ptq")[1])
    assert begin is not None
    for learn, after in found.items():
        assert after is not None
        assert after.record.learned is learn
        moved = [abs(after.scales.inputs[site] / step - 1) for site, step in begin.scales.inputs.items()]
        assert (max(moved) > 1e-3) is learn


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"scheme": "int3"}, "int8-dynamic"),
        ({"scheme": "int4-weight", "weight_bits": 7}, "int4-weight has four"),
        ({"weight_bits": 6}, "7 or 8"),
        ({"method": "ptq", "phases": [QAT]}, "ptq trains nothing"),
        ({"phases": []}, "`phases` is empty"),
        ({"phases": [QAT, QAT]}, "same name"),
        ({"against": "labels", "phases": [QAT]}, "learns from labels alone, and a phase has logit_mse"),
        ({"against": "student", "phases": [{**QAT, "teacher": "base", "losses": [{"name": "hidden_mse"}]}]},
         "no base teacher"),
        ({"floor": 2.0}, "less than or equal to 1"),
        ({"bits": 8}, "bits"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        QuantizeSection.parse(section)


def test_the_fastest_form_that_keeps_the_floor_is_taken():
    section = QuantizeSection(scheme="auto", weight_bits=7)
    student = FakeQuantized(tiny.encoder(), Plan("int8-dynamic"))
    latencies: dict[Scheme, float] = {"int4-weight": 1.0, "int8-static": 1.5, "int8-dynamic": 2.0}
    order = [
        choosing.Contender(section.of(scheme), Rounded(student, {}), ms) for scheme, ms in latencies.items()
    ]
    scores = {"int8-dynamic": 0.899, "int8-static": 0.898, "int4-weight": 0.880}
    assert [each.settings.weight_bits for each in order] == [None, 7, 7]
    assert [each.settings.int8_bits for each in order] == [7, 7, 7]
    made: list[str] = []

    def make(each: choosing.Contender) -> tuple[str, float]:
        made.append(each.settings.scheme)
        return each.settings.scheme, scores[each.settings.scheme]

    chosen, tried = choosing.first_good(order, 0.9, 0.003, make)
    assert chosen == "int8-static"
    assert [(each.scheme, each.p50_ms) for each in tried] == [("int4-weight", 1.0), ("int8-static", 1.5)]
    assert made == ["int4-weight", "int8-static"]  # the slower one is never trained
    assert choosing.first_good(order, 0.9, 0.0015, make)[0] == "int8-dynamic"
    with pytest.raises(GateFailed, match=r"within 0\.0001 of 0\.9000.*int8-static 0\.8980"):
        choosing.first_good(order, 0.9, 0.0001, make)


def test_a_scheme_is_chosen_by_measuring(where, tmp_path):
    made, out = quantize(where, tmp_path, scheme="auto", method="ptq", floor=1.0)
    (only,) = made.candidates  # with such a floor the fastest is good enough
    found = storage.load(out)
    assert found is not None
    assert only.scheme == made.scheme == found.record.scheme
    assert 0 < only.p50_ms < 1000
    assert only.score == made.quality["validation"].scores["macro_f1"]


def test_every_scheme_that_is_trained_can_ask_the_teacher(where, tmp_path, monkeypatch):
    """Also when what the one before it asked is gone from the cache."""
    cache, asked = tiny.work(tmp_path).cache, []
    original = distillation.train

    def train(*given, **settings):
        shutil.rmtree(cache)
        cache.mkdir()
        report, phases = original(*given, **settings)
        asked.append(report.computed)
        return report, phases

    monkeypatch.setattr(stage, "train", train)

    def all_of_them(order, whole, floor, make):
        return [make(each)[0] for each in order][-1], ()

    monkeypatch.setattr(stage, "first_good", all_of_them)
    made, _ = quantize(where, tmp_path, scheme="auto", phases=[{**QAT, "epochs": 1}])
    assert made.phases[0].epochs == 1
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2] > 0


def test_the_split_of_the_teacher_s_best_labels_can_be_asked_for(where, tmp_path):
    phases = [{**QAT, "losses": [{"name": "topk_kd", "k": 1, "temperature": 2.0}]}]
    made, _ = quantize(where, tmp_path, phases=phases)
    assert torch.isfinite(torch.tensor([record["loss"] for record in made.phases[0].history])).all()
    phases[0]["losses"] = [{"name": "topk_kd", "k": 3}]
    with pytest.raises(ProfileError, match=r"losses\.0\.k: topk_kd takes 3 labels, there are 2"):
        quantize(where, tmp_path, "wrong", phases=phases)
