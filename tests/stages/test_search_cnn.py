"""A search over ResNets on tiny images: budgets, ranking, resume, workers, and the command."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from squeeze.cli import main
from squeeze.costs import resnet as costs
from squeeze.data.images import Images
from squeeze.distillation.config import ARCH
from squeeze.errors import GateFailed, UsageError
from squeeze.models.resnet import ResNetShape
from squeeze.progress import Silent
from squeeze.scores import cnn_table
from squeeze.stages.search.cnn import judging
from squeeze.stages.search.cnn.run import search
from squeeze.stages.search.cnn.settings import CnnLimits, CnnResult, CnnSearch, Score
from squeeze.stages.search.cnn.space import SPACES, CnnCandidate, all_of
from squeeze.stages.search.stage import TABLE

SIZE = (8, 8)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "set.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (20, *SIZE, 3), dtype=np.uint8), labels=np.arange(20) % 4)
    return path


@pytest.fixture
def scored(monkeypatch) -> list[tuple[int, ...]]:
    """Depths of every network that is scored."""
    seen: list[tuple[int, ...]] = []
    original = cnn_table.score_all

    def noted(shape: ResNetShape, ground: Any) -> dict[str, float]:
        seen.append(shape.depths)
        return original(shape, ground)

    monkeypatch.setattr(judging, "score_all", noted)
    return seen


def settings(images: Path, budget: list[str] | None = None, **changes: Any) -> CnnSearch:
    base: dict[str, Any] = {"teacher": (1, 2, 1), "batch": 6}
    return CnnSearch(images=images, limits=CnnLimits.read(budget or []), **{**base, **changes})


def assert_same(first: CnnResult, second: CnnResult) -> None:
    """Equal rows; the last digits of a score may differ, since torch's sums depend on how memory lies."""
    assert [row.name for row in first.rows] == [row.name for row in second.rows]
    for one, other in zip(first.rows, second.rows, strict=True):
        assert one.scores == pytest.approx(other.scores, rel=1e-3)
        assert one.model_copy(update={"scores": {}}) == other.model_copy(update={"scores": {}})


def test_named_spaces():
    assert [each.shape(100).depths for each in all_of("resnet-cifar")][:2] == [(1, 1, 1), (1, 1, 3)]
    assert len({each.name for each in all_of("resnet-cifar")}) == 64
    assert len(all_of("resnet-cifar-wide")) == 9**3 * 6
    assert all(tuple(space) == tuple(CnnCandidate.model_fields) for space in SPACES.values())
    assert {each.shape(2).widths for each in all_of("resnet-cifar")} == {(16, 32, 64)}


def test_what_the_budget_excludes_is_never_scored_and_the_rest_is_all_scored(images, scored, tmp_path):
    result = search(settings(images, ["parameters=200k", "macs=2M"]), tmp_path, Silent())
    shapes = [each.shape(4) for each in all_of("resnet-cifar")]
    inside = [s for s in shapes if costs.parameters(s) <= 200_000 and costs.macs(s, SIZE) <= 2_000_000]
    assert 2 <= len(inside) < 64
    assert sorted(scored) == sorted(each.depths for each in inside)
    assert result.inside == len(result.rows) == len(inside)
    assert result.chosen.parameters == max(map(costs.parameters, inside))
    assert all(set(row.scores) == set(get_args(Score)) for row in result.rows)
    assert ResNetShape.parse(json.loads((tmp_path / ARCH).read_text())).depths == result.chosen.depths
    assert CnnResult.parse(json.loads((tmp_path / TABLE).read_text())) == result
    assert result.semantic == "paper"


def test_the_front_has_no_network_that_another_beats(images, tmp_path):
    result = search(settings(images, ["size=100KB"], score="diswot"), tmp_path, Silent())
    assert result.chosen.front
    assert all(row.int8_bytes <= 100_000 for row in result.rows)
    worths = [row.scores["diswot"] for row in result.rows]
    assert worths == sorted(worths, reverse=True)
    for row in result.rows:
        beaten = any(
            other.scores["diswot"] > row.scores["diswot"] and other.macs < row.macs for other in result.rows
        )
        assert not (row.front and beaten)


def test_a_search_that_is_cut_short_ends_like_one_that_is_not(images, scored, tmp_path, monkeypatch):
    config = settings(images, ["macs=1.2M"], space="resnet-cifar-wide", trials=14, population=6)
    whole = search(config, tmp_path / "whole", Silent())
    assert whole.semantic == "extension"
    assert whole.inside > 14 >= len(whole.rows)  # evolved, a few of many
    before, counted = list(scored), vars(judging)["score_all"]

    def cut(shape: ResNetShape, ground: Any) -> dict[str, float]:
        if len(scored) == len(before) + 5:
            raise KeyboardInterrupt
        return counted(shape, ground)

    monkeypatch.setattr(judging, "score_all", cut)
    with pytest.raises(KeyboardInterrupt):
        search(config, tmp_path / "cut", Silent())
    monkeypatch.setattr(judging, "score_all", counted)
    again = search(config, tmp_path / "cut", Silent())
    assert_same(again, whole)
    assert len(scored) == 2 * len(before)  # nothing that was finished is scored again
    finished = search(config, tmp_path / "cut", Silent())
    assert_same(finished, whole)
    assert len(scored) == 2 * len(before)


def test_workers_share_the_networks(images, tmp_path):
    alone = search(settings(images, ["parameters=100k"]), tmp_path / "alone", Silent())
    both = search(settings(images, ["parameters=100k"], workers=2), tmp_path / "both", Silent())
    assert_same(both, alone)


def test_latency_is_measured_of_what_the_other_limits_leave(images, scored, tmp_path, monkeypatch):
    timed: list[tuple[int, ...]] = []

    def measure(shape: ResNetShape, size: tuple[int, int]) -> float:
        assert size == SIZE
        timed.append(shape.depths)
        return float(sum(shape.depths))

    original = judging.CnnJudge
    monkeypatch.setattr(judging, "CnnJudge", partial(original, measure=measure))
    config = settings(images, ["parameters=120k", "p50=7ms"])
    result = search(config, tmp_path, Silent())
    assert len(timed) == len(set(timed)) == result.inside
    assert sorted(scored) == sorted(depths for depths in timed if sum(depths) <= 7)
    assert all(row.p50_ms == row.scores["latency"] == sum(row.depths) for row in result.rows)
    assert search(config, tmp_path, Silent()).rows == result.rows
    assert len(timed) == result.inside  # measured once, and remembered
    with pytest.raises(GateFailed, match="p50 2 ms"):
        search(settings(images, ["p50=2ms", "parameters=120k"]), tmp_path, Silent())


def test_nothing_fits(images, tmp_path):
    with pytest.raises(GateFailed, match=r"the nearest is D1-1-1-W16 with 77,652 parameters"):
        search(settings(images, ["parameters=1k"]), tmp_path / "new", Silent())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parameters=many", "not NAME=NUMBER UNIT"),
        ("parameters=5ms", "unknown unit ms"),
        ("size=5", "no unit"),
        ("speed=5ms", "no figure is called speed"),
        ("macs=0", "above 0"),
    ],
)
def test_budgets_that_cannot_be_read(text, told):
    with pytest.raises(UsageError, match=told):
        CnnLimits.read([text])


def test_images_with_an_even_channel_are_standardised():
    pixels = np.full((4, *SIZE, 3), 7, dtype=np.uint8)
    pixels[:2, ..., 0] = 9
    drawn = Images(pixels, np.zeros(4, dtype=np.int64), 2)
    found = judging.standardised(drawn)
    assert found.shape == (4, 3, *SIZE)
    assert found[:, 0].mean().item() == pytest.approx(0)
    assert found[:, 0].std(correction=0).item() == pytest.approx(1)
    assert not found[:, 1:].any()


def squeeze(*words: object) -> int:
    return main(["search-cnn", *map(str, words)])


def test_the_command_shows_the_table_and_prints_json(images, tmp_path, capsys):
    words = (images, "--teacher", "1,1,1", "--batch", 4, "--budget", "parameters=80k", "--out", tmp_path)
    assert squeeze(*words) == 0
    said = capsys.readouterr().out
    assert "D1-1-1-W16" in said
    assert "diswot_relation" in said
    assert "1 of 64 in resnet-cifar are inside the budget" in said
    assert squeeze(*words, "--json") == 0
    assert CnnResult.parse(json.loads(capsys.readouterr().out)).chosen.name == "D1-1-1-W16"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--space", "resnet"], "--space"),
        (["--score", "accuracy"], "--score"),
        (["--starts", "4"], "--starts"),
        (["--teacher", "nine"], "--teacher"),
        (["--teacher", "9,0,9"], "teacher"),
        (["--budget", "p50=1ms", "--workers", "2"], "workers"),
        (["--budget", "p95=1ms"], "no figure is called p95"),
        (["--storage", "nothing://here"], "--storage"),
        (["--batch", "64"], "20 images, 64 are asked for"),
    ],
)
def test_wrong_use_is_told_in_a_line(words, told, images, tmp_path, capsys):
    base = [images, "--out", tmp_path, *(() if "--batch" in words else ("--batch", 4))]
    assert squeeze(*base, *words) == 2
    assert told in capsys.readouterr().err


def test_a_place_without_images_is_wrong_use(tmp_path, capsys):
    assert squeeze(tmp_path / "nowhere", "--out", tmp_path) == 2
    assert "no images there" in capsys.readouterr().err
