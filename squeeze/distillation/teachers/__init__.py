"""Who gives the answers that a student learns: one file a kind of teacher, and the only list of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from squeeze.distillation.teachers.base import Teacher
from squeeze.distillation.teachers.transformers_model import TransformersTeacher
from squeeze.errors import Corrupt

__all__ = ["TEACHERS", "Teacher", "TransformersTeacher", "load_teacher", "load_teachers"]

TEACHERS: Mapping[str, type[Teacher]] = {
    "transformers": TransformersTeacher,
    "student": Teacher,
}


def load_teacher(folder: Path, labels: tuple[str, ...], tokenizer_folder: Path | None = None) -> Teacher:
    """The teacher in a folder, of the kind that its member.json names."""
    note = folder / "member.json"
    noted = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    kind = noted.get("kind", "transformers")
    if kind not in TEACHERS:
        raise Corrupt(f"{folder}: a teacher of unknown kind {kind!r}", hint="run again with --fresh")
    teacher = TEACHERS[kind].load(folder, labels, tokenizer_folder)
    return replace(teacher, weight=float(noted.get("weight", 1.0)))


def load_teachers(artifact: Path, which: str, labels: tuple[str, ...]) -> list[Teacher]:
    """All members of the task teacher, or the one base teacher."""
    members = sorted((artifact / "members").iterdir(), key=lambda path: int(path.name))
    if which == "base":
        return [load_teacher(artifact / "base", labels, members[0])]
    return [load_teacher(folder, labels) for folder in members]
