"""Rounds with a fake measuring process that has a clock of its own, and some with real ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze.core.stats import Quantile
from squeeze.errors import UsageError
from squeeze.progress import Silent
from squeeze.runtime import usable_cores
from squeeze.targets import cpu, paired
from squeeze.targets.cpu import Settings
from squeeze.targets.paired import Question, measure, settled
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny
from tests.measured import QUIET


class World:
    """Answers instead of processes.

    Args:
        slower: how many times the second model is the first one.
        spread: of the log ratio between rounds.
        round_s: what a round takes.
    """

    def __init__(
        self, slower: float = 1.0, spread: float = 0.0, round_s: float = 1.0, calls: int = 4
    ) -> None:
        self.now, self.slower, self.spread, self.round_s, self.calls = 100.0, slower, spread, round_s, calls
        self.random = np.random.default_rng(0)
        self.requests: list[dict[str, Any]] = []

    def clock(self) -> float:
        return self.now

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self.requests.append(request)
        return {"start": self.start, "round": self.round}[request["role"]](request)

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        self.now += 0.5
        return {
            "load_ms": 10.0,
            "first_ms": 2.0,
            "bound": 5,
            "rss_bytes": 60,
            "rss_baseline_bytes": 50,
            "inputs": {"input_ids": "tensor(int64) [?, ?]"},
            "onnxruntime": "1",
            "left": False,
        }

    def round(self, request: dict[str, Any]) -> dict[str, Any]:
        self.now += self.round_s
        size = request["sizes"] or {"cycles": 2, "calls": self.calls, "passes": [1, 2, 1]}
        level = math.exp(self.random.normal(0, 0.2))
        models = []
        for place in range(len(request["models"])):
            log = self.random.normal(0, self.spread) if place else 0.0
            ms = level * (1.0, self.slower, 0.5)[place] * math.exp(log)
            models.append(
                {
                    "load_ms": 20.0 + place,
                    "first_ms": 3.0,
                    "warming_ms": [ms] * 8,
                    "preemptions": 1,
                    "blocks_ms": [[ms] * (size["calls"] * size["passes"][place])] * size["cycles"],
                    "has_length": True,
                }
            )
        widths = [[8] * size["calls"]] * size["cycles"]
        return {"sizes": size, "widths": widths, "models": models, "machine": QUIET.plain()}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Measure in a world."""

    def run(world: World, *questions: Question, within: float = 60.0, models: int = 2, **settings: Any):
        subjects = [Subject(tmp_path / f"{place}.onnx", f"{place}.onnx") for place in range(models)]
        for place, subject in enumerate(subjects):
            subject.path.write_bytes(bytes([place]))
        for module in (cpu, paired):
            monkeypatch.setattr(module, "ask", world.ask)
        found = Settings(within=within, starts=1, **settings)
        return measure(subjects, found, Silent(), questions, clock=world.clock)

    return run


AT_MOST = Question(1, 0, limit=1.02)


def test_a_clear_answer_ends_at_the_first_look(play):
    for slower in (1.0, 1.10):
        (_, model), rounds = play(World(slower, spread=0.001), AT_MOST)
        assert (rounds.count, rounds.ended) == (8, "decided")
        assert rounds.share == pytest.approx(math.log1p((math.e - 1) * 8 / rounds.looks[-1]))
        assert len(model.rounds()) == 8


def test_a_close_one_takes_more_looks(play):
    _, rounds = play(World(1.03, spread=0.012), AT_MOST)
    assert 8 < rounds.count in rounds.looks
    assert rounds.ended == "decided"


def test_nobody_knows_and_the_time_is_over(play):
    world = World(1.02, spread=0.01)
    _, rounds = play(world, AT_MOST, within=30.0)
    assert rounds.ended == "time"
    assert 25 <= rounds.count <= 29
    assert world.now - 100 <= 30.0
    assert rounds.looks[-1] == rounds.count


def test_all_questions_must_be_answered(play):
    never = Question(1, 0, share=0.95, limit=1.1)
    _, rounds = play(World(1.1, spread=0.01), AT_MOST, never, within=20.0, confidence=0.95)
    assert rounds.ended == "time"


def test_without_a_limit_it_ends_when_the_ratio_is_known(play):
    _, rounds = play(World(1.5, spread=0.002), Question(1, 0))
    assert (rounds.count, rounds.ended) == (8, "narrow")
    _, rounds = play(World(1.5, spread=0.02), Question(1, 0), within=15.0)
    assert rounds.ended == "time"


def test_slow_rounds_are_few_and_say_so(play):
    _, rounds = play(World(2.0, round_s=12.0), AT_MOST)
    assert (rounds.count, rounds.ended, rounds.share) == (4, "time", 1.0)
    _, rounds = play(World(2.0, round_s=120.0), AT_MOST)
    assert (rounds.count, rounds.ended) == (1, "time")


def test_rounds_that_get_slower_end_with_the_time(play):
    world = World(1.02, spread=0.01)

    def hindered() -> float:
        if sum(each["role"] == "round" for each in world.requests) == 10:
            world.round_s = 3.0
        return world.now

    world.clock = hindered  # type: ignore[method-assign]
    _, rounds = play(world, AT_MOST, within=30.0)
    assert rounds.ended == "time"
    assert world.now - 100 <= 31.0
    assert rounds.count < rounds.looks[-1]


def test_orders_are_balanced_and_sizes_are_those_of_the_first_round(play):
    world = World()
    play(world, AT_MOST)
    rounds = [each for each in world.requests if each["role"] == "round"]
    orders = [each["order"] for each in rounds]
    assert orders[::2] == [each[::-1] for each in orders[1::2]]
    assert {tuple(each) for each in orders} == {(0, 1), (1, 0)}
    assert rounds[0]["sizes"] is None
    assert all(each["sizes"]["passes"] == [1, 2, 1] for each in rounds[1:])
    assert len({tuple(each["seed"]) for each in rounds}) == len(rounds)


def test_p95_asks_for_rounds_with_enough_calls(play):
    world = World()
    play(world, Question(1, 0, share=0.95, limit=1.1))
    assert world.requests[-1]["least_calls"] == 20


def test_a_measurement_keeps_every_sample_of_every_round(play):
    (base, model), _ = play(World(1.2, spread=0.001), AT_MOST)
    assert model.passes == 2
    assert model.round_blocks == (2,) * 8
    assert [len(block) for each in model.rounds() for block in each] == [8] * 16
    assert [len(each) for each in model.blocks()] == [16] * 8  # the round is the unit
    assert model.runs == len(model.samples_ms) == 128
    assert base.runs == 64
    assert base.preemptions == 8
    assert base.warm
    assert base.loads_ms == (10.0, *(20.0,) * 4)  # its own process, and the rounds that opened it first
    assert model.loads_ms == (10.0, *(21.0,) * 4)
    assert type(model).model_validate_json(model.model_dump_json()) == model


def test_a_reference_elsewhere_widens_what_must_be_settled():
    rounds = [[[[1.0]]] * 8, [[[1.0]]] * 8]
    assert settled(Question(1, 0, limit=1.02), rounds, 0.95)
    known = Quantile(value=1.0, low=0.999, high=1.001)
    unknown = Quantile(value=1.0, low=0.9, high=1.1)
    nothing = Quantile(value=1.0, low=None, high=None)
    answers = [
        settled(Question(1, 0, limit=1.02, other=each), rounds, 0.95) for each in (known, unknown, nothing)
    ]
    assert answers == [True, False, False]


def test_more_threads_than_cores_are_refused(tmp_path):
    subjects = [Subject(tmp_path / "a.onnx", "a"), Subject(tmp_path / "b.onnx", "b")]
    with pytest.raises(UsageError, match=f"may use {usable_cores()} cores"):
        measure(subjects, Settings(threads=usable_cores() + 1), Silent(), ())


def test_real_rounds(tmp_path):
    slow = tiny.classifier(tmp_path / "slow.onnx", hidden=256, layers=6)
    fast = tiny.classifier(tmp_path / "fast.onnx")
    fixed = tiny.classifier(tmp_path / "fixed.onnx", shape=(1, 16))
    subjects = [
        Subject(slow, "slow", vocabulary=10, lengths=(5, 9, 30)),
        Subject(fast, "fast"),
        Subject(fixed, "fixed", fixed=True),
    ]
    questions = (Question(1, 0, limit=0.8), Question(1, 2, share=0.9, limit=9.0))
    settings = Settings(within=120.0, starts=1, batch=2)  # as busy machines need; it ends when decided
    measured, rounds = measure(subjects, settings, Silent(), questions)
    assert rounds.count >= 8
    assert {each.batch for each in measured[:2]} == {2}
    assert measured[2].batch == 1
    assert measured[0].block_widths == measured[1].block_widths
    assert max(width for block in measured[0].block_widths for width in block) == 30
    assert measured[0].p50.value > measured[1].p50.value > 0
    assert all(len(each.rounds()) == rounds.count for each in measured)
    assert Path(subjects[0].path).exists()
