"""How a sweep is written on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from squeeze.errors import UsageError
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.sweeping.options import (
    Limit,
    SweepOptions,
    parse_counts,
    parse_lengths,
    parse_limit,
    places,
)
from squeeze.sweeping.records import Place
from squeeze.sweeping.run import Wanted, run
from squeeze.targets.subjects import Subject

MODEL = Subject(Path("m.onnx"), "m.onnx")
BUNDLE = Subject(Path("b/m.onnx"), "b/m.onnx", form="fp32", lengths=(3, 4))


@pytest.mark.parametrize(("text", "found"), [("1", (1,)), ("16,4, 1,4", (1, 4, 16))])
def test_counts(text, found):
    assert parse_counts(text, "--batch") == found


@pytest.mark.parametrize("text", ["", "0", "1,", "-1", "1;2", "two", "1,,2", "1e3", "99999999", "own"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(UsageError, match="--batch"):
        parse_counts(text, "--batch")


@pytest.mark.parametrize(("text", "found"), [("own", (None,)), ("64, own,16", (16, 64, None)), ("8", (8,))])
def test_lengths(text, found):
    assert parse_lengths(text) == found


@pytest.mark.parametrize("text", ["", "Own", "own,", "0,own"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(UsageError, match="--seq"):
        parse_lengths(text)


def test_a_limit_is_a_latency():
    assert parse_limit("p99=0.8s") == Limit(figure="p99", limit_ms=800.0)
    for text in ("p95", "size=8MB", "p95=10", "p95=0ms"):
        with pytest.raises(UsageError):
            parse_limit(text)


def test_the_grid_is_a_product():
    options = SweepOptions(batch=(1, 4), sequence=(16, 64))
    found = places(options, MODEL)
    assert found == tuple(
        Place(threads=1, batch=batch, sequence=length) for batch in (1, 4) for length in (16, 64)
    )


def test_a_bundle_has_its_own_lengths_too_and_once():
    for sequence in ((16,), (16, None)):
        found = places(SweepOptions(batch=(1,), sequence=sequence), BUNDLE)
        assert [place.sequence for place in found] == [16, None]
    assert [place.sequence for place in places(SweepOptions(batch=(1,), sequence=(None,)), MODEL)] == [None]


def test_more_threads_than_cores_are_refused():
    with pytest.raises(ValidationError, match=f"may use {usable_cores()} cores"):
        SweepOptions(threads=(1, usable_cores() + 1))


def test_a_device_says_itself_how_many_cores_it_has():
    with pytest.raises(ValidationError, match="this process may use"):
        SweepOptions(threads=(512,))
    assert SweepOptions(target="ssh:board", threads=(512,)).threads == (512,)


@pytest.mark.parametrize("target", ["gpu", "qemu:cortex-a76", "estimate:pi5", "nowhere"])
def test_what_has_no_times_of_a_processor_is_not_swept(target):
    with pytest.raises(ValidationError):
        SweepOptions(target=target)


@pytest.mark.parametrize("part", [{"cold": True}, {"energy": True}, {"texts": ["help"]}])
def test_a_device_is_asked_for_a_grid_alone(part, tmp_path):
    options = SweepOptions(target="ssh:board")
    with pytest.raises(UsageError, match=r"ssh:board: --(cold|texts|energy)"):
        run(tmp_path / "m.onnx", None, Wanted(**part), options, Silent())
