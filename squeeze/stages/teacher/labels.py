"""Before a run writes anything: a teacher's answers on some validation text are held against its labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from squeeze.data.checks import unusable
from squeeze.data.sources import as_source, read
from squeeze.data.table import Table
from squeeze.models.conversion import shape_of
from squeeze.models.encoder import parameters
from squeeze.models.guard import Logits
from squeeze.models.head_labels import Head
from squeeze.models.inference import logits
from squeeze.models.label_order import check_order
from squeeze.models.tokens import TeacherTokenizer, pad_id
from squeeze.stages.teacher.stage import Member, PreflightConfig
from squeeze.tasks import task_of

__all__ = ["labelled_rows", "refuse_order"]

MOST, LEAST = 300, 100
"""Rows that are looked at; of a large teacher fewer."""
WORK = 2e12
"""Parameters times tokens at most, while more than `LEAST` rows are left: half a minute of two cores."""


def labelled_rows(config: PreflightConfig) -> Table:
    """Rows of the validation text with a label of the task, or of the text that it will be split from.

    Raises:
        DataError: the text cannot be read.
    """
    section, known = config.data, frozenset(config.task.labels)
    slot = "train" if section.validation is None else "validation"
    cells = task_of(config.task).cells()
    table = read(as_source(section.validation or section.train), slot, section, cells)
    labels = table.labels or ()
    good = [i for i, label in enumerate(labels) if label in known and not unusable(table.texts[i])]
    drawn = np.random.default_rng(config.seed).permutation(len(good))[:MOST]
    return table.take([good[i] for i in drawn])


def refuse_order(
    config: PreflightConfig, member: Member, head: Head, model: Any, tokenizer: TeacherTokenizer, rows: Table
) -> None:
    """Refuse a teacher whose outputs stand for other labels; the stage itself looks at all rows once more.

    Args:
        config: of the check.
        member: the teacher, which is not fine-tuned.
        head: its outputs.
        model: the classifier, its outputs in the order of the task's labels.
        tokenizer: its tokenizer.
        rows: labelled rows in random order.

    Raises:
        ProfileError: its answers fit another order of its outputs far better, or are below chance.
    """
    task = config.task
    encoded = tokenizer.encode(rows.texts, min(task.max_length, shape_of(model).positions))
    cost = np.cumsum(encoded.lengths) * parameters(model)
    count = max(LEAST, int(np.searchsorted(cost, WORK)))
    some = type(encoded).of([encoded[row].tolist() for row in range(min(count, len(encoded)))])
    answers = logits(Logits(model), some, pad_id(tokenizer.spec), len(task.labels))
    place = {label: index for index, label in enumerate(task.labels)}
    truth = np.array([place[str(label)] for label in (rows.labels or ())[: len(some)]], dtype=np.int64)
    check_order(head, answers, truth, task.labels, member.map_to(task))
