"""Relative budgets, from the rounds of a report or through a reference workload."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from squeeze.budget import parse_budget
from squeeze.errors import UsageError
from squeeze.stages.gate.reports import judge
from squeeze.targets.compare import Through, against_report, elsewhere, in_rounds, interleaved
from squeeze.targets.measurement import Measurement, Report, Rounds
from tests.measured import ends, measurement

ROUNDS = Rounds(count=12, seconds=12.0, within=60.0, looks=(8, 11, 12), share=0.5, ended="time")


def in_turns(
    name: str, times: float, *, rounds: int = 12, spread: float = 0.004, seed: int = 0, **changed: Any
):
    """A model of so many ms in rounds of two blocks of 60 calls; luck of each round is drawn."""
    random = np.random.default_rng(seed)
    blocks = [
        (times * luck * np.exp(0.01 * random.standard_normal(60))).tolist()
        for luck in np.exp(spread * random.standard_normal(rounds))
        for _ in range(2)
    ]
    made = measurement(name, blocks=blocks, **changed)
    return made.model_copy(update={"round_blocks": (2,) * rounds})


def report(*models: Measurement, **changed: Any) -> Report:
    level = ROUNDS.level(0.95)
    facts = {
        "measurements": models,
        "comparisons": tuple(in_rounds(models[0], each, level) for each in models[1:]),
        "baseline": models[0].name,
        "rounds": ROUNDS,
        **changed,
    }
    return Report(**facts)


BASE, SLOWER, SAME = in_turns("base", 1.0), in_turns("slower", 1.1, seed=1), in_turns("same", 1.0, seed=2)


def verdict(found: Report, *texts: str, confidence: float | None = None) -> str:
    return judge(found, [parse_budget(text) for text in texts], confidence).verdict


def only(found: Report, text: str):
    (check,) = judge(found, [parse_budget(text)]).checks
    return check


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        (SAME, "p50<=1.02x", "pass"),
        (SLOWER, "p50<=1.02x", "fail"),
        (SLOWER, "p50<=1.1x", "inconclusive"),
        (SLOWER, "p95<=1.2x", "pass"),
        (SLOWER, "p90<=1.02x", "fail"),
        (SLOWER, "speedup=0.8x", "pass"),
        (SLOWER, "speedup=1x", "fail"),
        (SAME, "size<=1x", "pass"),
        (SAME, "rss<=0.99x", "fail"),
    ],
)
def test_a_ratio_is_judged_by_its_rounds(model, text, expected):
    found = report(BASE, model)
    assert verdict(found, text) == expected
    assert verdict(Report.model_validate_json(found.model_dump_json()), text) == expected


def test_what_it_says():
    check = only(report(BASE, SLOWER), "p50<=1.1x")
    assert (check.unit, check.limit) == ("x", 1.1)
    assert "against base: interval 1.09" in check.note
    assert check.note.endswith("x at 95% after 12 rounds in 12 s: raise --within")
    stopped = ROUNDS.model_copy(update={"ended": "decided"})
    assert "measure with this budget" in only(report(BASE, SLOWER, rounds=stopped), "p50<=1.1x").note


def test_the_last_look_decides_how_wide_an_interval_is():
    wide, narrow = (
        only(report(BASE, SLOWER, rounds=ROUNDS.model_copy(update={"share": share})), "p50<=1.1x").note
        for share in (0.05, 1.0)
    )
    assert wide != narrow
    assert ROUNDS.level(0.95) == pytest.approx(0.975)


def test_too_few_rounds_or_calls_are_inconclusive():
    few = report(in_turns("base", 1.0, rounds=5), in_turns("m", 2.0, rounds=5))
    assert verdict(few, "p50<=1.02x") == "inconclusive"
    assert "too few for an interval: raise --within" in only(few, "p50<=1.02x").note
    assert verdict(report(BASE, SAME), "p99<=2x") == "pass"
    short = [
        each.model_copy(update={"block_widths": (*each.block_widths,), "round_blocks": (1,) * 24})
        for each in (BASE, SAME)
    ]
    assert verdict(report(*short), "p99<=2x") == "inconclusive"
    assert "fewer than the 100 calls that p99 needs" in only(report(*short), "p99<=2x").note


def test_relative_budgets_need_something_to_be_relative_to():
    alone = Report(measurements=(BASE,))
    with pytest.raises(UsageError, match="nothing was compared") as caught:
        verdict(alone, "p50<=1.02x")
    assert "--baseline" in caught.value.hint
    with pytest.raises(UsageError, match="reference workload was not measured") as caught:
        verdict(alone, "p50<=2ref")
    assert "--reference" in caught.value.hint


def test_reference_units():
    unit = in_turns("reference", 0.5, seed=5)
    found = report(BASE, SLOWER, unit, reference="reference")
    found = found.model_copy(update={"comparisons": found.comparisons[:1]})
    checks = judge(found, [parse_budget("p50<=2.3ref"), parse_budget("p95=0.1ms")]).checks
    assert [each.name for each in checks] == ["p50", "p95"]  # the reference is never judged
    assert (checks[0].verdict, checks[0].unit) == ("pass", "ref")
    assert checks[0].value == pytest.approx(2.2, rel=0.01)
    assert verdict(found, "p50<=2ref") == "fail"


@pytest.mark.parametrize(
    ("before", "now", "passes", "fails"),
    [
        (0, 0, "pass", "fail"),
        (800, 0, "inconclusive", "fail"),
        (0, 800, "pass", "inconclusive"),
        (800, 800, "pass", "fail"),
    ],
)
def test_a_ratio_is_doubtful_where_one_side_alone_was_disturbed(before, now, passes, fails):
    sides = in_turns("base", 1.0, preemptions=before), in_turns("m", 1.1, seed=1, preemptions=now)
    assert verdict(report(*sides), "p50<=1.3x") == passes
    assert verdict(report(*sides), "p50<=1.02x") == fails


def test_a_clear_answer_stands_whatever_was_done_to_one_side():
    """400 of 1,440 calls were struck, and as many after them: the median is at least the 22 % quantile."""
    unit = in_turns("reference", 1.0, preemptions=400)
    found = report(unit, SLOWER, comparisons=(), baseline=None, reference="reference")
    assert only(found, "p50<=1.8ref").verdict == "pass"
    near = only(found, "p50<=1.105ref")
    assert near.verdict == "inconclusive"
    assert "other programs took the core from reference" in near.note


def test_load_times_are_paired_where_there_are_enough():
    loads = tuple(np.linspace(20, 22, 12))
    base = in_turns("base", 1.0, loads_ms=loads)
    twice = in_turns("m", 1.0, seed=1, loads_ms=tuple(2.2 * each for each in loads))
    assert verdict(report(base, twice), "load<=2x") == "fail"
    assert verdict(report(base, twice), "load<=2.3x") == "pass"
    few = [each.model_copy(update={"loads_ms": each.loads_ms[:3]}) for each in (base, twice)]
    assert verdict(report(*few), "load<=3x") == "pass"
    assert verdict(report(*few), "first<=1x") == "pass"  # 2 ms each time


THERE = {"cpu": "another", "machine": "x", "onnxruntime": "1"}


def through(old: Measurement, new: Measurement, there: Measurement, here: Measurement) -> Report:
    level = ROUNDS.level(0.95)
    compared = against_report(old, new, Through(there, level, here, level))
    return Report(measurements=(new, here), comparisons=(compared,), reference="reference", rounds=ROUNDS)


def test_another_machine_is_compared_through_the_reference():
    old, there = (
        in_turns(*each, seed=seed, environment=THERE)
        for seed, each in enumerate((("m", 3.0), ("reference", 1.5)))
    )
    new, here = in_turns("m", 1.1, seed=3), in_turns("reference", 0.5, seed=4)
    found = through(old, new, there, here)
    (compared,) = found.comparisons
    assert compared.other_machine
    assert compared.through_reference
    assert any("through the reference workload" in note for note in compared.notes)
    low, high = ends(compared.ratios["p50"])
    assert low < 1.1 < high
    assert compared.speedup == pytest.approx(1 / 1.1, rel=0.01)
    assert math.log(high / low) > math.log(np.divide(*ends(in_rounds(here, new, 0.975))[::-1]))
    assert verdict(found, "p50<=1.02x") == "fail"
    assert verdict(found, "p50<=1.2x", "speedup=0.8x", "size<=1x") == "pass"


def test_another_machine_without_a_reference_is_not_judged():
    old = in_turns("m", 3.0, environment=THERE)
    new = in_turns("m", 1.0, seed=1)
    found = Report(measurements=(new,), comparisons=(against_report(old, new),))
    for text in ("p50<=1.02x", "speedup=1x", "load<=2x"):
        check = only(found, text)
        assert (check.verdict, check.value) == ("inconclusive", None)
        assert "--reference" in check.note
    assert verdict(found, "size<=1x") == "pass"
    assert elsewhere(old, new)


def test_an_earlier_report_of_this_machine_is_compared_directly():
    old, new = in_turns("m", 1.0), in_turns("m", 1.1, seed=1)
    found = Report(measurements=(new,), comparisons=(against_report(old, new),))
    assert verdict(found, "p50<=1.02x", "p95<=1.02x") == "fail"
    assert verdict(found, "p50<=1.3x", "p95<=1.3x", "load<=2.1x") == "pass"
    assert "drift between the two runs" in found.comparisons[0].notes[0]


def test_turns_in_one_process_still_give_ratios():
    blocks = [[[1.0 * factor, 1.01 * factor]] for factor in np.linspace(1, 1.2, 12)]
    sides = [
        measurement(name, blocks=[[times * ms for ms in each[0]] for each in blocks])
        for name, times in (("base", 1.0), ("m", 1.1))
    ]
    found = Report(measurements=tuple(sides), comparisons=(interleaved(*sides),), baseline="base")
    assert verdict(found, "p50<=1.02x") == "fail"
    assert verdict(found, "p50<=1.2x") == "pass"


def test_a_looser_confidence_is_taken_from_the_samples():
    base, model = in_turns("base", 1.0, spread=0.03, seed=8), in_turns("m", 1.02, spread=0.03, seed=9)
    found = report(base, model)
    wide, narrow = (judge(found, [parse_budget("p50<=1.02x")], c).checks[0].note for c in (0.99, 0.6))
    assert wide.split(" at ")[0] != narrow.split(" at ")[0]
