"""A student whose own answers are learned again, after something was done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from squeeze.artifact import digest_file, digest_json
from squeeze.distillation.teachers.base import Teacher
from squeeze.models import storage, tokens

__all__ = ["StudentTeacher"]


class StudentTeacher(Teacher):
    """A student of ours, which answers for itself."""

    @classmethod
    def load(cls, folder: Path, labels: tuple[str, ...], tokenizer_folder: Path | None = None) -> Self:  # noqa: ARG003
        """Read a student's folder: its shape, weights and tokenizer."""
        encoder = storage.load_student(folder)
        digest = digest_json([digest_file(folder / storage.WEIGHTS), encoder.shape.plain()])
        return cls(encoder, tokens.read_spec(folder), 1.0, digest)
