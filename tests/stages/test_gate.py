"""The gate on made-up figures."""

from __future__ import annotations

import json

import pytest

from squeeze import artifact
from squeeze.budget import BudgetSection
from squeeze.core.metrics import Quality
from squeeze.errors import ProfileError
from squeeze.stage import Work
from squeeze.stages.gate.run import FILE, judge
from squeeze.stages.gate.stage import STAGE, GateConfig, GateResult
from squeeze.targets.measurement import MEASUREMENTS, Report
from tests import tiny_onnx as tiny
from tests.measured import ends, measurement

INT8 = measurement(form="int8-dynamic")


def checks(budget, *, measurements=(INT8,), quality=None, teacher=None):
    found = judge(
        BudgetSection.parse(budget),
        measurements,
        quality=Quality.parse(tiny.quality(macro_f1=0.78)) if quality is None else quality,
        teacher=Quality.parse(tiny.quality(macro_f1=0.8)) if teacher is None else teacher,
        labels=tiny.LABELS,
    )
    return {each.name: each for each in found}


@pytest.mark.parametrize(
    ("budget", "value", "verdicts"),
    [
        ("p50_ms", 1.0, {1.5: "pass", 0.5: "fail"}),
        ("p95_ms", 1.0, {1.5: "pass", 0.5: "fail"}),
        ("p99_ms", 1.0, {1.5: "pass", 0.5: "fail"}),
        ("load_ms", 20.0, {31.0: "pass", 25.0: "inconclusive", 14.0: "fail"}),
        ("size_mb", 2.5, {2.5: "pass", 2.4: "fail"}),
        ("rss_mb", 80.0, {80.0: "pass", 79.0: "fail"}),
        ("accuracy", 0.9, {0.9: "pass", 0.91: "fail"}),
        ("macro_f1", 0.78, {0.78: "pass", 0.79: "fail"}),
        ("retention", 0.975, {0.97: "pass", 0.98: "fail"}),
        ("agreement", 0.95, {0.95: "pass", 0.96: "fail"}),
    ],
)
def test_every_line_of_the_budget(budget, value, verdicts):
    for limit, verdict in verdicts.items():
        (found,) = checks({budget: limit}).values()
        assert (found.name, found.limit, found.verdict) == (budget, limit, verdict)
        assert found.value == pytest.approx(value)


def test_every_field_of_the_section_is_judged():
    limits = {
        name: 0.6
        for name in BudgetSection.model_fields
        if name not in ("form", "target", "confidence", "recall", "scores")
    }
    assert set(checks(limits)) == set(limits)


def test_any_other_score_of_the_task():
    found = checks({"scores": {"ece": 0.06, "micro_f1": 0.1}})
    assert (found["ece"].verdict, found["ece"].value) == ("pass", 0.05)
    assert checks({"scores": {"ece": 0.04}})["ece"].verdict == "fail"  # less is better
    assert (found["micro_f1"].verdict, found["micro_f1"].value) == ("fail", None)


def test_a_task_without_labels_has_no_recall():
    without = {**tiny.quality(), "recall": []}
    made = judge(
        BudgetSection.parse({"recall": {"fire": 0.5}}),
        [],
        quality=Quality.parse(without),
        teacher=None,
        labels=("fire", "flood"),
    )
    assert [(check.verdict, check.value) for check in made] == [("fail", None)]


def test_recall_by_label():
    found = checks({"recall": {"fire": 0.7, "flood": 0.9, "snow": 0.5}})
    assert [(each.value, each.verdict) for each in found.values()] == [
        (0.7, "pass"),
        (0.8, "fail"),
        (None, "fail"),
    ]
    assert "calm, fire, flood" in found["recall.snow"].note


def test_a_latency_limit_inside_its_interval_is_inconclusive_at_a_confidence():
    blocks = [[1.0 + 0.01 * place + 0.001 * block for place in range(20)] for block in range(20)]
    model = measurement(blocks=blocks)
    limit = (model.p50.value + ends(model.p50)[1]) / 2
    assert checks({"p50_ms": limit}, measurements=[model])["p50_ms"].verdict == "inconclusive"
    assert checks({"p50_ms": limit, "confidence": 0.51}, measurements=[model])["p50_ms"].verdict == "pass"


def test_two_targets_are_two_lines():
    other = measurement(target="board", blocks=[[9.0] * 20] * 20)
    found = checks({"p50_ms": 2.0}, measurements=[INT8, other])
    assert {name: each.verdict for name, each in found.items()} == {
        "p50_ms on cpu": "pass",
        "p50_ms on board": "fail",
    }


def test_a_form_that_was_not_measured_fails():
    found = checks({"p95_ms": 5.0, "size_mb": 5.0}, measurements=[])
    assert {each.verdict for each in found.values()} == {"fail"}
    assert all(each.value is None and "not measured" in each.note for each in found.values())


def test_missing_quality_fails():
    found = judge(
        BudgetSection.parse({"accuracy": 0.1, "retention": 0.1, "agreement": 0.1, "recall": {"fire": 0.1}}),
        [],
        quality=None,
        teacher=None,
        labels=tiny.LABELS,
    )
    assert [each.verdict for each in found] == ["fail"] * 4


def test_without_a_teacher_figure_agreement_and_retention_fail():
    alone = Quality.parse(tiny.quality(agreement=None))
    worthless = Quality.parse(tiny.quality(macro_f1=0.0))
    found = checks({"agreement": 0.1, "retention": 0.1}, quality=alone, teacher=worthless)
    assert {each.verdict for each in found.values()} == {"fail"}


@pytest.fixture
def stage(tmp_path):
    def act(budget):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        work = Work(out=out, scratch=tmp_path, cache=tmp_path)
        return STAGE.run(GateConfig.parse({"budget": budget}), inputs(tmp_path), work), out

    return act


def inputs(folder):
    made = {"bundle": tiny.bundle(folder / "bundle")}
    result = {"quality": {"test": tiny.quality(macro_f1=0.8)}}
    (folder / "t").mkdir()
    made["teacher"] = artifact.commit(folder / "t", folder / "teacher", "teacher", {"result": result})
    (folder / "m").mkdir()
    slow = measurement("model.onnx", form="fp32", blocks=[[50.0] * 20] * 20)
    report = Report(measurements=(slow, measurement("model.int8.onnx", form="int8-dynamic")))
    artifact.write_json(folder / "m" / MEASUREMENTS, report.plain())
    made["measurements"] = artifact.commit(
        folder / "m", folder / "measurements", "measurements", {"result": {}}
    )
    return made


def test_the_last_form_is_judged_and_the_verdict_written(stage):
    result, out = stage({"p95_ms": 5.0, "retention": 0.97, "recall": {"calm": 0.9}})
    assert (result.verdict, result.form) == ("pass", "int8-dynamic")
    assert GateResult.parse(json.loads((out / FILE).read_text())) == result


def test_a_verdict_names_the_targets_that_it_is_of(stage, tmp_path):
    assert stage({"p95_ms": 5.0})[0].targets == ("cpu",)
    both = [measurement("model.int8.onnx", form="int8-dynamic", target=name) for name in ("cpu", "gpu")]
    artifact.write_json(tmp_path / "measurements" / MEASUREMENTS, Report(measurements=tuple(both)).plain())
    made = {
        name: artifact.load(tmp_path / name, verify=False) for name in ("bundle", "teacher", "measurements")
    }
    for budget, expected in (({}, ("cpu", "gpu")), ({"target": "gpu"}, ("gpu",))):
        config = GateConfig.parse({"budget": {"p95_ms": 5.0, **budget}})
        work = Work(out=tmp_path, scratch=tmp_path, cache=tmp_path)
        assert vars(STAGE.run(config, made, work))["targets"] == expected


def test_another_form_can_be_judged(stage):
    result, _ = stage({"form": "fp32", "p95_ms": 5.0, "accuracy": 0.5})
    assert (result.verdict, result.form) == ("fail", "fp32")
    assert [each.verdict for each in result.checks] == ["fail", "pass"]


def test_one_open_question_makes_the_verdict_inconclusive(stage):
    result, _ = stage({"p50_ms": 5.0, "load_ms": 20.0})
    assert result.verdict == "inconclusive"


def test_an_empty_budget_is_no_pass(stage):
    assert stage({})[0].verdict == "inconclusive"


def test_an_unknown_form_is_refused_with_the_known_ones(stage):
    with pytest.raises(ProfileError, match=r"form 'int4'.*fp32, int8-dynamic"):
        stage({"form": "int4", "p95_ms": 1.0})
