"""What a run would refuse of a student, known from config.json and headers: no torch, nothing is computed.

The stages that make or change a student hold their settings against these shapes when a run is planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from squeeze.distillation.config import StudentSections
from squeeze.distillation.resolve import StudentPlan, other_pieces, refuse_phases, resolve_student
from squeeze.errors import NotDownloaded
from squeeze.models import headers, hub
from squeeze.models.model_folder import read_config
from squeeze.models.outline import outline
from squeeze.models.shapes import WEIGHTS, EmbeddingShape, EncoderShape, load_shape
from squeeze.models.vocabulary.families import family

__all__ = ["Teacher", "check_distil", "refuse_untrimmable", "student_of", "teacher_of"]

MOST_TOKENIZER = 32_000_000
"""Bytes of a tokenizer.json that is read when a run is planned; larger ones are read in the run."""


@dataclass(frozen=True)
class Teacher:
    """The teacher that students are carved from.

    Attributes:
        folder: of the model.
        shape: that it will have.
    """

    folder: Path
    shape: EncoderShape

    @property
    def shapes(self) -> Mapping[str, EncoderShape]:
        """After and before fine-tuning, which are one."""
        return {"task": self.shape, "base": self.shape}


def teacher_of(plan: StudentSections) -> Teacher | None:
    """The first teacher; None where it is not on this disk yet.

    Raises:
        ProfileError: it cannot be read.
        MissingBackend: its files or its package are not there.
    """
    try:
        folder = hub.resolve(plan.teacher.members[0].model)
    except NotDownloaded:
        return None
    return Teacher(folder, outline(folder, read_config(folder), len(plan.task.labels), None))


def student_of(plan: StudentSections, teacher: Teacher) -> StudentPlan | None:
    """The student that the distil stage makes; None where that is known later, or none is made.

    Raises:
        ProfileError: the teacher does not have what a key asks for.
    """
    if plan.distil is None or plan.search is not None:
        return None
    return resolve_student(plan.student, plan.task.max_length, len(plan.task.labels), teacher.shape)


def check_distil(plan: StudentSections) -> tuple[str, ...]:
    """Hold `[student]` and `[distil]` against the teacher.

    Returns:
        Warnings, one line each.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan)
    student = None if teacher is None else student_of(plan, teacher)
    if teacher is None or student is None or plan.distil is None:
        return ()
    refuse_phases(plan.distil.phases, student.shape, teacher.shapes)
    if student.path is not None:
        _check_earlier(student.path, teacher, trim=plan.student.vocabulary.trim)
        return ()
    if plan.student.vocabulary.trim:
        refuse_untrimmable(teacher.folder)
    return _larger_table(student.shape.embedding, teacher.shape.vocabulary)


def _larger_table(table: EmbeddingShape, pieces: int) -> tuple[str, ...]:
    """Warn of a table of codes that is no smaller than a dense one in int8, of so many pieces at most."""
    stored = pieces * table.subvectors + table.codewords * table.width  # codes and codebooks
    dense = pieces * table.width
    if table.kind != "product" or stored < dense:
        return ()
    sizes = f"{stored / 1e6:.2f} MB in int8, a dense one {dense / 1e6:.2f} MB"
    return (f"[student.embedding] subvectors: with {table.subvectors} codes a piece the table has {sizes}",)


def _check_earlier(folder: Path, teacher: Teacher, *, trim: bool) -> None:
    pieces, whole = load_shape(folder).vocabulary, teacher.shape.vocabulary
    headers.header(folder / WEIGHTS)
    if not trim and pieces != whole:
        raise other_pieces(folder, pieces, whole)


def refuse_untrimmable(folder: Path) -> None:
    """Refuse a tokenizer whose vocabulary cannot be made smaller, where it says so itself.

    Raises:
        ProfileError: it is of a kind that is not trimmed.
    """
    try:
        spec = headers.read_json(folder / "tokenizer.json", MOST_TOKENIZER)
    except (OSError, ValueError, RecursionError):  # absent, or read in the run, which says what is wrong
        return
    if isinstance(spec, dict) and isinstance(spec.get("model"), dict):
        family(spec)
