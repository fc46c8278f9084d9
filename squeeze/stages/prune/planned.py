"""What a run would refuse to cut, told from config.json and headers, without torch."""

from __future__ import annotations

from squeeze.distillation.planning import refuse_untrimmable, student_of, teacher_of
from squeeze.distillation.resolve import refuse_phases
from squeeze.models.shapes import EncoderShape
from squeeze.stages.prune import limits
from squeeze.stages.prune.stage import PrunePlan, PruneSection

__all__ = ["check"]


def check(plan: PrunePlan) -> tuple[str, ...]:
    """Hold `[prune]` against the model that it cuts, as far as its shape is known.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan)
    if teacher is None:
        return ()
    student = student_of(plan, teacher)
    if plan.distil is not None and student is None:
        return ()
    whole = teacher.shape if student is None else student.shape
    limits.refuse(plan.prune, whole)
    refuse_phases(plan.prune.recovery, whole, teacher.shapes)
    cut = _cut(plan.prune, whole)
    if cut is not None:
        refuse_phases(plan.prune.recovery, cut, teacher.shapes)
    if plan.prune.pieces is not None:
        refuse_untrimmable(teacher.folder)
    return ()


def _cut(settings: PruneSection, whole: EncoderShape) -> EncoderShape | None:
    """The shape after the cut; None where heads and neurons are chosen by what they are worth."""
    by_worth = (settings.heads_cut, settings.neurons_cut, settings.latency_ms, settings.latency_share)
    if any(by_worth):
        return None
    kept = tuple(whole.layers[layer] for layer in limits.layers(settings, whole))
    return limits.cut_stem(whole.model_copy(update={"layers": kept}), settings)
