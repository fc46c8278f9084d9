"""What a run would refuse of a space, told from config.json and headers, without torch."""

from __future__ import annotations

from squeeze.distillation.planning import refuse_untrimmable, teacher_of
from squeeze.distillation.resolve import resolve_student
from squeeze.stages.search.space import extremes, fitting, settings, space_of
from squeeze.stages.search.stage import SearchPlan

__all__ = ["check"]

LOOKED_AT = 8  # hidden widths and forms of the table that are combined, to stay within the time


def check(plan: SearchPlan) -> tuple[str, ...]:
    """Hold the space against the teacher.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan)
    if teacher is None or plan.distil is None:
        return ()
    space = fitting(space_of(plan.search), teacher.shape, carved=plan.student.init == "carve")
    few = {name: values[:LOOKED_AT] for name, values in space.items() if name in ("hidden", "embedding")}
    for candidate in extremes({**space, **few}):
        student = settings(candidate, plan.student, teacher.shape.hidden)
        resolve_student(student, plan.task.max_length, len(plan.task.labels), teacher.shape)
    if any(space["pieces"]):
        refuse_untrimmable(teacher.folder)
    return ()
