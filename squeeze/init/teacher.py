"""What a teacher is, from its config.json alone: sizes, and whether it already answers for the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squeeze.data.wording import listing
from squeeze.models import hub
from squeeze.models.head_labels import match, read_head
from squeeze.models.model_folder import read_config
from squeeze.models.outline import dimensions
from squeeze.models.support import refuse_config
from squeeze.tasks import DEFAULT

__all__ = ["HeadFacts", "TeacherFacts", "read_teacher"]

CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class HeadFacts:
    """What is known of a teacher's head.

    Attributes:
        finished: whether it answers for the labels that were asked for.
        order: those labels in the order of its outputs, where it does.
        note: what is worth knowing about it; empty where there is nothing.
    """

    finished: bool = False
    order: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class TeacherFacts:
    """What is known of a teacher before its weights are read.

    Attributes:
        hidden: its width H.
        layers: its depth.
        heads: attention heads of a layer.
        ffn: feed-forward neurons of a layer.
        vocabulary: rows of its table.
        width: columns of its table.
        head: its classification head.
    """

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    width: int
    head: HeadFacts = HeadFacts()


def read_teacher(name: str, labels: Sequence[str], problem_type: str = DEFAULT) -> TeacherFacts:
    """Read a teacher's config.json.

    Args:
        name: as a profile names it; relative paths count from the current directory.
        labels: names of the task's labels.
        problem_type: of the task.

    Raises:
        ProfileError: no such model, or one whose config.json says that it cannot be a teacher.
        MissingBackend: the package of a built-in model is not installed, or the hub cannot be reached.
    """
    folder = hub.resolve(name)
    config = read_config(folder)
    refuse_config(folder, config)
    sizes = dimensions(folder, config)
    return TeacherFacts(
        hidden=sizes["hidden"],
        layers=sizes["layers"],
        heads=sizes["heads"],
        ffn=sizes["ffn"],
        vocabulary=sizes["vocabulary"],
        width=sizes["width"],
        head=_head(config, str(folder), labels, problem_type),
    )


def _head(config: Mapping[str, Any], place: str, labels: Sequence[str], problem_type: str) -> HeadFacts:
    """Whether the head is one for these labels, and their order."""
    names = config.get("architectures")
    if not isinstance(names, list) or not any(str(each).endswith(CLASSIFIER) for each in names):
        return HeadFacts()
    kind = config.get("problem_type")
    if kind != problem_type and (kind is not None or problem_type != DEFAULT):
        return HeadFacts(
            note=f"its head is made for {str(kind or DEFAULT)[:40]}: fine-tuning gives it a new one"
        )
    head = read_head(config, place)
    order = match(head, labels)
    if order is None:
        names = listing(map(repr, head.names))
        return HeadFacts(note=f"a classifier of {names}: fine-tuning gives it the data's labels")
    if order.assumed:
        return HeadFacts(
            note="the outputs of its head have no names, so fine-tuning teaches it the labels; if it already"
            " is a classifier of them, name them in id2label of its config.json"
        )
    by_output = sorted(range(len(labels)), key=lambda at: order.groups[at])
    return HeadFacts(
        finished=True,
        order=tuple(labels[at] for at in by_output),
        note="a classifier of these labels: it is not fine-tuned",
    )
