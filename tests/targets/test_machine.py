"""What else went on: readings from texts of the kernel, what they make doubtful, and one real busy core."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from squeeze.doctor import quietness
from squeeze.progress import Silent
from squeeze.targets import limits, machine, watch
from squeeze.targets.cpu import Settings, measure
from squeeze.targets.limits import at_most, doubted, latency, throughput
from squeeze.targets.machine import Disturbance, doubts, reasons
from squeeze.targets.measurement import Estimate, MachineState, Measurement
from squeeze.targets.subjects import Subject
from squeeze.targets.watch import Snapshot, Throttling, between, core_times, pressure, throttling
from tests import tiny_onnx as tiny
from tests.measured import QUIET, measurement

STAT = """\
cpu  2000 10 300 9000 20 5 6 70 0 0
cpu0 1000 10 200 4000 10 5 5 30 0 0
cpu1 1000 0 100 5000 10 0 1 40 0 0
intr 426669 0 0
ctxt 12
"""
BLOCKS = ((2.0,) * 20,) * 20
"""400 calls of 2 ms: a p50 of 2 ms, 500 texts a second."""


@pytest.mark.parametrize("module", [watch, limits])
def test_docstrings(module):
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


def state(**changed) -> MachineState:
    return MachineState(**{**dict(QUIET), **changed})


def busy(**changed) -> Measurement:
    """A measurement of 2 ms a call by two threads, on a machine with something wrong."""
    return measurement(blocks=BLOCKS, machine=state(**changed), threads=2)


@pytest.mark.parametrize(
    ("cores", "found"), [((0,), (12.2, 0.3)), ((1,), (11.01, 0.4)), ((0, 1), (23.21, 0.7)), ((2,), None)]
)
def test_times_of_cores(cores, found):
    assert core_times(STAT, cores, 100) == (found if found is None else pytest.approx(found))


def test_times_of_a_kernel_without_steal_time_and_of_no_kernel():
    assert core_times("cpu0 1 2 3 4\n", [0], 100) is None
    assert core_times("", [0], 100) is None
    assert core_times(STAT, [], 100) is None


@pytest.mark.parametrize("text", ["", "full avg10=0.00 total=9", "some avg10=0.00", "some total=x"])
def test_pressure_that_cannot_be_read_is_none(text):
    assert pressure(text) is None


@pytest.mark.parametrize("text", ["", "usage_usec 5\n", "nr_periods 3\n", "nr_periods x\nnr_throttled y\n"])
def test_throttling_that_cannot_be_read_is_none(text):
    assert throttling(text) is None


def kernel(folder: Path, **texts: str) -> Path:
    """A folder with files as the kernel has them."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def only_core_1(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)


@pytest.mark.parametrize(
    ("files", "cores", "stopped"),
    [
        (
            {"cpu.max": "50000 100000", "cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_usec 1500000"},
            0.5,
            4,
        ),
        (
            {
                "cpu.cfs_quota_us": "150000",
                "cpu.cfs_period_us": "100000",
                "cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000",
            },
            1.5,
            3,
        ),
        ({"cpu.max": "max 100000", "cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_usec 1"}, None, None),
        ({"cpu.max": "50000 100000"}, 0.5, None),
    ],
)
def test_a_reading_of_a_whole_kernel(files, cores, stopped, tmp_path, only_core_1, monkeypatch):
    group = tmp_path / "group"
    kernel(group, **files)
    monkeypatch.setattr(watch, "groups", lambda member: {group})
    proc = kernel(
        tmp_path / "proc",
        stat=STAT,
        pressure__cpu="some avg10=0.00 total=5000000\nfull avg10=0.00 total=0",
        pressure__memory="some avg10=0.00 total=1000000",
        vmstat="pswpin 3\npswpout 4\n",
    )
    devices = kernel(
        tmp_path / "cpu",
        cpu1__cpufreq__scaling_cur_freq="2900000\n",
        cpu1__cpufreq__scaling_max_freq="3200000\n",
        cpu1__thermal_throttle__core_throttle_count="5\n",
        cpu1__thermal_throttle__package_throttle_count="2\n",
    )
    ticks = os.sysconf("SC_CLK_TCK")
    found = watch.snapshot(proc, devices)
    assert found.busy_s == pytest.approx(1101 / ticks)
    assert found.steal_s == pytest.approx(40 / ticks)
    assert (found.clock_mhz, found.clock_limit_mhz, found.thermal_throttles) == ((2900.0,), (3200.0,), 7)
    assert (found.cpu_waiting_s, found.memory_waiting_s, found.swapped_pages) == (5.0, 1.0, 7)
    assert found.quota_cores == cores
    assert (None if found.throttling is None else found.throttling.throttled) == stopped


def test_a_system_that_shows_nothing_gives_none_and_no_numbers(tmp_path, only_core_1, monkeypatch):
    monkeypatch.setattr(watch, "groups", lambda member: set())
    first = watch.snapshot(tmp_path, tmp_path)
    shown = between(first, replace(first, at_s=first.at_s + 2.0))
    none = {name for name, value in shown.items() if value is None}
    assert none == set(shown) - {"seconds", "cores", "major_faults", "timer_ns"}
    assert MachineState.parse(shown).other_load is None


def test_what_happened_is_the_difference_of_two_readings():
    before = Snapshot(
        at_s=10.0,
        own_s=1.0,
        major_faults=3,
        cores=(0, 1),
        busy_s=50.0,
        steal_s=2.0,
        clock_mhz=(3000.0, 2000.0),
        clock_limit_mhz=(3000.0, 3200.0),
        thermal_throttles=7,
        cpu_waiting_s=1.0,
        memory_waiting_s=None,
        swapped_pages=5,
        quota_cores=0.5,
        throttling=Throttling(10, 4, 1.0),
        timer_ns=60,
    )
    after = replace(
        before,
        at_s=14.0,
        own_s=4.0,
        major_faults=5,
        busy_s=55.0,
        steal_s=2.8,
        clock_mhz=(3000.0, 3000.0),
        thermal_throttles=9,
        cpu_waiting_s=2.0,
        swapped_pages=6,
        throttling=Throttling(50, 24, 3.5),
        timer_ns=40,
    )
    found = MachineState.parse(json.loads(json.dumps(between(before, after))))
    assert found.other_load == pytest.approx((5.0 - 3.0) / 8)
    assert found.steal == pytest.approx(0.1)
    assert found.clock_mhz == (2500.0, 3000.0)
    assert found.clock_limit_mhz == 3200.0
    assert (found.thermal_throttles, found.swapped_pages, found.major_faults) == (2, 1, 2)
    assert (found.cpu_waiting, found.memory_waiting) == (0.25, None)
    assert (found.throttled_periods, found.throttled_s, found.timer_ns) == (20, 2.5, 40)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"busy_s": 9.0, "steal_s": 1.0}, "no quota, 10.0% of its time stolen"),
        ({"busy_s": 9.0, "steal_s": 1.0, "quota_cores": 0.5}, "quota of 0.5 cores, 10.0% of its time stolen"),
        (
            {"busy_s": 0.0, "steal_s": 0.0, "thermal_throttles": 3},
            "no quota, 0.0% of its time stolen, 3 times too hot",
        ),
        ({"busy_s": None, "steal_s": None, "thermal_throttles": 3}, "no quota"),
    ],
)
def test_the_doctor_says_what_holds_a_process_back(changed, told):
    nothing = {"quota_cores": None, "thermal_throttles": None}
    assert quietness(replace(watch.snapshot(), **{**nothing, **changed})) == told


def test_less_load_than_ours_is_none_at_all():
    """Ticks are coarse: a busy time below our own is rounding."""
    one = replace(watch.snapshot(), busy_s=1.0, own_s=1.0)
    assert between(one, replace(one, at_s=one.at_s + 1, busy_s=1.9, own_s=2.0))["other_load"] == 0.0


def test_a_quiet_machine_casts_no_doubt():
    quiet = measurement(blocks=BLOCKS, machine=QUIET)
    for figure in ("p50", "p90", "p95", "p99", machine.THROUGHPUT):
        assert doubts(quiet, figure) == ()
    assert reasons(quiet) == ()
    assert machine.notes(QUIET) == []


def test_an_older_report_is_judged_by_what_it_has():
    assert doubts(measurement(blocks=BLOCKS), "p99") == ()
    assert [each.kind for each in doubts(measurement(blocks=BLOCKS, preemptions=9), "p99")] == ["preempted"]


SLOWING = [
    ({"other_load": 0.5}, "load", "used 50% of the measured cores"),
    ({"steal": 0.3}, "steal", "hypervisor had the measured cores for 30%"),
    ({"memory_waiting": 0.4}, "memory", "waited for memory for 40%"),
    ({"thermal_throttles": 2}, "heat", "slowed 2 times because they were hot"),
    ({"major_faults": 600, "swapped_pages": 9}, "swap", "600 pages of memory, 9 pages were swapped"),
    ({"clock_mhz": (1000.0, 1000.0)}, "slow clock", "at 1000 of 3200 MHz"),
]


@pytest.mark.parametrize(("changed", "kind", "told"), SLOWING)
def test_what_only_slows_down_leaves_a_pass_and_takes_a_failure(changed, kind, told):
    model = busy(**changed)
    (found,) = doubts(model, "p50")
    assert (found.kind, found.slows) == (kind, True)
    assert latency(model, "p50", 2.5, 0.95)[1] == "pass"
    _, verdict, note = latency(model, "p50", 1.5, 0.95)
    assert verdict == "inconclusive"
    assert told in note
    assert found.hint in note
    assert throughput(model, 400.0, 0.95)[1] == "pass"
    assert throughput(model, 600.0, 0.95)[1] == "inconclusive"


EITHER_WAY = [
    ({"clock_mhz": (3000.0, 2400.0)}, {}, "clock", 0.2),
    ({"timer_ns": 400_000}, {}, "timer", 0.2),
    ({}, {"cv": 0.25}, "unsteady", 0.2),
    ({"throttled_periods": 600, "quota_cores": 0.5}, {}, "quota", None),
]


@pytest.mark.parametrize(("changed", "more", "kind", "error"), EITHER_WAY)
def test_what_may_go_either_way_takes_both_verdicts_that_it_may_have_made(changed, more, kind, error):
    model = measurement(blocks=BLOCKS, machine=state(**changed), **more)
    (found,) = doubts(model, "p50")
    assert (found.kind, found.slows) == (kind, False)
    assert found.error == (error if error is None else pytest.approx(error))
    near = [latency(model, "p50", limit, 0.95)[1] for limit in (2.2, 1.8)]
    assert near == ["inconclusive", "inconclusive"]
    far = [latency(model, "p50", limit, 0.95)[1] for limit in (3.0, 1.0)]
    assert far == (["inconclusive"] * 2 if error is None else ["pass", "fail"])


def test_however_unsteady_a_limit_far_away_is_decided():
    model = measurement(blocks=BLOCKS, machine=state(), cv=1.5)  # 2 ms: off by 2.5 times at most
    found = [latency(model, "p50", limit, 0.95)[1] for limit in (5.1, 4.9, 0.81, 0.79)]
    assert found == ["pass", "inconclusive", "inconclusive", "fail"]


@pytest.mark.parametrize(
    ("figure", "limit"), [("p50", 0.25), ("p90", 0.05), ("p95", 0.025), ("p99", 0.02), ("throughput", 0.02)]
)
def test_load_counts_from_half_of_the_tail_on_but_not_below_what_ticks_can_tell(figure, limit):
    assert doubts(busy(other_load=0.99 * limit), figure) == ()
    assert [each.kind for each in doubts(busy(other_load=1.01 * limit), figure)] == ["load"]


def test_load_strikes_as_many_calls_of_one_thread_as_were_pre_empted():
    model = measurement(blocks=BLOCKS, machine=state(other_load=0.5), preemptions=80)  # 20 %, in long turns
    assert [each.error for each in doubts(model, "p50")] == [0.0]
    assert latency(model, "p50", 1.9, 0.95)[1] == "fail"
    assert doubts(model.model_copy(update={"threads": 2}), "p50")[0].error is None


TWO_PEAKS = (((2.0,) * 17 + (4.0,) * 3),) * 20
"""400 calls, 15 % of them twice as long."""


@pytest.mark.parametrize(
    ("figure", "share", "error"),
    [
        ("p50", 0.1, 0.0),
        ("p95", 0.03, 0.0),  # the 89 % quantile is among the long calls too
        ("p95", 0.06, 0.5),  # the 83 % quantile is not
        ("p95", 0.5, None),
        ("throughput", 0.1, 1 - 2.0 / 2.3),  # the longest fifth left out
        ("throughput", 0.5, None),
    ],
)
def test_how_far_struck_calls_can_have_moved_a_figure(figure, share, error):
    found = machine.struck_error(measurement(blocks=TWO_PEAKS), figure, share)
    assert found == (error if error is None else pytest.approx(error))


def test_a_failure_stands_that_struck_calls_cannot_have_made():
    model = measurement(blocks=TWO_PEAKS, machine=QUIET, preemptions=30)  # 7.5 %: 80 % were surely spared
    judged = [latency(model, "p95", limit, 0.95)[1] for limit in (5.0, 3.0, 1.9)]
    assert judged == ["pass", "inconclusive", "fail"]


def test_throttled_calls_count_by_the_quantile_that_they_may_show_in():
    """0.8 s of 4 s of calls are this model's: a fifth of 40 stops, 8 of 400 calls, 2 %."""
    model = busy(throttled_periods=40, quota_cores=0.5)
    assert [bool(doubts(model, figure)) for figure in ("p50", "p95", "p99")] == [False, False, True]
    assert machine.notes(state(throttled_periods=40, quota_cores=0.5)) == [
        "the quota of 0.5 cores stopped the process in 40 periods"
    ]


def test_several_reasons_are_all_told_with_the_first_hint():
    note = latency(busy(other_load=0.5, steal=0.4), "p50", 1.0, 0.95)[2]
    assert "used 50%" in note
    assert "for 40%" in note
    assert note.count("(") == 1


def test_a_ratio_in_turns_is_only_doubted_for_what_does_not_cancel():
    assert reasons(measurement(blocks=BLOCKS, machine=state(other_load=0.9, steal=0.9), cv=0.5)) == ()
    assert [each.kind for each in reasons(busy(timer_ns=400_000))] == ["timer"]
    assert [each.kind for each in reasons(busy().without_samples())] == ["samples"]


def test_an_inconclusive_interval_needs_no_reason():
    busy_one = [Disturbance(kind="load", text="others ran", hint="stop them")]
    assert doubted(Estimate(value=2.0, low=1.0, high=3.0), 2.0, at_most, busy_one) == ("inconclusive", "")
    assert doubted(Estimate(value=2.0), 3.0, at_most, busy_one) == ("inconclusive", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says who used a core")
def test_a_program_on_the_same_core_is_seen(tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx", hidden=128, layers=4)
    asked = Settings(min_runs=20, min_seconds=1.0, max_seconds=20.0, starts=1)
    subject = Subject(path, "m", vocabulary=10)
    core = sorted(os.sched_getaffinity(0))[-1]
    hog = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", hog], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            (found,) = measure([subject], asked, Silent())
        finally:
            process.kill()
    assert found.machine is not None
    assert found.machine.cores == found.cores == (core,)
    assert found.machine.other_load is not None
    assert found.machine.other_load > 0.25
    assert found.machine.timer_ns > 0
    assert "load" in {each.kind for each in doubts(found, "p50")}
    assert any("other programs used" in note for note in found.notes)
    assert Measurement.parse(found.plain()) == found


def test_stretches_of_time_become_one():
    first = state(seconds=1.0, other_load=0.4, major_faults=2, clock_mhz=(3000.0, 2900.0), timer_ns=50)
    last = state(seconds=3.0, other_load=0.0, major_faults=1, clock_mhz=(2800.0, 2700.0), timer_ns=80)
    found = machine.together([first, last])
    assert found.seconds == 4.0
    assert found.other_load == pytest.approx(0.1)
    assert found.major_faults == 3
    assert found.clock_mhz == (3000.0, 2700.0)
    assert found.timer_ns == 80
    assert found.throttled_periods is None
    assert machine.together([QUIET]) == QUIET


def test_what_one_stretch_does_not_show_is_not_known_of_all():
    found = machine.together([state(steal=0.1), state(steal=None)])
    assert found.steal is None
    assert found.other_load == pytest.approx(0.001)
