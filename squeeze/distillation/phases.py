"""Train a student through one phase."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.core.auto_alpha import auto_alpha
from squeeze.core.hidden_states import pca_projection
from squeeze.data.teacher_cache import hidden
from squeeze.distillation.cache import Signals
from squeeze.distillation.config import Phase, PhaseReport
from squeeze.distillation.objective import Objective
from squeeze.distillation.pool import Pool
from squeeze.models.embedding import Dense
from squeeze.models.encoder import Encoder
from squeeze.models.inference import logits, to_tensors
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.tasks import Labels, Task
from squeeze.training.loop import Job, Trained, train
from squeeze.training.rows import rows_read

__all__ = ["PhaseInputs", "run_phase"]

AXES_ROWS = 2_000  # texts whose states the fixed projection is taken from


@dataclass(frozen=True)
class PhaseInputs:
    """What all phases read.

    Attributes:
        pool: the text.
        encoded: the pool in the student's own numbers.
        validation: validation text in the student's numbers.
        labels: of the validation text.
        task: what the outputs stand for.
        pad: number of the student's padding piece.
        seed: of the order of batches.
        work: where checkpoints lie.
    """

    pool: Pool
    encoded: Encodings
    validation: Encodings
    labels: Labels
    task: Task
    pad: int
    seed: int
    work: Work

    def predict(self, student: Encoder) -> NDArray[np.float32]:
        """Validation logits, (N, K)."""
        student.eval()
        return logits(student, self.validation, self.pad, student.shape.labels)

    def score(self, student: Encoder, phase: Phase) -> dict[str, float]:
        """Validation scores after an epoch; the task's primary score decides which epoch is kept.

        Where no loss trains the head, its answers say nothing about the epoch: the last one is kept.
        """
        quality = self.task.scores(self.predict(student), self.labels)
        return {"score": quality.score if phase.trains_head else 0.0, **quality.scores}


def run_phase(student: Encoder, phase: Phase, signals: Signals, inputs: PhaseInputs) -> PhaseReport:
    """Train the student in place and say how it went."""
    alpha = _alpha(student, phase, signals, inputs) if phase.alpha == "auto" else phase.alpha
    trained = _train(student, phase, signals, inputs, alpha, f"phase-{phase.name}")
    return PhaseReport(
        name=phase.name,
        epochs=trained.epochs,
        steps=trained.steps,
        samples=trained.samples,
        seconds=trained.seconds,
        samples_per_second=trained.samples / trained.seconds if trained.seconds else 0.0,
        best_epoch=trained.best_epoch,
        best_score=trained.best_score,
        alpha=alpha,
        history=trained.history,
    )


def _alpha(student: Encoder, phase: Phase, signals: Signals, inputs: PhaseInputs) -> float:
    """The closed-form weight of the labels (Borup & Andersen 2021): two probes from the same start.

    Prediction is close to linear in the weight, so the student trained on labels alone and the one
    trained on the teacher's answers alone say where between them the validation error is least. Both
    probes hold the losses inside the network, as the training itself will.
    """
    begin = {name: value.clone() for name, value in student.state_dict().items()}
    answers: list[NDArray[np.float64]] = []
    for name, alpha in (("labels", 1.0), ("teacher", 0.0)):
        student.load_state_dict(begin)
        _train(student, phase, signals, inputs, alpha, f"alpha-{name}-{phase.name}")
        answers.append(inputs.task.activate(inputs.predict(student)))
    student.load_state_dict(begin)
    labels = inputs.labels
    targets = np.eye(student.shape.labels)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    return auto_alpha(answers[0], answers[1], targets)


def _train(
    student: Encoder, phase: Phase, signals: Signals, inputs: PhaseInputs, alpha: float | None, name: str
) -> Trained:
    """Train through the phase's schedule once, under a name of its own for its checkpoint."""
    teacher = signals.teachers[0].encoder.shape
    features = phase.features(len(student.shape.layers), len(teacher.layers))
    rows = inputs.pool.rows(phase.data)
    for parameter in student.embedding.parameters():
        parameter.requires_grad_(not phase.freeze_embedding)
    torch.manual_seed(inputs.seed)  # a learned projection starts alike, whatever was resumed before it
    objective = Objective(student, phase, teacher, _axes(student, phase, signals, rows), alpha)

    def collate(batch: NDArray[np.int64]) -> dict[str, Tensor]:
        chosen = rows[batch]
        ids, mask = to_tensors(inputs.encoded, chosen, inputs.pad)
        labels = torch.from_numpy(inputs.pool.labels[chosen])
        return {"ids": ids, "mask": mask, "labels": labels, **signals.read(features, chosen)}

    def evaluate() -> Mapping[str, float]:
        return inputs.score(student, phase)

    job = Job(name, objective, inputs.encoded.lengths[rows], collate, evaluate, inputs.seed)
    with _rows_read(student, inputs, rows):
        trained = train(job, phase, inputs.work.scratch, inputs.work.progress)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    return trained


def _rows_read(
    student: Encoder, inputs: PhaseInputs, rows: NDArray[np.int64]
) -> contextlib.AbstractContextManager[None]:
    """Only those rows of a dense table are trained that the phase's texts read."""
    if type(student.embedding) is not Dense:  # a rounded one takes its steps from all of its rows
        return contextlib.nullcontext()
    read = np.append(inputs.encoded.pieces(rows), inputs.pad)
    return rows_read(student, student.embedding, read)


def _axes(student: Encoder, phase: Phase, signals: Signals, rows: NDArray[np.int64]) -> Tensor | None:
    """Fixed projection of the teacher's last states to the student's width; None when they are equal."""
    teacher = signals.teachers[0].encoder.shape
    if student.shape.hidden >= teacher.hidden or not any(loss.fixed_axes for loss in phase.losses):
        return None
    states = signals.states(hidden(len(teacher.layers)), rows[:AXES_ROWS])
    return pca_projection(states, student.shape.hidden)
