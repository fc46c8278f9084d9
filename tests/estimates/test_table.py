"""The shipped table: a source for every figure, and intervals that are as wide as what is known."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmarks.estimates import ASKED, published
from squeeze.errors import UsageError
from squeeze.estimates.rates import predict
from squeeze.estimates.table import UNCHECKED, Figure, Specification, rows
from squeeze.estimates.work import KINDS, Part

ASKED_FOR = {"pi4", "pi5", "pixel4", "pixel6", "pixel8", "galaxy-s23", "jetson-orin-nano", "iphone13"}
FIGURES = [name for name in Specification.model_fields if name != "name"]


def test_all_devices_are_there():
    assert set(rows()) == ASKED_FOR


@pytest.mark.parametrize("name", sorted(ASKED_FOR))
def test_every_figure_has_a_source(name):
    row = rows()[name]
    for figure in FIGURES:
        found = getattr(row, figure)
        assert len(found.source) > 10, figure
        assert all(value > 0 for value in found.values), figure
        assert found.source in row.source
    assert "not measured" in row.source
    assert len(row.int8.values) == len(row.fp32.values)
    assert list(row.fp32.values) == sorted(row.fp32.values, reverse=True)


@pytest.mark.parametrize("name", ["pixel8", "galaxy-s23", "jetson-orin-nano", "iphone13"])
def test_what_nobody_checked_says_so_and_is_wider(name):
    assert UNCHECKED in rows()[name].source
    assert rows()[name].width(1) > 2


@pytest.mark.parametrize("name", sorted(ASKED_FOR))
def test_no_interval_is_narrower_than_twice(name):
    row = rows()[name]
    widths = [row.width(threads) for threads in range(1, row.cores + 1)]
    assert widths[0] >= 2
    assert widths == pytest.approx(sorted(widths))


def test_a_figure_without_source_is_refused():
    with pytest.raises(ValidationError):
        Figure(values=(1.0,), source="")


def test_one_core_by_hand():
    """A Pi 4: half of 14.4 GFLOP/s, 2.8 GB/s, 10 microseconds a node and for the call."""
    rates = rows()["pi4"].rates(1)
    assert set(rates.kinds) == set(KINDS)
    assert predict(rates, [Part("product", 7.2e9, 1e6)]) == pytest.approx(1000 + 0.02)
    assert predict(rates, [Part("product", 1.0, 2.8e6)]) == pytest.approx(1 + 0.02)
    assert predict(rates, [Part("int8-static", 13e9, 1e6)]) == pytest.approx(1000 + 0.02)


def test_four_cores_are_between_what_little_and_what_all_of_them_give():
    row = rows()["pi4"]
    assert row.gain(1) == (1.0, 1.0)
    assert row.gain(4) == (1.75, 4.0)
    one, four = (row.rates(threads).kinds["product"].gops or 0 for threads in (1, 4))
    assert four / one == pytest.approx(7**0.5)
    assert row.width(4) == pytest.approx(2 * (4 / 1.75) ** 0.5)
    with pytest.raises(UsageError, match="threads 5"):
        row.rates(5)


def test_published_runs_lie_inside_as_often_as_is_asked():
    found = published()
    assert len(found) >= 60
    assert all(len(each["source"]) > 20 for each in found)
    assert sum(each["inside"] for each in found) / len(found) >= ASKED["published"]
    base = next(each for each in found if each["model"] == "BERT-base")
    gops = 0.5 * 45 * (1.75 * 162 / 45) ** 0.5
    assert base["mid_ms"] == pytest.approx(22.5 / gops * 1e3)
