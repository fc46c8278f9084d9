"""What a teacher's config.json says about its labels, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from squeeze.models.head_labels import check_head, read_config
from squeeze.stages.teacher.stage import TeacherSection
from squeeze.task import TaskSection

__all__ = ["check"]


def check(teacher: TeacherSection, task: TaskSection) -> tuple[str, ...]:
    """Warnings about the labels of all teachers that lie on this disk, one line each.

    Raises:
        ProfileError: a head is for other labels than the task's, or a label map does not fit.
    """
    trained = teacher.finetune is not None
    warnings: list[str] = []
    for member in teacher.members:
        folder = Path(member.model)
        if folder.is_dir():  # a built-in model has no head, and one of the hub may not be here yet
            config = read_config(folder)
            label_map = member.map_to(task)
            warnings += check_head(config, str(folder), task.labels, label_map, trained=trained)
    return tuple(warnings)
