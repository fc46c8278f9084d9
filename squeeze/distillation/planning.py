"""What a run would refuse of a student, told from config.json and headers: no torch, nothing is computed.

The stages that make or change a student hold their settings against these shapes when a run is planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from squeeze.distillation import shape as shapes
from squeeze.distillation.config import DistilConfig, StudentPlan
from squeeze.errors import NotDownloaded
from squeeze.models import headers, hub
from squeeze.models.model_folder import read_config
from squeeze.models.outline import outline
from squeeze.models.shapes import WEIGHTS, EmbeddingShape, EncoderShape, load_shape
from squeeze.models.vocabulary.families import family

__all__ = ["Teacher", "both", "check_distil", "refuse_untrimmable", "student_of", "teacher_of"]

MOST_TOKENIZER = 32_000_000
"""Bytes of a tokenizer.json that is read when a run is planned; larger ones are read in the run."""


class Named(Protocol):
    """A teacher in a profile."""

    @property
    def model(self) -> str:
        """Its folder or name."""
        ...


class Section(Protocol):
    """The `[teacher]` section, as far as it matters here."""

    @property
    def members(self) -> tuple[Named, ...]:
        """All teachers; students are carved from the first."""
        ...


@dataclass(frozen=True)
class Teacher:
    """The teacher that students are carved from.

    Attributes:
        folder: of the model.
        shape: that it will have.
    """

    folder: Path
    shape: EncoderShape


def teacher_of(section: Section, labels: int) -> Teacher | None:
    """The first teacher; None where it is not on this disk yet.

    Raises:
        ProfileError: it cannot be read.
        MissingBackend: its files or its package are not there.
    """
    try:
        folder = hub.resolve(section.members[0].model)
    except NotDownloaded:
        return None
    return Teacher(folder, outline(folder, read_config(folder), labels, None))


def student_of(plan: StudentPlan, teacher: Teacher) -> EncoderShape | None:
    """The student that the distil stage makes; None where that is known later, or none is made.

    Raises:
        ProfileError: the teacher does not have what a key asks for.
    """
    if plan.distil is None or plan.search is not None:
        return None
    config = DistilConfig(seed=0, task=plan.task, student=plan.student, distil=plan.distil)
    return shapes.student_shape(config, teacher.shape, teacher.shape.vocabulary)


def check_distil(plan: StudentPlan) -> tuple[str, ...]:
    """Hold `[student]` and `[distil]` against the teacher.

    Returns:
        Warnings, one line each.

    Raises:
        ProfileError: as the stage would say it.
    """
    teacher = teacher_of(plan.teacher, len(plan.task.labels))
    if teacher is None or plan.distil is None or plan.search is not None:
        return ()
    config = DistilConfig(seed=0, task=plan.task, student=plan.student, distil=plan.distil)
    shapes.refuse_misfits(config, both(teacher.shape))
    if plan.student.init == "path":
        _check_earlier(config, teacher)
        return ()
    if plan.student.vocabulary.trim:
        refuse_untrimmable(teacher.folder)
    return _larger_table(shapes.carved_table(plan.student, teacher.shape), teacher.shape.vocabulary)


def _larger_table(table: EmbeddingShape, pieces: int) -> tuple[str, ...]:
    """Warn of a table of codes that is no smaller than a dense one in int8, of so many pieces at most."""
    stored = pieces * table.subvectors + table.codewords * table.width  # codes and codebooks
    dense = pieces * table.width
    if table.kind != "product" or stored < dense:
        return ()
    sizes = f"{stored / 1e6:.2f} MB in int8, a dense one {dense / 1e6:.2f} MB"
    return (f"[student.embedding] subvectors: with {table.subvectors} codes a piece the table has {sizes}",)


def both(teacher: EncoderShape) -> Mapping[str, EncoderShape]:
    """The shapes of the teacher after and before fine-tuning, which are one."""
    return {"task": teacher, "base": teacher}


def _check_earlier(config: DistilConfig, teacher: Teacher) -> None:
    folder = Path(str(config.student.path))
    pieces = load_shape(folder).vocabulary
    headers.header(folder / WEIGHTS)
    whole = teacher.shape.vocabulary
    if not config.student.vocabulary.trim and pieces != whole:
        raise shapes.other_pieces(config, pieces, whole)


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
