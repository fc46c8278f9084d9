"""Cut: whole layers, heads and neurons, hidden width, rank of the table, single weights; in this order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from squeeze.artifact import Artifact, write_json
from squeeze.distillation.initialize import Batch, axes, labelled_batches, row_weights
from squeeze.distillation.inputs import DistillationInputs, predict, quality_by_split
from squeeze.errors import ProfileError
from squeeze.models import carve, slicing, storage
from squeeze.models.encoder import Encoder
from squeeze.models.slicing import Kept
from squeeze.schema import Frozen
from squeeze.stage import Work
from squeeze.stages.prune import choosing, limits, sparse
from squeeze.stages.prune.base import Base, measured
from squeeze.stages.prune.choosing import Latency
from squeeze.stages.prune.methods import METHODS
from squeeze.stages.prune.stage import Measured, PruneSection
from squeeze.stages.prune.subject import Subject
from squeeze.tasks import Task

__all__ = ["Cut", "start"]

RECORD, MASKS = "cut.json", "masks.safetensors"


class _Record(Frozen):
    """What is kept of a cut in the scratch folder, beside the model."""

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]
    measured: Measured
    whole_ms: float | None


@dataclass(frozen=True)
class Cut:
    """A model that was cut and has not recovered.

    Attributes:
        student: in training mode.
        masks: of single weights, by the name of their linear part; True where a weight stays.
        kept: layers of the model before, and what was kept in each of them.
        measured: its figures.
        whole_ms: predicted latency of the model before, by the same table; None without a latency target.
    """

    student: Encoder
    masks: dict[str, Tensor]
    kept: Kept
    measured: Measured
    whole_ms: float | None


def start(
    settings: PruneSection,
    base: Base,
    inputs: DistillationInputs,
    teacher: Artifact,
    work: Work,
    latency: Latency | None,
) -> Cut:
    """The model as it is cut, chosen once: a resumed stage finds it in the scratch folder.

    Args:
        settings: the section.
        base: what is cut.
        inputs: text, as the model reads it.
        teacher: whose answers stand beside the model's in its figures.
        work: where it is kept.
        latency: predicts milliseconds; only where a latency is the target.

    Raises:
        ProfileError: the latency cannot be reached.
    """
    folder = work.scratch / "start"
    if (folder / RECORD).is_file():  # written last
        record = _Record.parse(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        student = storage.load_student(folder).train()
        kept = Kept(record.layers, record.heads, record.neurons)
        return Cut(student, load_file(folder / MASKS), kept, record.measured, record.whole_ms)
    student, kept = _cut(settings, base.encoder, inputs, work, latency)
    masks = sparse.choose(student, settings)
    with sparse.held(student, masks):
        pass  # leaving it makes the zeros the weights' own
    student.eval()
    answers = predict(student, inputs.text.tokenizer, inputs.text.pad, inputs.data)
    figures = quality_by_split(answers, inputs.data, teacher, inputs.training.task)
    now, before = (latency(model.shape) if latency else None for model in (student, base.encoder))
    made = Cut(student, masks, kept, measured(student, figures, now), before)
    storage.save_student(folder, student)
    save_file(masks, folder / MASKS)
    record = _Record(
        layers=kept.layers, heads=kept.heads, neurons=kept.neurons, measured=made.measured, whole_ms=before
    )
    write_json(folder / RECORD, record.plain())
    return replace(made, student=student.train())


def _cut(
    settings: PruneSection, whole: Encoder, inputs: DistillationInputs, work: Work, latency: Latency | None
) -> tuple[Encoder, Kept]:
    kept = slicing.everything(whole.shape, limits.layers(settings, whole.shape))
    model = slicing.sliced(whole, kept).eval()
    text, seed = inputs.text, inputs.training.seed
    batches = tuple(labelled_batches(inputs.pool, text.encoded, text.pad, settings.batches, seed))
    subject = _subject(settings, model, batches, inputs.training.task, seed, work)
    if latency is not None:
        target = settings.latency_ms or (settings.latency_share or 1.0) * latency(whole.shape)
        chosen = _within(METHODS[settings.method](subject), model, settings, latency, target)
        kept, model = replace(chosen, layers=kept.layers), slicing.sliced(model, chosen)
    elif settings.heads_cut or settings.neurons_cut:
        scores = METHODS[settings.method](subject)
        chosen = choosing.by_share(scores, settings.heads_cut, settings.neurons_cut, settings.scope)
        kept, model = replace(chosen, layers=kept.layers), slicing.sliced(model, chosen)
    if settings.hidden is not None:
        with torch.no_grad():
            model = carve.narrow(model, axes(model, batches, settings.hidden)).eval()
    if settings.rank is not None:
        model = carve.low_rank(model, settings.rank, row_weights(text.vocabulary))
    return model, kept


def _within(
    found: carve.Importance, model: Encoder, settings: PruneSection, latency: Latency, target_ms: float
) -> Kept:
    """What stays inside a latency; width and rank that are still to be cut count already."""
    shape = limits.cut_stem(model.shape, settings)
    kept = choosing.by_latency(found, shape, latency, target_ms, settings.block)
    least = latency(slicing.sliced_shape(shape, kept))
    if least > target_ms:
        key = "latency_share" if settings.latency_ms is None else "latency_ms"
        raise ProfileError(
            f"[prune] {key}: {target_ms:.3g} ms, with one head and one neuron a layer it is {least:.3g} ms",
            hint="cut `layers` or `hidden` too, or ask for less",
        )
    return kept


def _subject(
    settings: PruneSection, model: Encoder, batches: tuple[Batch, ...], task: Task, seed: int, work: Work
) -> Subject:
    aimed = settings.latency_ms is None and settings.latency_share is None
    keep = (1 - settings.heads_cut, 1 - settings.neurons_cut) if aimed else (0.5, 0.5)
    return Subject(model, batches, task, settings.learned, keep, seed, work.progress)
