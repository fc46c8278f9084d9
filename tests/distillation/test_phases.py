"""How one phase is set up: which rows, which seed, what is frozen, and which epoch is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.distillation import phases
from squeeze.distillation.config import Phase, PoolReport
from squeeze.distillation.phases import PhaseInputs, run_phase
from squeeze.distillation.pool import Pool
from squeeze.models.encoder import Encoder
from squeeze.models.tokens import Encodings
from squeeze.training.loop import Job, Trained
from tests import tiny
from tests.labelled import single_label

LABELS = np.array([0, 1, 0, -1, -1])
REPORT = PoolReport(
    labelled=3, unlabelled=2, augmented=0, replaced_tokens=0, dropped_tokens=0, spliced_texts=0
)


def encodings(count: int) -> Encodings:
    return Encodings(np.arange(5, 5 + 2 * count, dtype=np.int32), np.arange(count + 1) * 2)


def ground(folder: Path, seed: int = 7) -> PhaseInputs:
    pool = Pool(tuple("abcde"), LABELS, REPORT)
    return PhaseInputs(
        pool, encodings(5), encodings(4), np.array([0, 1, 0, 1]), single_label(), 0, seed, tiny.work(folder)
    )


def phase(*losses: dict[str, Any], **more: Any) -> Phase:
    return Phase.parse({"name": "p", "losses": losses, **more})


class Signals(SimpleNamespace):
    """A teacher of width 32 whose states are drawn anew at each start of a test."""

    def __init__(self) -> None:
        super().__init__(teachers=[SimpleNamespace(encoder=tiny.encoder())])

    def states(self, *_: Any) -> torch.Tensor:
        return torch.randn(50, 32, generator=torch.Generator().manual_seed(0))

    def read(self, *_: Any) -> dict[str, torch.Tensor]:
        return {}


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that phases would train, with what was frozen and the random state at their start."""
    seen: list[tuple[Job, set[str]]] = []

    def train(job: Job, *_: Any) -> Trained:
        frozen = {name for name, each in job.objective.named_parameters() if not each.requires_grad}
        seen.append((job, frozen))
        return Trained(1, 1, 1, 1.0, 1, 0.5, ())

    monkeypatch.setattr(phases, "train", train)
    return seen


def run(where: PhaseInputs, student: Encoder, spec: Phase) -> Any:
    return run_phase(student, spec, Signals(), where)  # type: ignore[arg-type]


def test_macro_f1_chooses_the_epoch_only_where_the_head_is_trained(tmp_path, monkeypatch):
    where, student = ground(tmp_path), tiny.encoder()
    monkeypatch.setattr(PhaseInputs, "predict", lambda *_: np.array([[2.0, 0], [0, 2], [2, 0], [2, 0]]))
    f1 = (0.8 + 2 / 3) / 2  # label 0: 2 of 3 answers right, all found; label 1: one of two found
    for losses, score in (([{"name": "kl"}], f1), ([{"name": "hidden_mse"}, {"name": "diswot_semantic"}], 0)):
        found = where.score(student, phase(*losses))
        assert {name: found[name] for name in ("score", "macro_f1", "accuracy")} == pytest.approx(
            {"score": score, "macro_f1": f1, "accuracy": 0.75}
        )


@pytest.mark.parametrize(("data", "rows"), [("all", [0, 1, 2, 3, 4]), ("labelled", [0, 1, 2])])
def test_a_phase_trains_on_its_rows_in_the_order_of_the_seed(data, rows, jobs, tmp_path):
    run(ground(tmp_path, seed=11), tiny.encoder(), phase({"name": "kl"}, data=data))
    ((job, _),) = jobs
    assert job.seed == 11
    assert len(job.lengths) == len(rows)
    batch = job.collate(np.arange(len(rows)))
    assert batch["labels"].tolist() == LABELS[rows].tolist()
    assert batch["ids"][:, 0].tolist() == [5 + 2 * row for row in rows]


def test_a_frozen_embedding_is_free_again_after_its_phase(jobs, tmp_path):
    where, student = ground(tmp_path), tiny.encoder()
    run(where, student, phase({"name": "kl"}, freeze_embedding=True))
    assert jobs[0][1] == {"student.embedding.weight"}
    assert all(each.requires_grad for each in student.parameters())


def test_a_learned_projection_starts_alike_whatever_came_before(jobs, tmp_path):
    spec = phase({"name": "hidden_mse", "projection": "learned"})
    for seed, before in ((7, 1), (7, 2), (8, 1)):
        torch.manual_seed(before)
        run(ground(tmp_path, seed), tiny.encoder(seed=1, hidden=16), spec)
    first, same, other = (job.objective.parts[0]["projection"].weight for job, _ in jobs)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_probes_of_auto_alpha_are_labels_and_answers_from_one_start(jobs, tmp_path, monkeypatch):
    """The probe on labels is right, the one on answers is wrong: all weight goes to the labels."""
    right = np.array([[9.0, 0], [0, 9], [9, 0], [0, 9]])
    starts: list[torch.Tensor] = []

    def predict(_: PhaseInputs, student: Encoder) -> Any:
        starts.append(student.head.output.bias.detach().clone())
        alpha = jobs[-1][0].objective.weights[0]
        student.head.output.bias.data += 1  # as a training would
        return right if alpha == 1 else right[:, ::-1]

    monkeypatch.setattr(PhaseInputs, "predict", predict)
    student = tiny.encoder()
    begin = student.head.output.bias.detach().clone()
    found = run(ground(tmp_path), student, phase({"name": "cross_entropy"}, {"name": "kl"}, alpha="auto"))
    assert found.alpha == pytest.approx(1, abs=1e-3)
    assert [job.objective.weights for job, _ in jobs] == [[1, 0], [0, 1], [found.alpha, 1 - found.alpha]]
    assert [job.name for job, _ in jobs] == ["alpha-labels-p", "alpha-teacher-p", "phase-p"]
    assert all(torch.equal(begin, each) for each in starts)
    assert torch.equal(student.head.output.bias, begin)
