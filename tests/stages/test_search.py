"""The search stage on tiny random teachers: what it writes, what it refuses, what a kill costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from squeeze.artifact import Artifact
from squeeze.distillation.config import ARCH, StudentSection
from squeeze.errors import Corrupt, GateFailed, ProfileError
from squeeze.models.encoder import EncoderShape
from squeeze.stages.distil.run import run as distil
from squeeze.stages.search import finalists, search_inputs
from squeeze.stages.search.run import run
from squeeze.stages.search.stage import TABLE, SearchConfig, SearchResult
from tests import tiny
from tests.distilled import KD, config, inputs

SEARCH: dict[str, Any] = {
    "layers": [1, 2, 3],
    "heads": [1, 2, 4],
    "ffn": [8, 16, 32],
    "hidden": [0],
    "embedding": ["dense", "product-4", "factorised-8"],
    "pieces": [0, 120],
    "trials": 20,
    "population": 6,
    "finalists": 2,
    "rows": 32,
}


class Times:
    """A cost table that counts: one microsecond a head, neuron and token."""

    def latencies_ms(self, shape: EncoderShape, form: str, lengths: Sequence[int]) -> Any:
        work = sum(layer.heads * 10 + layer.ffn for layer in shape.layers)
        return np.array([work * length / 1000 for length in lengths]) * (1.0 if form == "fp32" else 0.5)

    def latency_ms(self, shape: EncoderShape, form: str, length: int) -> float:
        return float(self.latencies_ms(shape, form, [length])[0])


@pytest.fixture(autouse=True)
def times(monkeypatch):
    monkeypatch.setattr(search_inputs, "cost_table", lambda *_: Times())


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("bert"))


def settings(budget: Mapping[str, Any] | None = None, student: Any = None, **search: Any) -> SearchConfig:
    base = config(student={"embedding": {"codewords": 4}, **(student or {})})
    return SearchConfig.parse(
        {
            **base.plain(),
            "search": {**SEARCH, **search},
            "budget": budget,
        }
    )


def search(where: Mapping[str, Artifact], folder: Any, name: str = "search", **changes: Any) -> Artifact:
    work = tiny.work(folder, name)
    result = run(settings(**changes), where, work)
    return tiny.artifact(work.out, "arch", result.plain())


def test_a_shape_its_table_and_a_student_of_it(bert, tmp_path):
    made = search(bert, tmp_path, budget={"p95_ms": 0.6})
    result = SearchResult.parse(made.result)
    assert result.candidates == 3 * 3 * 3 * 3 * 2
    assert result.scored + result.outside > 0
    assert result.outside > 0
    assert result.chosen.p95_ms <= 0.6 * 0.9
    table = json.loads((made.path / TABLE).read_text())
    assert len(table["rows"]) == result.scored
    assert all(row["p95_ms"] <= 0.6 * 0.9 for row in table["rows"])
    assert {each.name for each in result.finalists} <= {row.name for row in result.front}
    student = StudentSection.parse(json.loads((made.path / ARCH).read_text()))
    assert student == result.chosen.student
    encoder = distil(config(), {**bert, "arch": made}, tiny.work(tmp_path, "distil"))
    assert encoder.parameters == result.chosen.parameters


def test_nothing_fits(bert, tmp_path):
    with pytest.raises(GateFailed, match="no student fits the budget; the nearest is L1-A1-F8"):
        search(bert, tmp_path, budget={"p95_ms": 0.001})
    with pytest.raises(GateFailed, match="MB"):
        search(bert, tmp_path, budget={"size_mb": 0.001})


def test_a_space_that_the_teacher_is_too_small_for(bert, tmp_path):
    with pytest.raises(ProfileError, match=r"\[search\] layers: 4, 5; the teacher has 3"):
        search(bert, tmp_path, layers=[4, 5])
    with pytest.raises(ProfileError, match="does not divide"):
        search(bert, tmp_path, embedding=["product-5"])


def test_a_search_that_is_cut_short_ends_like_one_that_is_not(bert, tmp_path, monkeypatch):
    whole = search(bert, tmp_path, "whole")
    original = finalists._train
    seen: list[str] = []

    def cut(*arguments: Any) -> Any:
        if seen:
            raise KeyboardInterrupt
        seen.append(arguments[1].name)
        return original(*arguments)

    monkeypatch.setattr(finalists, "_train", cut)
    with pytest.raises(KeyboardInterrupt):
        search(bert, tmp_path, "resumed")
    tried: list[str] = []

    def noted(*arguments: Any) -> Any:
        tried.append(arguments[1].name)
        return original(*arguments)

    monkeypatch.setattr(finalists, "_train", noted)
    again = search(bert, tmp_path, "resumed")
    assert seen[0] not in tried  # what was finished is not done again
    assert (again.path / ARCH).read_bytes() == (whole.path / ARCH).read_bytes()
    assert [r["name"] for r in rows(again)] == [r["name"] for r in rows(whole)]


def rows(made: Artifact) -> list[dict[str, Any]]:
    return json.loads((made.path / TABLE).read_text())["rows"]


def test_a_narrower_student_and_a_random_one(bert, tmp_path):
    narrow = search(bert, tmp_path, "narrow", hidden=[16], embedding=["dense"], trials=6)
    assert narrow.result["chosen"]["student"]["hidden"] == 16
    drawn = search(bert, tmp_path, "random", student={"init": "random"}, score={"parameters": 1.0}, trials=6)
    assert drawn.result["chosen"]["student"]["init"] == "random"


def test_a_damaged_arch_is_named(bert, tmp_path):
    folder = tmp_path / "arch"
    folder.mkdir()
    (folder / ARCH).write_text('{"layers": "many"}')
    where = {**bert, "arch": tiny.artifact(folder, "arch")}
    with pytest.raises(Corrupt, match=r"arch\.json"):
        distil(config(phases=[KD]), where, tiny.work(tmp_path, "distil"))
