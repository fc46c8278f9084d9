"""What a run would refuse to quantize, told from config.json and headers, without torch."""

from __future__ import annotations

from squeeze.distillation.planning import both, student_of, teacher_of
from squeeze.distillation.shape import refuse_phases
from squeeze.quantization.plan import kept_sites, sites
from squeeze.stages.quantize.stage import QuantizePlan

__all__ = ["check"]


def check(plan: QuantizePlan) -> tuple[str, ...]:
    """Hold `[quantize]` against the student, where its shape is known.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan.teacher, len(plan.task.labels))
    if teacher is None or plan.prune is not None:
        return ()
    student, settings = student_of(plan, teacher), plan.quantize
    if student is None:
        return ()
    refuse_phases(settings.trainings, student, both(teacher.shape))
    if settings.against == "student":
        refuse_phases(settings.trainings, student, {"task": student})
    if settings.keep != "auto":
        kept_sites(settings.keep, sites(student))
    return ()
