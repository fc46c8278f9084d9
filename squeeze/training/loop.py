"""One training loop for fine-tuning and for distillation; it resumes and forgets nothing.

The order of the batches is a function of seed and epoch, the step size one of the step, so a
checkpoint needs weights, moments, the random state and two numbers, and a resumed training ends
with the weights of an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from squeeze.data.batches import plan
from squeeze.errors import StageFailed
from squeeze.progress import Progress
from squeeze.runtime import cpu_flags
from squeeze.training.checkpoint import Progressed, learned, restore, save
from squeeze.training.config import Schedule

__all__ = ["Job", "Trained", "learning_rate", "precision", "train"]

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Job:
    """What one training works on.

    Attributes:
        name: shown in the progress bar, and the name of the checkpoint.
        objective: a module whose forward takes one batch and gives a scalar loss; all its parameters
            that require gradients are trained.
        lengths: (N,) tokens of each text, for batches of similar length.
        collate: row numbers -> the batch for the objective.
        evaluate: the validation score after an epoch, higher is better.
        seed: of the order of the batches.
    """

    name: str
    objective: nn.Module
    lengths: NDArray[np.int64]
    collate: Callable[[NDArray[np.int64]], Batch]
    evaluate: Callable[[], Mapping[str, float]]
    seed: int


@dataclass(frozen=True)
class Trained:
    """How a training went; the objective holds the best epoch's weights.

    Attributes:
        epochs: epochs done.
        steps: optimizer steps done.
        samples: texts seen.
        seconds: time in training, validation not counted, all starts together.
        best_epoch: the epoch whose weights are kept, 0 when there was none.
        best_score: its validation score.
        history: one record an epoch.
    """

    epochs: int
    steps: int
    samples: int
    seconds: float
    best_epoch: int
    best_score: float
    history: tuple[Mapping[str, float], ...]


def precision() -> str:
    """``bf16`` where the hardware multiplies it natively, ``fp16`` on older GPUs, else ``no``."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # Emulated bf16 is slower than fp32: only processors with the instructions gain.
    return "bf16" if {"amx_bf16", "avx512_bf16"} & cpu_flags() else "no"


def learning_rate(schedule: Schedule, step: int, total: int) -> float:
    """Step size of one step: linear rise, then the chosen fall to zero.

    >>> learning_rate(Schedule(learning_rate=0.5, warmup=0.5), step=1, total=4)
    0.25
    """
    rise = max(1, round(schedule.warmup * total))
    if step < rise and schedule.warmup > 0:
        return schedule.learning_rate * step / rise
    if schedule.decay == "constant":
        return schedule.learning_rate
    done = (step - rise) / max(1, total - rise)
    fall = 1 - done if schedule.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return schedule.learning_rate * max(0.0, fall)


def train(job: Job, schedule: Schedule, scratch: Path, progress: Progress) -> Trained:
    """Walk the schedule, resuming from `scratch` when an earlier start was cut short.

    The objective is trained in place, on the device that accelerate chooses, and is left on the CPU.

    Args:
        job: what is trained.
        schedule: how.
        scratch: an existing folder for the checkpoint; every process of a launch reads the same one.
        progress: where the steps are shown.

    Raises:
        StageFailed: the loss is no longer a number.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    # A loss may leave parts without gradient, such as the head when only hidden states are compared.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=precision(), kwargs_handlers=[unused])
    # Fused: one pass over memory; the default took half of every step of a model with a large table.
    optimizer = torch.optim.AdamW(_groups(job.objective, schedule), lr=schedule.learning_rate, fused=True)
    path = scratch / f"{job.name}.safetensors"
    at = restore(path, job.objective, optimizer) or Progressed()
    objective, optimizer = accelerator.prepare(job.objective, optimizer)
    run = _Run(job, schedule, accelerator, objective, optimizer, path, at)
    total = schedule.epochs * run.steps_per_epoch
    with progress.task(job.name, total, done=at.epoch * run.steps_per_epoch + at.step) as advance:
        while at.epoch < schedule.epochs and not run.out_of_patience():
            run.epoch(advance)
    if at.best:
        job.objective.load_state_dict(at.best, strict=False)
    job.objective.to("cpu")
    return Trained(
        epochs=at.epoch,
        steps=at.epoch * run.steps_per_epoch,
        samples=at.samples,
        seconds=at.seconds,
        best_epoch=at.best_epoch,
        best_score=at.best_score if at.best_epoch else 0.0,
        history=tuple(at.history),
    )


class _Run:
    """The moving parts of one call of `train`."""

    def __init__(
        self,
        job: Job,
        schedule: Schedule,
        accelerator: Any,
        objective: nn.Module,
        optimizer: Any,
        path: Path,
        at: Progressed,
    ) -> None:
        self.job, self.schedule, self.accelerator = job, schedule, accelerator
        self.objective, self.optimizer, self.path, self.at = objective, optimizer, path, at
        self.world: int = accelerator.num_processes
        self.steps_per_epoch = len(self._batches(0))
        self.saved = time.monotonic()

    def _batches(self, epoch: int) -> list[tuple[NDArray[np.int64], int]]:
        """This process's rows of every step of an epoch, and how many texts all processes see in it.

        Every process takes as many steps; where batches do not suffice, the first ones come again.
        """
        batches = plan(self.job.lengths, self.schedule.batch, self.job.seed, epoch)
        whole = len(batches) + -len(batches) % self.world
        every = list(islice(cycle(batches), whole))
        steps = [every[start : start + self.world] for start in range(0, whole, self.world)]
        return [(step[self.accelerator.process_index], sum(map(len, step))) for step in steps]

    def out_of_patience(self) -> bool:
        """Whether the score has not risen for too long."""
        patience = self.schedule.patience
        return patience is not None and self.at.epoch - self.at.risen_epoch >= patience

    def epoch(self, advance: Callable[..., None]) -> None:
        """Finish the current epoch, score it, keep it when it is the best."""
        at = self.at
        self.objective.train()
        for rows, texts in self._batches(at.epoch)[at.step :]:
            started = time.monotonic()
            loss = self._step(self.job.collate(rows))
            at.loss_sum += loss
            at.step += 1
            at.samples += texts
            at.seconds += time.monotonic() - started
            advance(1, note=f"loss {at.loss_sum / at.step:.4f}")
            if self._overdue():
                self._save()
        self._finish_epoch()

    def _step(self, batch: Batch) -> float:
        at, schedule = self.at, self.schedule
        step = at.epoch * self.steps_per_epoch + at.step
        rate = learning_rate(schedule, step + 1, schedule.epochs * self.steps_per_epoch + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
        with self.accelerator.autocast():
            loss: Tensor = self.objective(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise StageFailed(
                f"{self.job.name}: loss is {value} at step {step + 1} (step size {rate:.2g})",
                hint="lower learning_rate, or raise warmup",
            )
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.objective.parameters(), schedule.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # now: the next forward pass has the room
        return value

    def _finish_epoch(self) -> None:
        at = self.at
        self.objective.eval()
        scores = dict(self.job.evaluate())
        at.epoch += 1
        at.history.append({"epoch": at.epoch, "loss": at.loss_sum / max(1, at.step), **scores})
        at.step, at.loss_sum = 0, 0.0
        if scores["score"] > at.best_score:
            at.risen_epoch = at.epoch
        # On a tie the later epoch has the smaller step size behind it.
        if scores["score"] >= at.best_score:
            at.best_score, at.best_epoch = scores["score"], at.epoch
            at.best = {}  # first, so that there are never two
            at.best = {name: value.detach().clone() for name, value in learned(self.job.objective).items()}
        # Not after every epoch: short ones would spend a part of their time on it. The end is always kept.
        if self._overdue() or at.epoch >= self.schedule.epochs or self.out_of_patience():
            self._save()

    def _overdue(self) -> bool:
        """Whether a kill would now cost more work than it may."""
        return time.monotonic() - self.saved >= self.schedule.checkpoint_seconds

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            save(self.path, self.job.objective, self.optimizer, self.at)
        self.saved = time.monotonic()


def _groups(module: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
