"""The fastest point under a limit, of made-up samples."""

from __future__ import annotations

import pytest

from squeeze.sweeping.choice import choose
from squeeze.sweeping.grid import efficiency, merged, throughput
from squeeze.sweeping.options import Limit
from squeeze.sweeping.records import Place, Point
from tests.measured import ends, measurement

WALKS = 6


def point(batch: int, ms: float, *, jitter: float = 0.01, **changed) -> Point:
    """Six walks of 40 calls that take about so long."""
    steps = [1 + jitter * (call % 5 - 2) / 2 for call in range(40)]
    blocks = [[ms * step * (1 + jitter * (walk - 2.5) / 10) for step in steps] for walk in range(WALKS)]
    samples = [each for block in blocks for each in block]
    rate = batch * 1e3 * len(samples) / sum(samples)
    found = measurement(blocks=blocks, batch=batch, throughput_per_s=rate, **changed)
    return Point(
        place=Place(threads=1, batch=batch, sequence=16), measurement=found, throughput=throughput(found)
    )


def choice(points, limit_ms: float):
    return choose(points, Limit(figure="p95", limit_ms=limit_ms), 0.95)


def test_the_most_texts_a_second_inside_the_limit():
    points = [point(1, 2.0), point(4, 5.0), point(16, 15.0)]
    found = choice(points, 10)
    assert (found.verdict, found.best) == ("pass", points[1].place)
    assert (found.equals, found.undecided) == ((), ())


def test_none_when_all_are_too_slow():
    found = choice([point(1, 12.0), Point(place=Place(threads=1, batch=4), error="no")], 10)
    assert (found.verdict, found.best, found.undecided) == ("fail", None, ())


def test_undecided_when_the_limit_lies_inside_the_interval():
    near = point(1, 10.0, jitter=0.2)
    assert near.measurement is not None
    low, high = ends(near.measurement.p95)
    found = choice([near, point(4, 30.0)], (low + high) / 2)
    assert (found.verdict, found.best, found.undecided) == ("inconclusive", None, (near.place,))


def test_an_undecided_point_does_not_hide_a_sure_one():
    near = point(16, 10.0, jitter=0.2)
    assert near.measurement is not None
    found = choice([point(1, 2.0), near], near.measurement.p95.value)
    assert (found.verdict, found.best, found.undecided) == (
        "pass",
        Place(threads=1, batch=1, sequence=16),
        (near.place,),
    )


def test_a_point_that_was_disturbed_is_not_too_slow():
    found = choice([point(1, 12.0, preemptions=200)], 10)
    assert (found.verdict, found.undecided) == ("inconclusive", (Place(threads=1, batch=1, sequence=16),))


def test_equals_are_named():
    points = [point(1, 2.0, jitter=0.2), point(2, 4.02, jitter=0.2), point(4, 20.0)]
    found = choice(points, 30)
    assert found.best == points[0].place
    assert found.equals == (points[1].place,)


def test_walks_become_blocks_of_one_measurement():
    walks = [measurement(blocks=[[ms] * 5, [ms] * 5], preemptions=1) for ms in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    walks = [
        each.model_copy(
            update={
                "environment": {**each.environment, "load_average": 0.1, "usable_cores": 2, "governor": None}
            }
        )
        for each in walks
    ]
    found = merged(walks, 60, 0.95)
    assert [set(block) for block in found.blocks()] == [{1.0}, {2.0}, {3.0}, {4.0}, {5.0}, {6.0}]
    assert (found.runs, found.p50.value, found.preemptions) == (60, 3.5, 6)
    assert found.p50.low == pytest.approx(2.0, abs=1.0)
    assert len(found.loads_ms) == 6 * 3
    assert any("block medians vary" in note for note in found.notes)
    assert any("stopped at max_seconds" in note for note in merged(walks, 61, 0.95).notes)
    assert not any("stopped" in note for note in found.notes)


def test_few_walks_give_no_interval_of_the_throughput():
    found = throughput(measurement(blocks=[[2.0] * 10] * 5, throughput_per_s=500.0))
    assert (found.value, found.low, found.high) == (500.0, None, None)


def test_two_threads_that_halve_the_time_are_ideal():
    one = measurement(blocks=[[4.0] * 10] * WALKS)
    many = measurement(blocks=[[2.0] * 10] * WALKS, threads=2)
    slow = measurement(blocks=[[4.0] * 10] * WALKS, threads=2)
    assert efficiency(many, one).plain() == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert efficiency(slow, one).value == 0.5
