"""Before a run writes anything: every teacher is read as transformers reads it, on texts of the task."""

from __future__ import annotations

import torch

from squeeze.data.sources import as_source, read, sample
from squeeze.data.table import Table
from squeeze.models import guard, hub, tokens
from squeeze.models.head_labels import load_head
from squeeze.models.teacher import load_classifier
from squeeze.progress import Progress
from squeeze.runtime import usable_cores
from squeeze.stages.teacher.labels import labelled_rows, refuse_order
from squeeze.stages.teacher.stage import PreflightConfig
from squeeze.tasks import DEFAULT, task_of

__all__ = ["run"]

ROWS = 1000  # first rows of the training text


def run(config: PreflightConfig, progress: Progress) -> tuple[str, ...]:
    """Compare every teacher's copy and tokenizer with transformers.

    With fine-tuning, the head that will be trained is compared before it is.

    Raises:
        ProfileError: a teacher cannot be read, or is read otherwise; the first text that shows it is named.
            Or its outputs stand for other labels than they are taken for.
        DataError: the training text cannot be read.
    """
    torch.set_num_threads(usable_cores())
    texts, trained = _texts(config), config.teacher.finetune is not None
    ordered = not trained and config.task.problem_type == DEFAULT
    held = labelled_rows(config) if ordered else None
    members, warnings = config.teacher.members, list[str]()
    with progress.task("compare the teacher with transformers", total=len(members)) as advance:
        for index, member in enumerate(members):
            folder = hub.resolve(member.model)
            torch.manual_seed(config.seed + index)  # as in the stage: of a fresh head
            model = load_classifier(
                folder,
                config.task.labels,
                untrained_head=trained,
                label_map=member.map_to(config.task),
                problem_type=config.task.problem_type,
            )
            tokenizer = tokens.load_tokenizer(folder)
            warnings += guard.prove(folder, model, tokenizer, texts, config.task.max_length)
            if held is not None:
                refuse_order(config, member, load_head(folder), model, tokenizer, held)
            advance(1, note=member.model)
    return tuple(warnings)


def _texts(config: PreflightConfig) -> Table:
    section, cells = config.data, task_of(config.task).cells()
    source = as_source(section.train)
    found = sample(source, "train", section, ROWS, cells)
    if found is None:  # a hub set
        found = read(source, "train", section, cells)
    return found.take(range(min(ROWS, len(found))))
