from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.functional import cross_entropy

from squeeze.progress import Silent
from squeeze.training.config import Schedule
from squeeze.training.loop import Job, train
from squeeze.training.rows import rows_read

ROWS, WIDTH, TEXTS = 40, 6, 24
READ = np.array([0, 3, 4, 9, 17, 21, 39])
UNREAD = np.setdiff1d(np.arange(ROWS), READ)
IDS = torch.from_numpy(np.random.default_rng(2).choice(READ, (TEXTS, 5)))
TARGETS = (IDS.sum(1) % 2).long()
SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.05, checkpoint_seconds=0, clip=0.3)
STILL = SCHEDULE.model_copy(update={"weight_decay": 0.0})


class Killed(BaseException):
    pass


class Model(nn.Module):
    def __init__(self, padding=None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.ModuleDict({"table": nn.Embedding(ROWS, WIDTH, padding_idx=padding)})
        self.head = nn.Linear(WIDTH, 2)

    @property
    def table(self):
        return self.body["table"]

    def forward(self, batch):
        return cross_entropy(self.head(torch.tanh(self.table(batch["ids"]).mean(1))), batch["y"])


def trained(folder, schedule, how=rows_read, read=READ, model=None, kill_at=None):
    model, calls, seen = model or Model(), itertools.count(), []

    def collate(rows):
        if next(calls) == kill_at:
            raise Killed
        return {"ids": IDS[rows], "y": TARGETS[rows]}

    def evaluate():
        with torch.no_grad():
            score = -float(model({"ids": IDS, "y": TARGETS}))
        seen.append(model.table.training)
        return {"score": score}

    job = Job("job", model, np.full(TEXTS, 5), collate, evaluate, seed=5)
    with how(model, model.table, read):
        done = train(job, schedule, folder, Silent())
    assert not any(seen)
    return model, done


def nothing(*_):
    return nullcontext()


def test_rows_that_are_read_take_the_steps_of_a_dense_training(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    dense, before = trained(tmp_path / "a", STILL, nothing)
    model, after = trained(tmp_path / "b", STILL)
    torch.testing.assert_close(model.state_dict(), dense.state_dict())
    assert not torch.equal(model.table.weight[READ], Model().table.weight[READ])
    for ours, theirs in zip(after.history, before.history, strict=True):
        assert ours == pytest.approx(theirs)


def test_decay_reaches_rows_that_are_read_and_no_others(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    much = SCHEDULE.model_copy(update={"weight_decay": 0.5})
    dense, _ = trained(tmp_path / "a", much, nothing)
    model, _ = trained(tmp_path / "b", much)
    begin = Model().table.weight
    torch.testing.assert_close(model.table.weight[READ], dense.table.weight[READ])
    assert torch.equal(model.table.weight[UNREAD], begin[UNREAD])
    assert (dense.table.weight[UNREAD].abs() < begin[UNREAD].abs()).all()


def test_the_table_is_there_again_and_trained_again(tmp_path):
    model = Model()
    table = model.table
    trained(tmp_path, SCHEDULE, model=model)
    assert model.table is table
    assert table.weight.requires_grad
    assert sorted(model.state_dict()) == sorted(Model().state_dict())


def test_evaluation_reads_every_row_as_it_is_by_then():
    model = Model()
    table = model.table
    begin = table.weight.detach().clone()
    with rows_read(model, table, READ):
        with torch.no_grad():
            model.table.weight += 1
        everything = torch.arange(ROWS)
        found = model.eval().table(everything)
        assert torch.equal(found[READ], begin[READ] + 1)
        assert torch.equal(found[UNREAD], begin[UNREAD])
        model.train()
        with torch.no_grad():
            model.table.weight += 1
    assert torch.equal(table.weight[READ], begin[READ] + 2)


def test_what_was_learned_is_kept_when_the_training_fails():
    model = Model()
    table = model.table

    def fails():
        with rows_read(model, table, READ):
            model.table.weight.data.zero_()
            raise Killed

    with pytest.raises(Killed):
        fails()
    assert model.table is table
    assert not table.weight[READ].any()


@pytest.mark.parametrize("step", [1, 5, 6, 7, 17])
def test_a_killed_training_ends_with_the_same_table(step, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    undisturbed, _ = trained(tmp_path / "a", SCHEDULE)
    with pytest.raises(Killed):
        trained(tmp_path / "b", SCHEDULE, kill_at=step)
    again, _ = trained(tmp_path / "b", SCHEDULE)
    for name, value in again.state_dict().items():
        assert torch.equal(value, undisturbed.state_dict()[name])


def test_a_checkpoint_holds_the_rows_that_are_read_alone(tmp_path):
    trained(tmp_path, SCHEDULE)
    with safe_open(tmp_path / "job.safetensors", framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no dict)
    tables = [shape for name, shape in shapes.items() if shape[1:] == [WIDTH] and shape[0] != 2]
    assert tables == [[len(READ), WIDTH]] * 4  # weights, two moments, best epoch


def test_another_row_than_those_is_an_error():
    model = Model()
    with rows_read(model, model.table, READ), pytest.raises(IndexError):
        model.train().table(torch.tensor([[0, 1]]))


@pytest.mark.parametrize("padding", [3, 1])
def test_the_row_of_padding_is_not_trained(padding, tmp_path):
    model, _ = trained(tmp_path, SCHEDULE.model_copy(update={"weight_decay": 0.0}), model=Model(padding))
    assert not model.table.weight[padding].any()
    assert not torch.equal(model.table.weight[9], Model(padding).table.weight[9])


def test_where_nearly_all_rows_are_read_the_table_stays_where_it_is():
    model = Model()
    table = model.table
    with rows_read(model, table, np.arange(ROWS - 2)):
        assert model.table is table
        assert table.weight.requires_grad


def test_a_table_that_is_not_trained_stays_where_it_is():
    model = Model()
    table = model.table
    table.requires_grad_(False)
    with rows_read(model, table, READ):
        assert model.table is table
    assert not table.weight.requires_grad
