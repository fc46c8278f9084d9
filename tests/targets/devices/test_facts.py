"""Which cores are taken, and when a device is too hot to be believed."""

from __future__ import annotations

import pytest

from squeeze.errors import UsageError
from squeeze.targets.devices.facts import Condition, Core, big_cores, throttling

PHONE = [Core(core=core, capacity=250, most_khz=1_800_000) for core in range(4)]
PHONE += [Core(core=core, capacity=860, most_khz=2_400_000) for core in (4, 5, 6)]
PHONE += [Core(core=7, capacity=1024, most_khz=2_840_000)]


@pytest.mark.parametrize(
    ("threads", "cores"), [(1, (7,)), (2, (6, 7)), (4, (4, 5, 6, 7)), (5, (3, 4, 5, 6, 7))]
)
def test_the_fastest_cores_first(threads, cores):
    assert big_cores(PHONE, threads) == cores


def test_where_only_the_clock_is_known():
    cores = [Core(core=0, most_khz=2_000_000), Core(core=1, most_khz=1_000_000)]
    assert big_cores(cores, 1) == (0,)


def test_equal_cores_leave_the_first_to_the_system():
    assert big_cores([Core(core=core) for core in range(4)], 2) == (2, 3)


def test_more_threads_than_cores():
    with pytest.raises(UsageError, match=r"threads 9: the device lets us use 8 cores"):
        big_cores(PHONE, 9)


def condition(khz: int | None = None, degrees: float | None = None) -> Condition:
    return Condition(
        khz={} if khz is None else {"7": khz, "0": 300_000},
        millidegrees={} if degrees is None else {"0 cpu": int(degrees * 1e3), "1 off": -40_000},
    )


STEADY = [[1.0] * 100]


def test_a_device_that_keeps_its_pace():
    assert throttling([7], condition(2_840_000, 40), condition(2_800_000, 55), STEADY) is None
    assert throttling([7], condition(), condition(), STEADY) is None


def test_a_clock_that_falls():
    reason = throttling([7], condition(2_840_000, 45), condition(1_900_000, 83), STEADY)
    assert reason == "the clock of core 7 fell from 2.84 to 1.90 GHz, the hottest zone went from 45 to 83 °C"


def test_a_clock_of_a_core_that_was_not_used():
    assert throttling([0], condition(2_840_000), condition(1_900_000), STEADY) is None


def test_calls_that_grow_longer_while_the_clock_says_nothing():
    slowing = [10.0] * 50 + [12.0] * 50
    reason = throttling([7], condition(), condition(), [STEADY[0], slowing])
    assert reason == "the last quarter of the calls took 1.20 times as long as the first"
    assert throttling([7], condition(), condition(), [[100.0] * 10 + [120.0] * 10]) is None


def test_calls_of_less_than_a_second_say_nothing_of_heat():
    assert throttling([7], condition(), condition(), [[9.0] * 50 + [10.8] * 50]) is None
    assert throttling([7], condition(2_840_000), condition(1_900_000), [[1.0] * 100]) is not None


def test_zones_that_are_off_are_not_the_hottest():
    assert Condition(khz={}, millidegrees={"0 off": 0, "1 cpu": 41_500, "2 odd": 2**31 - 1}).hottest == 41.5
    assert Condition(khz={}, millidegrees={"0 off": 0}).hottest is None
