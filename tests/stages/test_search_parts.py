"""The parts of the search that need no model: spaces, study, costs against a budget, the last choice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from squeeze.budget import BudgetSection
from squeeze.distillation.config import EmbeddingSection, Phase, StudentSection
from squeeze.errors import ProfileError, UsageError
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import EncoderShape, LayerShape
from squeeze.scores.table import SCORES
from squeeze.stages.search.finalists import best, bisect, trial_phase
from squeeze.stages.search.judging import Judge, Limits, limits
from squeeze.stages.search.space import (
    DIMENSIONS,
    SPACES,
    Candidate,
    all_of,
    embedding_of,
    fitting,
    sample,
    settings,
    size,
    space_of,
)
from squeeze.stages.search.stage import CARVED_SCORES, LABEL_SCORES, Finalist, Row, SearchSection
from squeeze.stages.search.study import Judged, evolve, open_storage, pareto, recorded

TEACHER = EncoderShape(
    vocabulary=100,
    embedding=EmbeddingShape(width=384),
    hidden=384,
    head_size=32,
    layers=(LayerShape(heads=12, ffn=1536),) * 6,
    positions=128,
    labels=3,
)
SPACE = SPACES["carve-tiny"]


def candidate(**changes: int | float | str) -> Candidate:
    known = {"layers": 3, "heads": 4, "ffn": 384, "hidden": 0, "embedding": "product-96", "pieces": 0}
    return Candidate.model_validate({**known, **changes})


def test_scores_of_carved_students_are_those_of_the_table():
    assert {name for name, score in SCORES.items() if score.weights == "carved"} == CARVED_SCORES
    assert {name for name, score in SCORES.items() if "labels" in score.needs} == LABEL_SCORES


def test_named_spaces_have_every_dimension_and_autodistils_size():
    assert all(set(space) == set(DIMENSIONS) for space in SPACES.values())
    assert {size(SPACES[name]) for name in ("tiny", "small", "base")} == {256}
    assert len({each.name for each in all_of(SPACE)}) == size(SPACE)


def test_a_list_replaces_one_dimension():
    space = space_of(SearchSection(space="carve-tiny", layers=(1, 5)))
    assert space["layers"] == (1, 5)
    assert space["heads"] == SPACE["heads"]


def test_a_carved_student_has_no_more_than_its_teacher():
    left = fitting(space_of(SearchSection(layers=(2, 6, 7), ffn=(384, 2000))), TEACHER, carved=True)
    assert left["layers"] == (2, 6)
    assert left["ffn"] == (384,)
    with pytest.raises(ProfileError, match=r"\[search\] layers: 9, 10, 11, 12; the teacher has 6"):
        fitting(SPACES["base"], TEACHER, carved=True)
    assert fitting(SPACES["base"], TEACHER, carved=False) == SPACES["base"]


def test_a_candidate_as_a_section():
    base = StudentSection(max_positions=64)
    chosen = settings(candidate(ffn=2.5, hidden=160, pieces=9000, embedding="factorised-64"), base, 384)
    assert (chosen.layers, chosen.heads, chosen.ffn, chosen.hidden) == (3, 4, 400, 160)
    assert chosen.embedding == EmbeddingSection(kind="factorised", rank=64)
    assert (chosen.vocabulary.trim, chosen.vocabulary.pieces) == (True, 9000)
    assert chosen.max_positions == 64
    whole = settings(candidate(hidden=384), base, 384)
    assert whole.hidden is None
    assert not whole.vocabulary.trim


@pytest.mark.parametrize("text", ["product", "dense-3", "product-x", "lowrank-3", ""])
def test_forms_of_the_table_that_are_unknown(text):
    with pytest.raises(ProfileError, match="unknown"):
        embedding_of(text)


def judged(found: Candidate) -> Judged:
    worth = found.layers * found.heads + float(found.embedding.partition("-")[2]) / 100
    latency = found.layers * (0.05 * found.heads + found.ffn / 4000)
    return Judged(None, latency, latency - 0.9) if latency > 0.9 else Judged(worth, latency)


def test_a_study_that_is_cut_short_goes_on_as_if_it_had_not_been(tmp_path):
    def looked_at(folder: Path, cut: int | None) -> list[str]:
        names: list[str] = []

        def judge(found: Candidate) -> Judged:
            if len(names) == cut:
                raise KeyboardInterrupt
            names.append(found.name)
            return judged(found)

        folder.mkdir(exist_ok=True)
        storage = open_storage(None, folder)
        evolve(storage, "s", SPACE, Candidate, judge, trials=40, population=10, seed=5)
        return names

    whole = looked_at(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        looked_at(tmp_path / "cut", 23)
    rest = looked_at(tmp_path / "cut", None)
    assert len(whole) == 40
    assert rest == whole[23:]


def test_evolution_finds_better_than_chance_inside_the_budget(tmp_path):
    storage = open_storage(None, tmp_path)
    evolve(storage, "s", SPACE, Candidate, judged, trials=80, population=16, seed=0)
    rng = np.random.default_rng(0)
    worths = [judged(sample(SPACE, rng)).worth or 0.0 for _ in range(200)]
    assert max(judged(each).worth or 0.0 for each in recorded(storage, "s", Candidate)) >= np.quantile(
        worths, 0.97
    )


@pytest.mark.parametrize("url", ["nothing://here", "sqlite:////no/such/folder/search.db"])
def test_a_storage_that_cannot_be_opened(url, tmp_path):
    with pytest.raises(UsageError, match=r"\[search\] storage"):
        open_storage(url, tmp_path)


def test_workers_share_a_storage(tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    seen: list[str] = []

    def judge(found: Candidate) -> Judged:
        seen.append(found.name)
        return judged(found)

    evolve(open_storage(url, tmp_path), "s", SPACE, Candidate, judge, trials=5, population=5, seed=1)
    storage = open_storage(url, tmp_path)
    evolve(storage, "s", SPACE, Candidate, judge, trials=8, population=5, seed=1)
    assert len(seen) == 8  # the second process only does what is left
    assert set(seen) == {candidate.name for candidate in recorded(storage, "s", Candidate)}


def test_scores_are_kept_with_their_trials(tmp_path):
    storage = open_storage(None, tmp_path)
    scores = {"a": 0.1, "b": -2.5}
    evolve(
        storage,
        "s",
        SPACE,
        Candidate,
        lambda _: Judged(1.0, 2.0, 0.0, scores),
        trials=3,
        population=2,
        seed=1,
    )
    assert next(iter(recorded(open_storage(None, tmp_path), "s", Candidate).values())) == scores
    judge, scored = judge_of()
    found = Candidate.model_validate({name: values[0] for name, values in SPACE.items()})
    judge.remember({found.name: scores})
    assert (judge.scores(found), scored) == (scores, [])


def test_pareto_keeps_equals_and_drops_what_is_beaten():
    assert pareto([]) == []
    assert pareto([(1, 1), (1, 1), (0, 2), (2, 3)]) == [0, 1, 3]


def judge_of(**changes: object) -> tuple[Judge, list[str]]:
    scored: list[str] = []

    def score(found: Candidate) -> dict[str, float]:
        scored.append(found.name)
        return {"a": float(found.layers), "b": float(found.heads)}

    parts: dict[str, object] = {
        "shape": lambda found: TEACHER.model_copy(
            update={"layers": (LayerShape(heads=found.heads, ffn=found.ffn),) * found.layers}
        ),
        "latencies": lambda shape, lengths: np.array([len(shape.layers) * n / 10 for n in lengths]),
        "lengths": lambda _: (10, 10, 20, 40),
        "tokenizer_bytes": lambda _: 1000,
        "score": score,
        "every": score,
        "form": "int8-dynamic",
        "limits": Limits(),
        "weights": {"a": 1.0, "b": 2.0},
    }
    return Judge(**{**parts, **changes}), scored  # type: ignore[arg-type]


def test_worth_is_a_weighted_sum_of_standard_scores():
    judge, scored = judge_of()
    judge.standardise([candidate(layers=2, heads=2), candidate(layers=4, heads=6)])
    assert judge.usual == {"a": (3.0, 1.0), "b": (4.0, 2.0)}
    assert judge.worth(candidate(layers=4, heads=2)) == pytest.approx(1.0 * 1 + 2.0 * -1)
    assert judge(candidate(layers=4, heads=6)).worth == pytest.approx(3.0)
    assert len(scored) == len(set(scored))  # nothing is scored twice


def test_what_the_budget_excludes_is_never_scored():
    judge, scored = judge_of(limits=Limits(p95_ms=10.0))
    assert judge.cost(candidate(layers=3)).p50_ms == pytest.approx(4.5)
    found = judge(candidate(layers=3))
    assert found.worth is None
    assert found.violation == pytest.approx(np.quantile([3, 3, 6, 12], 0.95) / 10 - 1)
    assert scored == []


def test_limits_keep_headroom_for_the_error_of_a_prediction():
    assert limits(None, 0.9) == Limits()
    found = limits(BudgetSection(p95_ms=10.0, size_mb=3.0), 0.9)
    assert found == Limits(p50_ms=None, p95_ms=9.0, size_bytes=3e6)


def row(name: str, worth: float, p50: float) -> Row:
    return Row(
        name=name,
        student=StudentSection(),
        p50_ms=p50,
        p95_ms=2 * p50,
        size_bytes=1,
        parameters=1,
        scores={},
        worth=worth,
        front=True,
    )


def bisected(scores: Mapping[str, float], count: int, tolerance: float = 0.01) -> list[str]:
    """Names of what is trained on a front whose rows have these macro-F1, from the fastest to the slowest."""
    rows = [row(name, worth=place, p50=1.0 + place) for place, name in enumerate(scores)]

    def train(each: Row) -> Finalist:
        score = scores[each.name]
        return Finalist(name=each.name, score=score, p95_ms=each.p95_ms, size_bytes=1, seconds=0.0)

    return [each.name for each in bisect(rows[::-1], count, tolerance, train)]


def test_finalists_close_in_on_the_fastest_that_is_as_good_as_the_most_worthy():
    scores = dict(zip("abcdefgh", (0.5, 0.6, 0.7, 0.8, 0.895, 0.897, 0.899, 0.9), strict=True))
    assert bisected(scores, 4) == ["h", "d", "f", "e"]
    assert bisected(scores, 9) == ["h", "d", "f", "e"]
    assert bisected(scores, 2) == ["h", "d"]
    assert bisected(scores, 1) == ["h"]
    assert bisected(scores, 9, tolerance=0.5) == ["h", "d", "b", "a"]
    assert bisected({"only": 0.7}, 3) == ["only"]


def test_a_finalist_better_than_the_most_worthy_raises_the_mark():
    # After b all are held against 0.95: c is not good enough although it is as good as the most worthy.
    assert bisected({"a": 0.9, "b": 0.9, "c": 0.9, "d": 0.95, "e": 0.9, "f": 0.9, "g": 0.9, "h": 0.9}, 9) == [
        "h",
        "d",
        "b",
        "c",
    ]


def learning(name: str, *losses: str) -> Phase:
    phase = {
        "name": name,
        "epochs": 9,
        "patience": 2,
        "batch": 7,
        "losses": [{"name": loss} for loss in losses],
    }
    return Phase.parse(phase)


def test_finalists_learn_as_in_the_first_phase_that_trains_the_head():
    mimic, both = learning("mimic", "hidden_mse", "diswot_semantic"), learning("both", "hidden_mse", "kl")
    trial = trial_phase([mimic, both, learning("labels", "cross_entropy")], epochs=1)
    assert trial == both.model_copy(update={"name": "trial", "epochs": 1, "patience": None})
    with pytest.raises(ProfileError, match=r"\[distil\] phases: none trains the head"):
        trial_phase([mimic], epochs=1)


def test_the_fastest_within_tolerance_is_chosen():
    def tried(name: str, score: float, p95: float) -> Finalist:
        return Finalist(name=name, score=score, p95_ms=p95, size_bytes=1, seconds=0.0)

    found = [tried("best", 0.90, 9.0), tried("near", 0.896, 3.0), tried("far", 0.80, 1.0)]
    assert best(found, 0.005).name == "near"
    assert best(found, 0.0).name == "best"
