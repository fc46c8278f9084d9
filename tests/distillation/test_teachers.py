"""Kinds of teachers: the one that a member's folder names is read."""

from __future__ import annotations

import json

import pytest
import torch

from squeeze.data.teacher_cache import LOGITS
from squeeze.distillation import teachers
from squeeze.distillation.teachers import Teacher, TransformersTeacher, load_teacher
from squeeze.errors import Corrupt
from squeeze.models import storage, tokens
from tests import tiny


def student(folder):
    storage.save_student(folder, tiny.encoder())
    tokens.write_spec(folder / "tokenizer.json", tiny.spec())
    return folder


def note(folder, **values):
    (folder / "member.json").write_text(json.dumps(values))
    return folder


def test_a_member_is_a_model_of_transformers_unless_it_says_otherwise(tmp_path):
    plain = load_teacher(tiny.save_classifier(tmp_path / "plain"), tiny.LABELS)
    weighted = load_teacher(note(tiny.save_classifier(tmp_path / "other"), weight=2.5), tiny.LABELS)
    assert (type(plain), plain.weight, weighted.weight) == (TransformersTeacher, 1.0, 2.5)
    own = load_teacher(note(student(tmp_path / "student"), kind="student"), tiny.LABELS)
    assert type(own) is Teacher


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(Corrupt, match="a teacher of unknown kind 'oracle'"):
        load_teacher(note(student(tmp_path), kind="oracle"), tiny.LABELS)


def test_a_new_kind_is_a_class_and_a_line(tmp_path, monkeypatch):
    class Contrary(Teacher):
        def outputs(self, ids, mask, wanted):
            found = super().outputs(ids, mask, wanted)
            found.logits = -found.logits
            return found

    monkeypatch.setattr(teachers, "TEACHERS", {**teachers.TEACHERS, "contrary": Contrary})
    folder = student(tmp_path)
    usual, other = (
        Teacher.load(folder, tiny.LABELS),
        load_teacher(note(folder, kind="contrary"), tiny.LABELS),
    )
    with torch.no_grad():
        ours, theirs = (one.outputs(*tiny.batch(), [LOGITS]).logits for one in (usual, other))
    torch.testing.assert_close(theirs, -ours)
