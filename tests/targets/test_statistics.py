"""Quantiles, noise, limits and comparisons on made-up samples."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from squeeze.targets.compare import against_report, interleaved
from squeeze.targets.limits import at_least, at_most, disturbed, latency, throughput
from squeeze.targets.measurement import Estimate
from squeeze.targets.noise import block_variation, remarks
from squeeze.targets.quantiles import block_interval, estimate
from tests.measured import ends, measurement

MODULES = ("inputs", "limits", "noise", "quantiles", "subjects")


@pytest.mark.parametrize("name", [f"squeeze.targets.{name}" for name in MODULES] + ["squeeze.bench"])
def test_docstrings(name):
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.attempted > 0
    assert done.failed == 0


def noisy(blocks, *, seed=0, level=1.0, drift=0.0, size=20):
    """Lognormal calls; each block has a level of its own."""
    random = np.random.default_rng(seed)
    levels = level * np.exp(drift * random.standard_normal(blocks))
    return [(each * np.exp(0.05 * random.standard_normal(size))).tolist() for each in levels]


def test_blocks_that_disagree_widen_the_interval():
    calm, drifting = (estimate(noisy(20, drift=drift), 0.5, 0.95) for drift in (0.0, 0.2))
    assert np.ptp(ends(calm)) < 0.05
    assert np.ptp(ends(drifting)) > 0.1
    assert ends(drifting)[0] <= drifting.value <= ends(drifting)[1]


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    found = [ends(estimate(noisy(15, seed=seed, drift=0.1), 0.5, 0.95)) for seed in range(100)]
    covered = sum(low <= 1.0 <= high for low, high in found)
    assert covered >= 88  # 95 expected; a bootstrap over 15 blocks is a little short


def test_block_interval_needs_blocks():
    assert block_interval(noisy(5), 0.5, 0.95) is None
    assert block_interval(noisy(6), 0.5, 0.95) is not None


def test_block_variation_leaves_length_out_and_the_machine_in():
    random = np.random.default_rng(0)
    widths = [random.integers(5, 200, size=20).tolist() for _ in range(30)]
    blocks = [[0.1 + 0.01 * width + 1e-4 * width**2 for width in each] * 2 for each in widths]
    assert block_variation(blocks, widths) < 0.001
    slowed = [[time * (1.2 if place % 2 else 1.0) for time in block] for place, block in enumerate(blocks)]
    assert block_variation(slowed, widths) > 0.05


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cv": 0.2}, "vary by 20.0%"),
        ({"load": 3.0}, "load average 3.0 on 2"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"warm": False}, "not steady"),
        ({"stopped": True}, "stopped at max_seconds"),
        ({"preemptions": 7}, "took the core 7 times in 100 calls"),
    ],
)
def test_remarks(changed, told):
    facts = {"cv": 0.01, "load": 0.1, "governor": None, "warm": True, "stopped": False, "preemptions": 2}
    assert not any(told in note for note in told_by(facts))
    assert any(told in note for note in told_by({**facts, **changed}))


def told_by(facts):
    answer = {name: facts[name] for name in ("warm", "stopped", "preemptions")}
    answer |= {"warmup_runs": 20, "samples_ms": [1.0] * 100}
    around = {"load_average": facts["load"], "usable_cores": 2, "governor": facts["governor"]}
    return remarks(answer, facts["cv"], around)


def test_a_quiet_machine_is_not_remarked_upon():
    facts = {
        "cv": 0.01,
        "load": 0.1,
        "governor": "performance",
        "warm": True,
        "stopped": False,
        "preemptions": 0,
    }
    assert told_by(facts) == []


def test_limits_without_an_interval_are_inconclusive():
    assert at_most(Estimate(value=1.0), 100.0) == "inconclusive"
    assert at_least(Estimate(value=100.0), 1.0) == "inconclusive"


def test_latency_is_judged_by_its_interval():
    model = measurement(blocks=noisy(30, level=2.0))
    inside = sum(ends(model.p95)) / 2
    verdicts = [latency(model, "p95", limit, 0.95)[1] for limit in (3.0, inside, 1.0)]
    assert verdicts == ["pass", "inconclusive", "fail"]


def test_too_few_runs_say_how_many_are_needed():
    figure, verdict, note = latency(measurement(blocks=noisy(1)), "p99", 100.0, 0.95)
    assert (figure.low, verdict) == (None, "inconclusive")
    assert "min_runs to 368" in note


def test_a_failure_that_preemption_may_have_caused_is_inconclusive_and_a_pass_stays():
    busy = measurement(blocks=noisy(30, level=2.0), preemptions=20)  # of 600 calls: 3.3 %
    assert not disturbed(busy, "p50")
    assert disturbed(busy, "p95")
    assert latency(busy, "p50", 1.0, 0.95)[1] == "fail"
    just_missed = 0.999 * ends(busy.p95)[0]
    assert latency(busy, "p95", just_missed, 0.95)[1] == "inconclusive"
    assert latency(busy, "p95", 1.0, 0.95)[1] == "fail"  # 93 % of the calls were not struck and miss it too
    assert latency(busy, "p95", 5.0, 0.95)[1] == "pass"


def test_throughput_is_judged_by_its_interval():
    blocks = noisy(30, level=2.0, drift=0.1)
    calls = [time for block in blocks for time in block]
    model = measurement(blocks=blocks, batch=4, throughput_per_s=4e3 * len(calls) / sum(calls))
    inside = model.throughput_per_s
    assert [throughput(model, limit, 0.95)[1] for limit in (1500.0, inside, 2500.0)] == [
        "pass",
        "inconclusive",
        "fail",
    ]
    busy = model.model_copy(update={"preemptions": 9})  # of 600 calls: 1.5 %
    just_missed = 1.001 * ends(throughput(model, inside, 0.95)[0])[1]
    assert throughput(model, just_missed, 0.95)[1] == "fail"
    assert [throughput(busy, limit, 0.95)[1] for limit in (1500.0, just_missed, 2500.0)] == [
        "pass",
        "inconclusive",
        "fail",
    ]
    figure, verdict, note = throughput(measurement(blocks=noisy(3)), 1.0, 0.95)
    assert (figure.low, verdict) == (None, "inconclusive")
    assert "3 blocks are too few" in note


def test_paired_ratios_do_not_see_what_both_share():
    random = np.random.default_rng(0)
    levels = np.exp(0.3 * random.standard_normal(20))
    fast = [[level * time for time in block] for level, block in zip(levels, noisy(20, seed=1), strict=True)]
    slow = [
        [4 * level * time for time in block] for level, block in zip(levels, noisy(20, seed=2), strict=True)
    ]
    paired = interleaved(measurement("slow", blocks=slow), measurement("fast", blocks=fast))
    unpaired = against_report(measurement("slow", blocks=slow), measurement("fast", blocks=fast))
    assert paired.interleaved
    assert not unpaired.interleaved
    (low, high), (lower, higher) = ends(paired), ends(unpaired)
    assert lower <= low <= 4 <= high <= higher


def test_an_earlier_report_of_another_machine_is_told():
    before = measurement("m", blocks=noisy(10), threads=2, cpu="other")
    notes = " ".join(against_report(before, measurement("m", blocks=noisy(10))).notes)
    assert "threads was 2, now 1" in notes
    assert "cpu was other" in notes


def test_few_blocks_give_a_ratio_without_interval():
    found = against_report(measurement(blocks=noisy(3)), measurement(blocks=noisy(9)))
    assert found.speedup == pytest.approx(1, abs=0.1)
    assert (found.low, found.high) == (None, None)
