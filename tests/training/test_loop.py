from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from squeeze.errors import StageFailed
from squeeze.progress import Silent
from squeeze.training import loop
from squeeze.training.checkpoint import Progressed
from squeeze.training.config import Schedule
from squeeze.training.loop import Job, learning_rate, train

ROWS, WIDTH = 22, 6
DATA = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(3))
TARGETS = (DATA @ torch.arange(1.0, WIDTH + 1) > 0).long()
SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.05, checkpoint_seconds=0)
STEPS = math.ceil(ROWS / 4)


class Killed(BaseException):
    """Not an Exception, as a signal would not be one."""


class Model(nn.Module):
    """Dropout, so that the random state matters; a frozen part; a part without gradient; a buffer."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop, self.outer = nn.Linear(WIDTH, 8), nn.Dropout(0.3), nn.Linear(8, 2)
        self.frozen = nn.Linear(WIDTH, 8)
        self.frozen.requires_grad_(False)
        self.unused = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch):
        self.seen += 1
        hidden = self.drop(torch.tanh(self.inner(batch["x"]) + self.frozen(batch["x"])))
        return cross_entropy(self.outer(hidden), batch["y"])


def job(kill_at: int | None = None, scores=None) -> tuple[Job, Model]:
    """A job whose collate is cut short at its `kill_at`-th call."""
    torch.manual_seed(1)
    model, calls = Model(), itertools.count()

    def collate(rows):
        if next(calls) == kill_at:
            raise Killed
        return {"x": DATA[rows], "y": TARGETS[rows]}

    def evaluate():
        with torch.no_grad():
            return {"score": next(scores) if scores else -float(model({"x": DATA, "y": TARGETS}))}

    lengths = np.arange(ROWS) % 7 + 3
    return Job("job", model, lengths, collate, evaluate, seed=5), model


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def run(folder: Path, schedule=SCHEDULE, **how):
    made, model = job(**how)
    return train(made, schedule, folder, Silent()), weights(model)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_it_learns_and_counts(undisturbed):
    done, after = undisturbed
    assert (done.epochs, done.steps, done.samples) == (3, 3 * STEPS, 3 * ROWS)
    assert len(done.history) == 3
    assert done.history[-1]["loss"] < done.history[0]["loss"]
    assert done.best_score == max(record["score"] for record in done.history)
    assert done.seconds > 0
    before = weights(job()[1])
    assert not torch.equal(before["inner.weight"], after["inner.weight"])
    for name in ("frozen.weight", "unused.weight"):
        assert torch.equal(before[name], after[name])


@pytest.fixture
def steps():
    """(gradient norm, step size) of every optimizer step while the test runs."""
    seen: list[tuple[float, float]] = []

    def note(optimizer, *_):
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        seen.append((float(torch.stack([g.norm() for g in gradients]).norm()), rate))

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


def test_gradients_are_clipped_to_the_norm_of_the_schedule(steps, tmp_path):
    run(tmp_path, SCHEDULE.model_copy(update={"clip": 0.01}))
    clipped = [norm for norm, _ in steps]
    assert clipped == pytest.approx([0.01] * 3 * STEPS, rel=1e-3)
    steps.clear()
    (tmp_path / "free").mkdir()
    run(tmp_path / "free", SCHEDULE.model_copy(update={"clip": 1e9}))
    assert min(norm for norm, _ in steps) > 0.02


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
def test_every_step_has_the_step_size_of_the_schedule(decay, steps, tmp_path):
    schedule = SCHEDULE.model_copy(update={"decay": decay, "warmup": 0.3})
    run(tmp_path, schedule)
    total = 3 * STEPS  # the first step is not lost on a size of 0, nor the last one
    assert [rate for _, rate in steps] == [
        pytest.approx(learning_rate(schedule, step + 1, total + 1)) for step in range(total)
    ]


def test_dropout_is_on_in_training_and_off_in_evaluation(tmp_path):
    made, model = job()
    modes: list[tuple[str, bool]] = []
    model.register_forward_pre_hook(lambda *_: modes.append(("step", model.drop.training)))

    def evaluate():
        modes.append(("evaluate", model.drop.training))
        return {"score": 0.5}

    train(replace(made, evaluate=evaluate), SCHEDULE, tmp_path, Silent())
    assert modes == [*[("step", True)] * STEPS, ("evaluate", False)] * 3


def orders(folder: Path, seed: int) -> list[tuple[int, ...]]:
    """Rows of every step of a training."""
    made, _ = job()
    seen: list[tuple[int, ...]] = []

    def collate(rows):
        seen.append(tuple(rows.tolist()))
        return made.collate(rows)

    folder.mkdir()
    train(replace(made, collate=collate, seed=seed), SCHEDULE, folder, Silent())
    return seen


def test_the_order_of_the_batches_comes_from_seed_and_epoch(tmp_path):
    first, same, other = (orders(tmp_path / str(i), seed) for i, seed in enumerate((5, 5, 6)))
    assert first == same
    assert first != other
    epochs = [first[start : start + STEPS] for start in range(0, 3 * STEPS, STEPS)]
    assert all(sorted(row for step in epoch for row in step) == list(range(ROWS)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_weights_of_the_best_epoch_are_the_ones_that_stay(tmp_path):
    made, model = job()
    scores, after = iter([0.1, 0.9, 0.5]), []

    def evaluate():
        after.append(weights(model))
        return {"score": next(scores)}

    done = train(replace(made, evaluate=evaluate), SCHEDULE, tmp_path, Silent())
    assert done.best_epoch == 2
    assert equal(weights(model), after[1])
    assert not equal(after[1], after[2])


@pytest.mark.parametrize("step", [1, 4, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS + 3, 3 * STEPS - 1])
def test_a_training_killed_at_any_step_ends_with_the_same_weights(step, undisturbed, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=step)
    torch.manual_seed(99)  # what a new process starts with
    done, after = run(tmp_path)
    assert equal(after, undisturbed[1])
    assert (done.steps, done.samples) == (undisturbed[0].steps, undisturbed[0].samples)
    for found, expected in zip(done.history, undisturbed[0].history, strict=True):
        assert found == expected


def test_a_training_killed_again_and_again_ends_with_the_same_weights(undisturbed, tmp_path):
    for _ in range(20):
        try:
            done, after = run(tmp_path, kill_at=1)
            break
        except Killed:
            pass
    assert equal(after, undisturbed[1])
    assert done.samples == 3 * ROWS


def test_rare_checkpoints_lose_work_and_nothing_else(undisturbed, tmp_path):
    rare = SCHEDULE.model_copy(update={"checkpoint_seconds": 1e6})
    with pytest.raises(Killed):
        run(tmp_path, rare, kill_at=STEPS + 3)
    assert not list(tmp_path.iterdir())
    assert equal(run(tmp_path, rare)[1], undisturbed[1])


@pytest.mark.parametrize(
    ("seconds", "changes", "expected"),
    [
        (1e6, {}, [3]),  # the end of a training is kept, however short it was
        (1e6, {"patience": 1}, [2]),
        (0, {}, [*[0] * STEPS, 1, *[1] * STEPS, 2, *[2] * STEPS, 3]),
    ],
)
def test_checkpoints_come_when_they_are_due_and_at_the_end(seconds, changes, expected, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(loop, "save", lambda path, model, optimizer, at: kept.append(at.epoch))
    schedule = SCHEDULE.model_copy(update={"checkpoint_seconds": seconds, **changes})
    run(tmp_path, schedule, scores=iter([0.5, 0.4, 0.6]))
    assert kept == expected


def test_a_finished_training_is_not_walked_again(undisturbed, tmp_path):
    run(tmp_path)
    done, after = run(tmp_path, kill_at=0)
    assert equal(after, undisturbed[1])
    assert done.epochs == 3


def test_the_next_random_numbers_do_not_depend_on_a_kill(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run(tmp_path / "a")
    expected = torch.rand(3)
    with pytest.raises(Killed):
        run(tmp_path / "b", kill_at=7)
    run(tmp_path / "b")
    assert torch.equal(torch.rand(3), expected)


def test_the_best_epoch_is_kept_also_over_a_kill(tmp_path):
    (tmp_path / "one").mkdir()
    _, first = run(tmp_path / "one", SCHEDULE.model_copy(update={"epochs": 1}))
    with pytest.raises(Killed):
        run(tmp_path, kill_at=2 * STEPS, scores=iter([0.1, 0.9]))
    done, _ = run(tmp_path, scores=iter([0.3]))
    assert (done.best_epoch, done.best_score) == (2, 0.9)
    again, after = run(tmp_path, kill_at=0)
    assert again.best_epoch == 2
    assert not equal(after, first)


def test_of_equal_scores_the_later_epoch_is_kept(tmp_path):
    done, _ = run(tmp_path, scores=iter([0.5, 0.5, 0.4]))
    assert done.best_epoch == 2


@pytest.mark.parametrize(
    ("scores", "epochs", "best"),
    [
        ([0.5, 0.4, 0.3], 3, 1),
        ([0.5, 0.5, 0.5], 3, 3),
        ([0.1, 0.6, 0.5, 0.6], 4, 4),
        ([0.1] * 2 + [0.2] * 3, 5, 5),
    ],
)
def test_patience_counts_epochs_without_a_better_score(scores, epochs, best, tmp_path):
    patient = SCHEDULE.model_copy(update={"epochs": 9, "patience": 2})
    done, _ = run(tmp_path, patient, scores=iter([*scores, *[0.0] * 9]))
    assert (done.epochs, done.best_epoch) == (epochs, best)


def test_no_epochs_change_nothing(tmp_path):
    done, after = run(tmp_path, SCHEDULE.model_copy(update={"epochs": 0}))
    assert (done.epochs, done.steps, done.best_epoch, done.best_score) == (0, 0, 0, 0.0)
    assert equal(after, weights(job()[1]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_stage_in_one_line(value, tmp_path):
    made, model = job()
    with torch.no_grad():
        model.outer.bias.fill_(value)
    with pytest.raises(
        StageFailed, match=r"^job: loss is nan at step 1 \(step size .*\)\n  hint: lower learning_rate"
    ):
        train(made, SCHEDULE, tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


def test_matrices_decay_and_biases_do_not():
    model = Model()
    matrices, vectors = loop._groups(model, SCHEDULE)
    assert {id(p) for p in matrices["params"]} == {
        id(p) for p in (model.inner.weight, model.outer.weight, model.unused.weight)
    }
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.01, 0.0)
    assert len(vectors["params"]) == 3


def damage_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_one_byte(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def damage_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def damage_all(path):
    path.write_bytes(b"")


def damage_notes(path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(path), path)


def damage_model(path):
    from safetensors.torch import load_file, save_file

    from squeeze.training.checkpoint import _checksum

    tensors = load_file(path)
    tensors["model.inner.weight"] = torch.zeros(2, 2)
    with safe_open(path, framework="pt") as file:
        said = file.metadata()["at"]
    save_file(tensors, path, metadata={"at": said, "crc32": _checksum(said, tensors)})


@pytest.mark.parametrize(
    "damage", [damage_half, damage_one_byte, damage_zeros, damage_all, damage_notes, damage_model]
)
def test_a_damaged_checkpoint_is_no_checkpoint(damage, undisturbed, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=STEPS + 2)
    damage(tmp_path / "job.safetensors")
    done, after = run(tmp_path)
    assert equal(after, undisturbed[1])
    assert done.samples == 3 * ROWS


def test_a_half_written_checkpoint_is_not_read(undisturbed, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=STEPS + 2)
    (tmp_path / "job.safetensors.partial").write_bytes(b"half")
    assert equal(run(tmp_path)[1], undisturbed[1])
    assert [path.name for path in tmp_path.iterdir()] == ["job.safetensors"]


def test_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickled")

    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.dumps", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    with pytest.raises(Killed):
        run(tmp_path, kill_at=4)
    run(tmp_path)
    with safe_open(tmp_path / "job.safetensors", framework="pt") as file:
        assert {"at", "crc32"} == set(file.metadata())


@given(
    total=st.integers(1, 300),
    warmup=st.floats(0, 1),
    decay=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_step_size_rises_then_falls_inside_its_bounds(total, warmup, decay):
    schedule = Schedule(learning_rate=0.2, warmup=warmup, decay=decay)
    rates = [learning_rate(schedule, step + 1, total + 1) for step in range(total)]
    assert all(0 < rate <= 0.2 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if decay == "constant":
        assert len(set(rates[peak:])) == 1


@pytest.mark.parametrize(
    ("decay", "step", "rate"),
    [("linear", 6, 0.5), ("cosine", 6, 0.5), ("constant", 6, 1.0), ("linear", 1, 0.5), ("linear", 10, 0.0)],
)
def test_step_sizes_by_hand(decay, step, rate):
    schedule = Schedule(learning_rate=1.0, warmup=0.2, decay=decay)
    assert learning_rate(schedule, step, 10) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [({"avx2", "avx512f"}, "no"), ({"amx_bf16"}, "bf16"), ({"avx512_bf16", "avx2"}, "bf16"), (set(), "no")],
)
def test_bf16_only_where_the_processor_has_it(flags, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(loop, "cpu_flags", lambda: frozenset(flags))
    assert loop.precision() == kind


@pytest.mark.parametrize(("native", "kind"), [(True, "bf16"), (False, "fp16")])
def test_older_gpus_take_fp16(native, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: native)
    assert loop.precision() == kind


def test_bf16_trains_too(tmp_path, monkeypatch):
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(loop, "precision", lambda: "bf16")
    done, after = run(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert done.history[-1]["loss"] < done.history[0]["loss"]
    assert after["inner.weight"].dtype == torch.float32


@pytest.mark.parametrize(("batches", "world"), [(6, 1), (6, 2), (5, 2), (1, 4), (3, 8)])
def test_every_process_takes_as_many_steps_and_together_they_see_all(batches, world):
    class Launch:
        num_processes = world

        def __init__(self, index):
            self.process_index = index

    made, model = job()
    made = Job("job", model, np.full(batches * 4, 5), made.collate, made.evaluate, seed=0)
    runs = [
        loop._Run(made, SCHEDULE, Launch(index), model, None, Path(), Progressed()) for index in range(world)
    ]
    shares = [run._batches(epoch=1) for run in runs]
    assert {len(share) for share in shares} == {math.ceil(batches / world)}
    seen = np.concatenate([rows for share in shares for rows, _ in share])
    assert [total for _, total in shares[0]] == [4 * world] * len(shares[0])
    assert set(seen.tolist()) == set(range(batches * 4))


LAUNCHED = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from tests.training.test_loop import Model, SCHEDULE, job
from squeeze.progress import Silent
from squeeze.training.loop import train
made, model = job()
done = train(made, SCHEDULE, Path(sys.argv[1]), Silent())
rank = torch.distributed.get_rank()
assert torch.distributed.get_world_size() == 2 and torch.distributed.get_backend() == "gloo"
tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
save_file(tensors, Path(sys.argv[1]) / f"rank-{rank}.safetensors")
print(rank, done.steps, done.samples)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    from safetensors.torch import load_file

    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    root = Path(__file__).resolve().parents[2]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(tmp_path)],
        cwd=root,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(root),
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank-{rank}.safetensors") for rank in range(2))
    assert equal(
        {k: v for k, v in first.items() if k != "seen"}, {k: v for k, v in second.items() if k != "seen"}
    )
    assert not torch.equal(first["inner.weight"], weights(job()[1])["inner.weight"])
    assert sorted(done.stdout.split("\n")[:2]) == [f"{rank} {3 * STEPS // 2} {3 * ROWS}" for rank in range(2)]
