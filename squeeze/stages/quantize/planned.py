"""What a run would refuse to quantize, told from config.json and headers, without torch."""

from __future__ import annotations

from squeeze.distillation.planning import student_of, teacher_of
from squeeze.distillation.resolve import refuse_phases
from squeeze.quantization.plan import kept_sites, sites
from squeeze.stages.quantize.stage import QuantizePlan

__all__ = ["check"]


def check(plan: QuantizePlan) -> tuple[str, ...]:
    """Hold `[quantize]` against the student, where its shape is known.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan)
    if teacher is None or plan.prune is not None:
        return ()
    made, settings = student_of(plan, teacher), plan.quantize
    if made is None:
        return ()
    student = made.shape
    refuse_phases(settings.trainings, student, teacher.shapes)
    if settings.against == "student":
        refuse_phases(settings.trainings, student, {"task": student})
    if settings.keep != "auto":
        kept_sites(settings.keep, sites(student))
    return ()
