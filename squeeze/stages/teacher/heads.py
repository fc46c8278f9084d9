"""What config.json and the headers of the weights say of the teachers, before any of them is loaded."""

from __future__ import annotations

from squeeze.errors import NotDownloaded
from squeeze.models import hub
from squeeze.models.head_labels import check_head, read_head
from squeeze.models.model_folder import read_config
from squeeze.models.outline import outline
from squeeze.models.support import refuse_config
from squeeze.stages.teacher.stage import Member, TeacherSection
from squeeze.tasks import TaskSection

__all__ = ["check"]


def check(teacher: TeacherSection, task: TaskSection) -> tuple[str, ...]:
    """Warnings about all teachers, one line each.

    Raises:
        ProfileError: a model is not there or cannot be a teacher of this task; it says why.
        MissingBackend: a package or a file of the weights is not there.
    """
    trained = teacher.finetune is not None
    return tuple(line for member in teacher.members for line in _check(member, task, trained=trained))


def _check(member: Member, task: TaskSection, *, trained: bool) -> tuple[str, ...]:
    try:
        folder = hub.resolve(member.model)
    except NotDownloaded as error:
        return (error.message,)
    config, label_map = read_config(folder), member.map_to(task)
    refuse_config(folder, config)
    warnings = check_head(config, str(folder), task, label_map, trained=trained)
    fresh = trained and not label_map
    outline(folder, config, len(task.labels), None if fresh else len(read_head(config, str(folder)).names))
    return warnings
