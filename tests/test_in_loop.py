from __future__ import annotations

import numpy as np
import torch

from benchmarks.in_loop import InLoop
from squeeze.data.teacher_cache import LOGITS, hidden
from squeeze.distillation.teachers import Teacher
from squeeze.models import storage, tokens
from tests import tiny


def test_a_teacher_in_the_loop_answers_until_the_end(tmp_path):
    storage.save_student(tmp_path, tiny.encoder())
    tokens.write_spec(tmp_path / "tokenizer.json", tiny.spec())
    teacher = Teacher.load(tmp_path, tiny.LABELS)
    texts = ["flood", "water and food"]
    rows = tokens.encode(tokens.make_tokenizer(tiny.spec(), 16), texts)
    signals = InLoop([teacher], texts, rows, 16, tiny.work(tmp_path), "softmax")
    signals.prepare([LOGITS, hidden(3)])
    before = signals.read([LOGITS, hidden(3)], np.array([1, 0]))
    signals.release()
    after = signals.read([LOGITS, hidden(3)], np.array([1, 0]))
    assert before[LOGITS].shape == (2, 2)
    assert all(torch.equal(before[name], after[name]) for name in before)
